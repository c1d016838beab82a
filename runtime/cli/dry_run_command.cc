// `baleen lua dry-run`: what a script would have said to the turns of a session.
#include "runtime/cli/dry_run_command.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <condition_variable>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "agent/dry_run.h"
#include "runtime/cli/flags.h"
#include "runtime/sessions/journal_json.h"
#include "tools_sdk/utf8.h"

namespace baleen::cli {
namespace {

using Json = nlohmann::ordered_json;

struct DryRunFlags {
  RuntimeFlags runtime;
  std::string script, session, turn;
  bool json = false;
};

/// A session's events up to where it stood when somebody looked. Threads: as EventPrinter.
class EventList final : public EventSubscriber {
 public:
  explicit EventList(std::string last_cursor) : last_cursor_(std::move(last_cursor)) {}

  bool OnEvent(const Event& event) override {
    const std::lock_guard lock(mutex_);
    if (!ended_ && event.seq > 0) events_.push_back(event);
    if (event.cursor == last_cursor_) End(OkStatus());
    return true;
  }

  void OnEnd(const Status& status) override {
    const std::lock_guard lock(mutex_);
    End(status.ok() ? UnavailableError("the session's events ended early") : status);
  }

  Result<std::vector<Event>> Wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return ended_; });
    RETURN_IF_ERROR(end_);
    return std::move(events_);
  }

 private:
  void End(const Status& status) {
    if (!ended_) end_ = status;
    ended_ = true;
    changed_.notify_all();
  }

  const std::string last_cursor_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Event> events_;  // guarded by mutex_
  bool ended_ = false;         // guarded by mutex_
  Status end_;                 // guarded by mutex_
};

Result<std::vector<Event>> ReadEvents(Runtime& runtime, const std::string& session) {
  ASSIGN_OR_RETURN(const SessionView view, runtime.GetSession(session));
  if (!view.open_turn.empty()) {
    return FailedPreconditionError("session '" + session + "' runs turn " + view.open_turn +
                                       "; a dry run reads what has ended",
                                   "SESSION_BUSY");
  }
  EventList events(view.head_cursor);
  ASSIGN_OR_RETURN(const auto subscription, runtime.Watch({session, "", false}, &events));
  return events.Wait();
}

struct Recording {
  std::vector<RecordedTurn> turns;
  /// By turn and call: what was decided then, where that was no plain leave.
  std::map<std::pair<std::string, std::string>, std::string> decided;
};

Status Take(const Event& event, Recording* recording) {
  if (event.kind == event_kind::kTurnStarted) {
    ASSIGN_OR_RETURN(const TurnStart start, TurnStartFromJson(event.payload));
    RecordedTurn turn;
    turn.turn = start.turn;
    turn.input = start.input;
    turn.errand = start.trigger == "COMPACT" ? R"({"compact":true})" : start.errand;
    turn.first = start.turn == "t1";
    turn.seed = start.sampling.seed;
    recording->turns.push_back(std::move(turn));
    return OkStatus();
  }
  if (recording->turns.empty()) return OkStatus();
  RecordedTurn& turn = recording->turns.back();
  if (event.kind == event_kind::kToolCalls) {
    ASSIGN_OR_RETURN(const ToolProposal proposal, ToolProposalFromJson(event.payload));
    ASSIGN_OR_RETURN(auto calls, CallsOfEffect(proposal.effect));
    std::move(calls.begin(), calls.end(), std::back_inserter(turn.calls));
    for (const CallJudgement& judged : proposal.judged) {
      recording->decided[{turn.turn, judged.call}] = judged.decision;
    }
  } else if (event.kind == event_kind::kGenerated || event.kind == event_kind::kToolResult ||
             event.kind == event_kind::kToolResults || event.kind == event_kind::kStepEnded) {
    ASSIGN_OR_RETURN(StepAnswer answer, StepAnswerFromJson(event.payload));
    turn.answers.push_back(std::move(answer.event));
  }
  return OkStatus();
}

Result<Recording> Read(Runtime& runtime, const DryRunFlags& flags) {
  ASSIGN_OR_RETURN(const std::vector<Event> events, ReadEvents(runtime, flags.session));
  Recording recording;
  for (const Event& event : events) RETURN_IF_ERROR(Take(event, &recording));
  if (!flags.turn.empty()) {
    std::erase_if(recording.turns,
                  [&](const RecordedTurn& turn) { return turn.turn != flags.turn; });
    if (recording.turns.empty()) {
      return NotFoundError("session '" + flags.session + "' has no turn '" + flags.turn + "'",
                           "ITEM_UNKNOWN");
    }
  }
  return recording;
}

Result<AgentOptions> OptionsOf(Runtime& runtime, const DryRunFlags& flags) {
  AgentOptions options;
  ASSIGN_OR_RETURN(options.script, ReadTextFile(flags.script));
  options.script_name = flags.script;
  ASSIGN_OR_RETURN(const std::vector<ToolView> tools, runtime.ListTools(flags.session));
  for (const ToolView& tool : tools) {
    if (tool.spec.name == kTaskTool) options.task = true;
    if (tool.origin == "script" || tool.spec.name == kTaskTool) continue;
    options.tools.push_back(tool.spec);
    if (tool.origin == "mcp") options.mcp_tools.push_back(tool.spec.name);
  }
  return options;
}

