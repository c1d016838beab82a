#include "agent/dry_run.h"

#include <algorithm>
#include <deque>
#include <map>
#include <utility>

namespace baleen {
namespace {

constexpr int64_t kStepsMax = 100'000;  // As a turn may take.
constexpr size_t kArgumentsShown = 200;

/// One turn, followed through the recording.
class DryTurn {
 public:
  DryTurn(const RecordedTurn& recorded, DryRun* run) : recorded_(recorded), run_(run) {
    for (const AgentEvent& answer : recorded.answers) {
      const auto* ended = std::get_if<ToolResultsEvent>(&answer);
      if (ended == nullptr) continue;
      for (const ToolResult& result : ended->results) results_by_id_[result.call_id] = &result;
    }
    for (const ToolCall& call : recorded.calls) {
      const auto found = results_by_id_.find(call.id);
      if (found != results_by_id_.end()) {
        results_[{call.name, call.arguments}].push_back(found->second);
      }
    }
  }

  Status Follow(AgentOptions options) {
    options.errand = recorded_.errand;
    options.first_turn = recorded_.first;
    options.seed = recorded_.seed;
    ASSIGN_OR_RETURN(const auto agent, Agent::Create(options));
    std::optional<AgentEvent> event = UserTurnEvent{recorded_.input};
    for (int64_t step = 0; event.has_value(); ++step) {
      if (step == kStepsMax) {
        Note("it takes more steps than a turn may");
        break;
      }
      const auto effect = agent->Resume(*event);
      if (!effect.ok()) {
        Note(effect.status().message(), true);
        break;
      }
      event = AnswerTo(*effect);
    }
    return OkStatus();
  }

 private:
  void Note(std::string message, bool failed = false) {
    run_->notes.push_back({recorded_.turn, std::move(message), failed});
  }

  /// The next one of its kind that wasn't used.
  template <typename T>
  const T* Next() {
    size_t& at = next_[AgentEvent(T{}).index()];
    while (at < recorded_.answers.size()) {
      if (const T* found = std::get_if<T>(&recorded_.answers[at++])) return found;
    }
    return nullptr;
  }

  /// Nothing: the turn is followed no further, and if that isn't its end a note says why.
  std::optional<AgentEvent> AnswerTo(const Effect& effect) {
    if (const auto* generate = std::get_if<GenerateEffect>(&effect)) return Generate(*generate);
    if (const auto* calls = std::get_if<CallToolsEffect>(&effect)) return CallTools(*calls);
    if (const auto* sleep = std::get_if<SleepEffect>(&effect)) return Clock(*sleep);
    if (std::holds_alternative<AccountEffect>(effect)) return Recorded<AccountEvent>("");
    if (std::holds_alternative<ApproveEffect>(effect))
      return Recorded<ApprovalEvent>("an approval");
    if (std::holds_alternative<ForkEffect>(effect)) return Recorded<ForkedEvent>("a fork");
    if (std::holds_alternative<WorktreeEffect>(effect)) {
      return Recorded<WorktreeEvent>("what a fork has changed");
    }
    if (std::holds_alternative<CompactEffect>(effect)) {
      return Recorded<CompactedEvent>("a compaction");
    }
    if (!std::holds_alternative<FinishEffect>(effect)) {
      return Recorded<ChildTurnsEvent>("turns of its forks");
    }
    int64_t left = 0;
    while (Next<GeneratedEvent>() != nullptr) ++left;
    if (left > 0)
      Note("it ends before the last " + std::to_string(left) + " of the model's recorded answers");
    return std::nullopt;
  }

  /// `what`: for the note where there is none; empty: the answer that says nothing will do.
  template <typename T>
  std::optional<AgentEvent> Recorded(const std::string& what) {
    if (const T* recorded = Next<T>()) return *recorded;
    if (what.empty()) return T{};
    Note("it asks for " + what +
         ", which the recording doesn't hold; the turn was followed to here");
    return std::nullopt;
  }

  std::optional<AgentEvent> Clock(const SleepEffect& sleep) {
    if (const ClockEvent* recorded = Next<ClockEvent>())
      now_ms_ = recorded->unix_ms;
    else
      now_ms_ += sleep.ms;
    return ClockEvent{now_ms_};
  }

