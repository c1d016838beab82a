// Agent: decisions only. A Lua coroutine goes in, an Effect comes out.
//
// It cannot block, read a clock, open a file or touch the model. One Agent lives for one turn.
// Called by the control loop (runtime/), and by replay after a restart.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "agent/effect.h"
#include "agent/rule_lint.h"
#include "tools_sdk/status.h"
#include "tools_sdk/tool.h"

namespace baleen {

/// The name of the tool that AgentOptions::task declares.
inline constexpr char kTaskTool[] = "task";

struct AgentOptions {
  std::string script;                    ///< Lua source; empty: the default tool loop.
  std::string script_name = "loop.lua";  ///< For error messages.
  int64_t memory_bytes_max = 64 << 20;
  /// Per step, from resume to yield: 10 to 20 ms of plain Lua. Work inside library functions and
  /// new memory count as instructions too.
  int64_t instructions_max = 2'000'000;
  std::vector<ToolSpec> tools;  ///< What `baleen.tools` lists.
  /// Names of those that patterns such as "mcp:*" are of, told of already or not.
  std::vector<std::string> mcp_tools;
  /// JSON of what the turn of a fork does (flow.lua) in place of the script's own function, with
  /// the policy, hooks and tools that the script declares; empty: a turn like any other.
  std::string errand;
  bool first_turn = false;  ///< Of the session: `on.session_start` runs.
  bool task = false;  ///< Declares the tool `task` (task.lua) behind what the script declares.
  uint64_t seed = 0;  ///< Of the script's own random numbers.
  /// Borrows: may be set by any thread while a step runs, which then ends with CANCELLED. For hosts
  /// that watch the clock: instructions don't all cost the same. Null: never.
  const std::atomic<bool>* interrupt = nullptr;
};

/// Threads: one at a time.
class Agent {
 public:
  /// Runs the script's chunk, which returns the turn's function.
  /// Errors: INVALID_ARGUMENT with file and line for a script that doesn't compile, raises, or
  /// whose value is not a function; RESOURCE_EXHAUSTED as Resume.
  static Result<std::unique_ptr<Agent>> Create(const AgentOptions& options);
  ~Agent();

  /// Runs the script to its next effect. The first event is a UserTurnEvent; afterwards each event
  /// answers the effect that was returned last. After a FinishEffect or an error of the script the
  /// agent is done; a FAILED_PRECONDITION leaves it as it was. Texts in effects are valid UTF-8, so
  /// must texts in events be.
  /// Errors: RESOURCE_EXHAUSTED (memory or instructions), CANCELLED (interrupted), INVALID_ARGUMENT
  /// (the script raised, or asked for nonsense: message with file, line), FAILED_PRECONDITION
  /// (already done, or an event that doesn't answer the effect).
  Result<Effect> Resume(const AgentEvent& event);

 private:
  class Impl;
  explicit Agent(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// The Lua source of the default tool loop.
std::string_view DefaultLoopSource();

struct ScriptDeclarations {
  std::vector<ToolSpec> tools;      ///< `task` among them.
  std::vector<int> tool_lines;      ///< Of the script, from 1; 0: it isn't the script's.
  std::vector<DeclaredRule> rules;  ///< Of its policy; the first 256.
};

/// Runs a script's chunk as Create does: what it declares. Errors: as Create.
Result<ScriptDeclarations> ReadDeclarations(const AgentOptions& options);

/// Compiles a script without running it. Errors: INVALID_ARGUMENT with file and line.
Status CheckScript(std::string_view script, std::string_view name);

}  // namespace baleen
