// One confined Lua state with one coroutine, the turn.
//
// Owns memory, instruction and library limits. Knows nothing of effects: those are bindings
// (lua_baleen.h). Called by agent.cc.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "agent/lua_sandbox_state.h"
#include "tools_sdk/status.h"

namespace baleen {

struct LuaSandboxOptions {
  int64_t memory_bytes_max = 0;
  int64_t instructions_max = 0;  ///< Per Load and per Resume.
  uint64_t seed = 0;
  const std::atomic<bool>* interrupt = nullptr;
  TurnBinding* binding = nullptr;  ///< Borrows. Null: the script cannot ask for effects.
};

using GlobalNames = std::map<std::string, std::set<std::string>, std::less<>>;

/// Threads: one at a time.
class LuaSandbox {
 public:
  enum class StepEnd { kYielded, kReturned };

  /// Errors: RESOURCE_EXHAUSTED when the libraries alone don't fit into the memory limit.
  static Result<std::unique_ptr<LuaSandbox>> Create(const LuaSandboxOptions& options);
  ~LuaSandbox();
  LuaSandbox(const LuaSandbox&) = delete;
  LuaSandbox& operator=(const LuaSandbox&) = delete;

  /// Compiles a text chunk without running it. Errors: INVALID_ARGUMENT with file and line;
  /// RESOURCE_EXHAUSTED.
  Status Compile(std::string_view source, std::string_view name);
  /// What Compile made, as lua_dump writes it; needs a chunk that hasn't run.
  std::string Dump();
  /// The names of the built-in globals, each with those of its members where it is a library.
  Result<GlobalNames> Globals();
  /// Runs the compiled chunk and keeps the function it returns. Errors: as Compile.
  Status RunChunk();
  /// Runs the turn to its next yield or to its end. The first call starts it; what it gets and
  /// gives is the binding's business. Errors: INVALID_ARGUMENT, RESOURCE_EXHAUSTED, CANCELLED.
  Result<StepEnd> Resume();

 private:
  explicit LuaSandbox(const LuaSandboxOptions& options);
  void StartStep(lua_State* running);
  Status ErrorFrom(lua_State* thread, int lua_status);

  SandboxState state_;
  std::string script_name_;
  bool started_ = false;
  lua_State* main_ = nullptr;
  lua_State* turn_ = nullptr;  ///< Kept alive by the registry of main_.
};

}  // namespace baleen