/// One line of a terminal or a few.
std::string Shown(const std::string& text) {
  constexpr size_t kBytesMax = 400;
  return text.size() <= kBytesMax ? PlainText(text)
                                  : PlainText(std::string(Utf8Prefix(text, kBytesMax))) + " ...";
}

/// Whether the script says anything about it.
bool IsTouched(const DryCall& call) {
  return !call.decision.empty() || !call.rewritten.empty() || call.told.has_value();
}

void PrintText(const DryRun& run, const Recording& recording) {
  int64_t denied = 0, asked = 0, changed = 0;
  for (const DryCall& dry : run.calls) {
    denied += dry.decision == "deny" ? 1 : 0;
    asked += dry.decision == "ask" ? 1 : 0;
    changed += !dry.rewritten.empty() || dry.told.has_value() ? 1 : 0;
    if (!IsTouched(dry)) continue;
    const auto then = recording.decided.find({dry.turn, dry.call.id});
    std::cout << dry.turn << " " << dry.call.id << " " << dry.call.name << " "
              << Shown(dry.call.arguments) << "\n";
    if (!dry.decision.empty()) {
      std::cout << "  " << dry.decision << (dry.why.empty() ? "" : ": " + Shown(dry.why))
                << " (was: " << (then == recording.decided.end() ? "allow" : then->second) << ")\n";
    }
    if (!dry.rewritten.empty()) std::cout << "  arguments: " << Shown(dry.rewritten) << "\n";
    if (dry.told.has_value()) std::cout << "  the model is told: " << Shown(*dry.told) << "\n";
  }
  for (const DryNote& note : run.notes) {
    std::cout << note.turn << ": " << (note.failed ? "failed: " : "note: ") << Shown(note.message)
              << "\n";
  }
  std::cout << run.calls.size() << " calls in " << recording.turns.size() << " turns: " << denied
            << " denied, " << asked << " asked about, " << changed << " changed\n";
}

void PrintJson(const DryRun& run, const Recording& recording) {
  Json calls = Json::array(), notes = Json::array();
  for (const DryCall& dry : run.calls) {
    const auto then = recording.decided.find({dry.turn, dry.call.id});
    Json call = {{"turn", dry.turn},
                 {"call", dry.call.id},
                 {"tool", dry.call.name},
                 {"arguments", dry.call.arguments},
                 {"recorded", then == recording.decided.end() ? "allow" : then->second},
                 {"script", dry.decision.empty() ? "allow" : dry.decision}};
    if (!dry.why.empty()) call["why"] = dry.why;
    if (!dry.rewritten.empty()) call["rewritten"] = dry.rewritten;
    if (dry.told.has_value()) call["told"] = *dry.told;
    calls.push_back(std::move(call));
  }
  for (const DryNote& note : run.notes) {
    notes.push_back({{"turn", note.turn}, {"message", note.message}, {"failed", note.failed}});
  }
  std::cout << Json{{"turns", recording.turns.size()}, {"calls", calls}, {"notes", notes}}.dump(
                   2, ' ', false, Json::error_handler_t::replace)
            << "\n";
}

int Run(const DryRunFlags& flags) {
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  const auto options = OptionsOf(**runtime, flags);
  if (!options.ok()) return Fail(options.status(), flags.json);
  const auto recording = Read(**runtime, flags);
  if (!recording.ok()) return Fail(recording.status(), flags.json);
  const auto run = RunDry(*options, recording->turns);
  if (!run.ok()) return Fail(run.status(), flags.json);
  (flags.json ? PrintJson : PrintText)(*run, *recording);
  const auto failed = [](const DryNote& note) { return note.failed; };
  return std::any_of(run->notes.begin(), run->notes.end(), failed) ? kExitFailed : kExitOk;
}

}  // namespace

void AddDryRun(CLI::App& lua, int* exit_code) {
  auto flags = std::make_shared<DryRunFlags>();  // owners: the callback below
  CLI::App* command = lua.add_subcommand(
      "dry-run",
      "What a script's policy and hooks would have said to the turns of a session. The recording "
      "answers: the model says what it said, tools return what they returned. Nothing runs, and "
      "the session stays as it is; exits with 1 if the script fails");
  command->add_option("script", flags->script, "Script, as `baleen run` takes it")->required();
  command->add_option("session", flags->session, "Session that runs no turn")->required();
  command->add_option("--turn", flags->turn, "Only this one (t1, t2 ...)");
  command->add_flag("--json", flags->json, "JSON on stdout, with all calls");
  flags->runtime.AddTo(*command);
  command->callback([flags, exit_code] { *exit_code = Run(*flags); });
}

}  // namespace baleen::cli