  std::optional<AgentEvent> Generate(const GenerateEffect& effect) {
    for (const Message& message : effect.append) {
      const auto told = told_.find(message.tool_call_id);
      if (message.role != Role::kTool || told == told_.end()) continue;
      if (message.content != told->second.content) {
        run_->calls[told->second.call].told = message.content;
      }
      told_.erase(told);
    }
    const GeneratedEvent* recorded = Next<GeneratedEvent>();
    if (recorded == nullptr) return Recorded<GeneratedEvent>("one more answer of the model");
    for (const ToolCall& call : recorded->message.tool_calls) asked_[call.id] = call;
    return *recorded;
  }

  std::optional<AgentEvent> CallTools(const CallToolsEffect& effect) {
    ToolResultsEvent results;
    for (const ToolCall& call : effect.calls) {
      const auto is_about = [&](const CallVerdict& one) { return one.call_id == call.id; };
      const auto verdict = std::find_if(effect.verdicts.begin(), effect.verdicts.end(), is_about);
      const bool judged = verdict != effect.verdicts.end();
      ToolResult result = ResultOf(call, judged && verdict->deny ? &*verdict : nullptr);
      if (const auto asked = asked_.find(call.id); asked != asked_.end()) {
        DryCall dry{recorded_.turn, asked->second, "", "", "", std::nullopt};
        if (judged) dry.decision = verdict->deny ? "deny" : "ask";
        if (judged) dry.why = verdict->why;
        if (call.arguments != asked->second.arguments) dry.rewritten = call.arguments;
        // As the default loop tells it.
        const std::string outcome = result.outcome == ToolOutcome::kOk
                                        ? ""
                                        : ToolOutcomeName(result.outcome) + std::string(": ");
        if (dry.decision != "deny") told_[call.id] = {run_->calls.size(), outcome + result.content};
        run_->calls.push_back(std::move(dry));
        asked_.erase(asked);
      }
      results.results.push_back(std::move(result));
    }
    return results;
  }

  /// A call of the model's has the id that it was recorded with, whatever a hook made of its
  /// arguments. Those of scripts are numbered anew: the next one that asks for the same.
  ToolResult ResultOf(const ToolCall& call, const CallVerdict* denial) {
    if (denial != nullptr) {
      return {call.id, ToolOutcome::kDenied,
              "the script denies it" + (denial->why.empty() ? "" : " (" + denial->why + ")") + "."};
    }
    const ToolResult* recorded = nullptr;
    if (asked_.contains(call.id)) {
      const auto found = results_by_id_.find(call.id);
      if (found != results_by_id_.end()) recorded = found->second;
    } else if (auto& same = results_[{call.name, call.arguments}]; !same.empty()) {
      recorded = same.front();
      same.pop_front();
    }
    if (recorded != nullptr) {
      ToolResult result = *recorded;
      result.call_id = call.id;
      return result;
    }
    Note("its call of " + call.name + " has no recorded result, and gets an error: " +
         call.arguments.substr(0, kArgumentsShown));
    return {call.id, ToolOutcome::kError, "a dry run calls nothing"};
  }

  struct Told {
    size_t call = 0;  ///< Of the run's.
    std::string content;
  };

  const RecordedTurn& recorded_;
  DryRun* const run_;
  std::map<std::string, const ToolResult*> results_by_id_;
  /// By name and arguments: those that no call of the script has got.
  std::map<std::pair<std::string, std::string>, std::deque<const ToolResult*>> results_;
  std::map<size_t, size_t> next_;          ///< By kind of answer: where to look on.
  std::map<std::string, ToolCall> asked_;  ///< By id: what the model asked for and nobody ran.
  std::map<std::string, Told> told_;       ///< By id: results that the model wasn't told of.
  int64_t now_ms_ = 0;
};

}  // namespace

Result<DryRun> RunDry(const AgentOptions& options, const std::vector<RecordedTurn>& turns) {
  DryRun run;
  for (const RecordedTurn& turn : turns) {
    RETURN_IF_ERROR(DryTurn(turn, &run).Follow(options));
  }
  return run;
}

}  // namespace baleen
