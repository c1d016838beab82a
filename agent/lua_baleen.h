// The `baleen` table: Lua calls become effects, events become Lua values.
//
// Called by sandbox.cc inside protected calls; agent.cc fills and reads the binding between steps.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "agent/effect.h"
#include "agent/rule_lint.h"
#include "tools_sdk/shell/command_rules.h"
#include "tools_sdk/tool.h"

struct lua_State;

namespace baleen {

/// One item of a list whose items run at once, on a Lua thread of its own (lua_branches.cc).
struct Branch {
  enum class Wait { kNone, kForkTurn, kCalls };

  lua_State* thread = nullptr;  ///< Borrows: the registry keeps it.
  int64_t item = 0;             ///< 0: it has none.
  Wait wait = Wait::kNone;      ///< For the turn of a fork, `turn`, or for `calls`.
  bool runs = false;            ///< That turn was asked for, and has not ended.
  ChildTurn turn;
  ChildTurnEnd end;  ///< How that ended, once it doesn't wait any more.
  CallToolsEffect calls;
  std::vector<ToolResult> results;  ///< Of the calls, once it doesn't wait any more.
  int protected_depth = 0;
  /// Over 0: what it runs must not be interleaved with other branches.
  int64_t undivided = 0;
};

/// The items that run at once; no more than one list of them does.
struct BranchList {
  std::vector<Branch> branches;
  /// Those whose forks' turns, or whose calls, are the effect that was yielded.
  std::vector<size_t> asked;
  size_t stepping = 0;  ///< Else the one whose own effect it is.
  int64_t next = 1;     ///< The item that begins next.
  int64_t count = 0;
  bool race = false;         ///< The first item that gives something ends it.
  bool joins_calls = false;  ///< Calls of its branches are asked for together, too.
  // How it ends, while turns of forks are stopped that nobody waits for any more.
  int64_t winner = 0;
  bool failed = false;
};

/// What Agent and the Lua functions hand to each other. Owned by Agent.
/// The Lua functions hold no C++ object of their own across a call that may raise: strings are
/// assigned straight into `effect`, which a failed call leaves half filled and the next one clears.
struct TurnBinding {
  std::vector<ToolSpec> tools;
  Effect effect;
  bool effect_ready = false;               ///< Set last, just before the yield or return.
  const AgentEvent* event = nullptr;       ///< Borrows; set during one resume.
  int64_t calls_made = 0;                  ///< Numbers the calls that come without an id.
  std::vector<std::string> mcp_tools;      ///< As AgentOptions::mcp_tools.
  std::string errand;                      ///< As AgentOptions::errand.
  bool first_turn = false;                 ///< As AgentOptions::first_turn.
  bool task = false;                       ///< As AgentOptions::task.
  bool has_script = false;                 ///< Or the default loop runs.
  std::vector<ToolSpec> declared;          ///< By the script, in this order.
  std::vector<int> declared_lines;         ///< Where each is declared.
  std::vector<DeclaredRule> rules;         ///< The same, of its policy; the first 256.
  std::string problem;                     ///< Scratch: why a binding is about to raise.
  std::vector<CommandRule> command_rules;  ///< Scratch: those that a command is judged by.
  std::string command_text;                ///< Scratch: what is said of it.
  std::vector<std::string> diff_paths;     ///< Scratch.
  BranchList branches;
  bool asks_nothing = false;                ///< What runs can't ask for effects.
  const ChildTurnEnd* child_end = nullptr;  ///< Borrows; what the next child turn's call gives.
  /// Borrows; what the next call of tools gives. Null: what the event says.
  const std::vector<ToolResult>* call_results = nullptr;
};

/// Calls of one effect.
inline constexpr int64_t kCallsMax = 128;

// The effects as they are, without what a script has declared: what lua_script.cc gives to our Lua.
int Generate(lua_State* L);
int GenerateOrCompact(lua_State* L);
int GenerateUncompacted(lua_State* L);
int CallTools(lua_State* L);
int RunBranches(lua_State* L);
int InBranch(lua_State* L);
int Undivided(lua_State* L);
int Limited(lua_State* L);
/// Add to the table on top what our Lua is made of: what is answered at once (lua_checks.cc), and
/// what the turn waits for (lua_steps.cc).
void AddChecks(lua_State* L);
void AddSteps(lua_State* L);
void CheckYieldable(lua_State* L, const char* name);
/// Assigns the string on top to `out` and pops it. Strings leave the sandbox as UTF-8 only.
void TakeText(lua_State* L, const char* what, const char* member, std::string* out);
TurnBinding& BindingOf(lua_State* L);

/// Pushes the text of the UserTurnEvent.
void PushUserMessage(lua_State* L);
/// Makes a FinishEffect of the string on top. Raises if it isn't one.
void SetFinishEffect(lua_State* L);

}  // namespace baleen
