#include "agent/agent.h"

#include <algorithm>
#include <utility>

#include "agent/lua_baleen.h"
#include "agent/lua_sandbox.h"

namespace baleen {
namespace {

LuaSandboxOptions SandboxOptionsFrom(const AgentOptions& options, TurnBinding* binding) {
  LuaSandboxOptions sandbox;
  sandbox.memory_bytes_max = options.memory_bytes_max;
  sandbox.instructions_max = options.instructions_max;
  sandbox.seed = options.seed;
  sandbox.interrupt = options.interrupt;
  sandbox.binding = binding;
  return sandbox;
}

Status CheckResults(const CallToolsEffect& effect, const ToolResultsEvent& event) {
  if (event.results.size() != effect.calls.size()) {
    return FailedPreconditionError("agent: " + std::to_string(event.results.size()) +
                                   " tool results answer " + std::to_string(effect.calls.size()) +
                                   " calls; give one result per call, in the order of the calls");
  }
  for (size_t i = 0; i < event.results.size(); ++i) {
    if (event.results[i].call_id == effect.calls[i].id) continue;
    return FailedPreconditionError("agent: result " + std::to_string(i + 1) + " is for call '" +
                                   event.results[i].call_id + "', expected '" + effect.calls[i].id +
                                   "'");
  }
  return OkStatus();
}

Status CheckEnds(const Effect& effect, const ChildTurnsEvent& event) {
  const auto* stopped = std::get_if<StopTurnsEffect>(&effect);
  const size_t turns = stopped != nullptr ? stopped->sessions.size()
                                          : std::get<ChildTurnsEffect>(effect).turns.size();
  if (event.ends.size() != turns) {
    return FailedPreconditionError("agent: " + std::to_string(event.ends.size()) +
                                   " ends answer the turns of " + std::to_string(turns) +
                                   " forks; give one for each");
  }
  const auto ended = std::count_if(event.ends.begin(), event.ends.end(),
                                   [](const auto& end) { return end.has_value(); });
  if (ended > 0 && (stopped == nullptr || std::cmp_equal(ended, turns))) return OkStatus();
  return FailedPreconditionError("agent: " + std::to_string(ended) + " of " +
                                 std::to_string(turns) + " turns of forks have ended; expected " +
                                 (stopped != nullptr ? "all" : "one at least"));
}

}  // namespace

class Agent::Impl {
 public:
  static Result<std::unique_ptr<Impl>> Create(const AgentOptions& options) {
    std::unique_ptr<Impl> impl(new Impl);
    impl->binding_.tools = options.tools;
    impl->binding_.mcp_tools = options.mcp_tools;
    impl->binding_.errand = options.errand;
    impl->binding_.first_turn = options.first_turn;
    impl->binding_.task = options.task;
    ASSIGN_OR_RETURN(impl->sandbox_,
                     LuaSandbox::Create(SandboxOptionsFrom(options, &impl->binding_)));
    const bool own = options.script.empty();
    impl->binding_.has_script = !own;
    RETURN_IF_ERROR(impl->sandbox_->Compile(own ? DefaultLoopSource() : options.script,
                                            own ? "loop.lua" : options.script_name));
    RETURN_IF_ERROR(impl->sandbox_->RunChunk());
    return impl;
  }

  Result<Effect> Resume(const AgentEvent& event) {
    RETURN_IF_ERROR(CheckAnswers(event));
    stage_ = Stage::kDone;  // Unless the step succeeds.
    binding_.effect_ready = false;
    binding_.event = &event;
    Result<LuaSandbox::StepEnd> end = sandbox_->Resume();
    binding_.event = nullptr;
    if (!end.ok()) {
      sandbox_.reset();  // The heap of a failed script serves nobody.
      return end.status();
    }
    if (!binding_.effect_ready) {
      return InternalError("agent: the script stopped without an effect");
    }
    if (*end == LuaSandbox::StepEnd::kYielded) {
      stage_ = Stage::kWaiting;
      return binding_.effect;
    }
    sandbox_.reset();
    return std::move(binding_.effect);
  }

 private:
  enum class Stage { kNew, kWaiting, kDone };

  /// Index in AgentEvent of what answers the effect that was returned last.
  size_t Expected() const {
    if (stage_ == Stage::kNew) return 0;
    constexpr size_t kAnswers[] = {1, 2, 3, 4, 5, 6, 7, 0, 8, 9, 7};  // 0: the turn's end has none
    return kAnswers[binding_.effect.index()];
  }

  Status CheckAnswers(const AgentEvent& event) const {
    if (stage_ == Stage::kDone) {
      return FailedPreconditionError("agent: this turn is over; make a new agent for the next one");
    }
    const size_t expected = Expected();
    const auto* generate = std::get_if<GenerateEffect>(&binding_.effect);
    if (stage_ == Stage::kWaiting && generate != nullptr && generate->asks_to_compact &&
        std::holds_alternative<CompactionDueEvent>(event)) {
      return OkStatus();
    }
    if (event.index() != expected) {
      constexpr const char* kEvents[] = {"user_turn", "generated", "tool_results",  "clock",
                                         "approval",  "account",   "forked",        "child_turns",
                                         "worktree",  "compacted", "compaction_due"};
      return FailedPreconditionError(std::string("agent: expected a ") + kEvents[expected] +
                                     " event, got " + kEvents[event.index()]);
    }
    if (const auto* children = std::get_if<ChildTurnsEvent>(&event)) {
      return CheckEnds(binding_.effect, *children);
    }
    if (stage_ == Stage::kNew || event.index() != 2) return OkStatus();
    return CheckResults(std::get<CallToolsEffect>(binding_.effect),
                        std::get<ToolResultsEvent>(event));
  }

  TurnBinding binding_;
  std::unique_ptr<LuaSandbox> sandbox_;  // Null once the turn is over.
  Stage stage_ = Stage::kNew;
};

Agent::Agent(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Agent::~Agent() = default;

Result<std::unique_ptr<Agent>> Agent::Create(const AgentOptions& options) {
  ASSIGN_OR_RETURN(std::unique_ptr<Impl> impl, Impl::Create(options));
  return std::unique_ptr<Agent>(new Agent(std::move(impl)));
}

Result<Effect> Agent::Resume(const AgentEvent& event) { return impl_->Resume(event); }

Result<ScriptDeclarations> ReadDeclarations(const AgentOptions& options) {
  TurnBinding binding;
  binding.tools = options.tools;
  binding.task = options.task;
  ASSIGN_OR_RETURN(const std::unique_ptr<LuaSandbox> sandbox,
                   LuaSandbox::Create(SandboxOptionsFrom(options, &binding)));
  const bool own = options.script.empty();
  RETURN_IF_ERROR(sandbox->Compile(own ? DefaultLoopSource() : options.script,
                                   own ? "loop.lua" : options.script_name));
  RETURN_IF_ERROR(sandbox->RunChunk());
  return ScriptDeclarations{std::move(binding.declared), std::move(binding.declared_lines),
                            std::move(binding.rules)};
}

Status CheckScript(std::string_view script, std::string_view name) {
  AgentOptions options;
  ASSIGN_OR_RETURN(const std::unique_ptr<LuaSandbox> sandbox,
                   LuaSandbox::Create(SandboxOptionsFrom(options, nullptr)));
  return sandbox->Compile(script, name);
}

}  // namespace baleen
