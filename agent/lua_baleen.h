// The `baleen` table: Lua calls become effects, events become Lua values.
//
// Called by sandbox.cc inside protected calls; agent.cc fills and reads the binding between steps.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "agent/effect.h"
#include "tools_sdk/tool.h"

struct lua_State;

namespace baleen {

/// What Agent and the Lua functions hand to each other. Owned by Agent.
/// The Lua functions hold no C++ object of their own across a call that may raise: strings are
/// assigned straight into `effect`, which a failed call leaves half filled and the next one clears.
struct TurnBinding {
  std::vector<ToolSpec> tools;
  Effect effect;
  bool effect_ready = false;          ///< Set last, just before the yield or return.
  const AgentEvent* event = nullptr;  ///< Borrows; set during one resume.
  int64_t calls_made = 0;             ///< Numbers the calls that come without an id.
  std::string errand;                 ///< As AgentOptions::errand.
  std::vector<ToolSpec> declared;     ///< By the script, in this order.
  std::string problem;                ///< Scratch: why a binding is about to raise.
};

// The effects as they are, without what a script has declared: what lua_script.cc gives to api.lua.
int Generate(lua_State* L);
int CallTools(lua_State* L);
void CheckYieldable(lua_State* L, const char* name);
/// Assigns the string on top to `out` and pops it. Strings leave the sandbox as UTF-8 only.
void TakeText(lua_State* L, const char* what, const char* member, std::string* out);
TurnBinding& BindingOf(lua_State* L);

/// Pushes the text of the UserTurnEvent.
void PushUserMessage(lua_State* L);
/// Makes a FinishEffect of the string on top. Raises if it isn't one.
void SetFinishEffect(lua_State* L);

}  // namespace baleen
