// Recovery: the journal's events drive a fresh agent through the open turn, performing nothing; the
// effect that was pending is then taken up again.
#include <utility>

#include "runtime/sessions/control_loop.h"

namespace baleen {
namespace {

constexpr int64_t kPage = 256;

Status Diverged(int64_t step, const std::string& why) {
  return FailedPreconditionError(
      "the script diverged from the journal at step " + std::to_string(step) + ": " + why,
      "SCRIPT_CHANGED");
}

/// What the journal says that the turn did at one step.
struct JournalledStep {
  std::string effect;        ///< EffectToJson; empty: the effect was not journalled.
  int64_t prompt_begin = 0;  ///< Generations.
  int64_t prompt_end = 0;
  const EventRecord* answer = nullptr;
};

/// Collects the steps of the turn that `events` (from turn_started on) describe.
Result<std::vector<JournalledStep>> CollectSteps(const std::vector<EventRecord>& events) {
  std::vector<JournalledStep> steps;
  for (const EventRecord& event : events) {
    if (event.kind == event_kind::kGenerate) {
      ASSIGN_OR_RETURN(const GenerateStart start, GenerateStartFromJson(event.payload));
      steps.push_back({start.effect, start.prompt_begin, start.prompt_end, nullptr});
    } else if (event.kind == event_kind::kToolCalls) {
      ASSIGN_OR_RETURN(const ToolDispatch dispatch, ToolDispatchFromJson(event.payload));
      steps.push_back({dispatch.effect, 0, 0, nullptr});
    } else if (event.kind == event_kind::kGenerated || event.kind == event_kind::kToolResults) {
      if (steps.empty() || steps.back().answer != nullptr) {
        return DataLossError("event " + std::to_string(event.seq) + " answers no effect");
      }
      steps.back().answer = &event;
    }
  }
  return steps;
}

}  // namespace

Status ControlLoop::RecoverOpenTurns(std::vector<std::string>* notes) {
  std::string after;
  while (true) {
    ASSIGN_OR_RETURN(const auto page, parts_.journal_reader->ListSessions(after, kPage));
    if (page.empty()) return OkStatus();
    for (const SessionRecord& record : page) {
      after = record.id;
      if (Status status = RecoverSession(record.id); !status.ok()) {
        notes->push_back("session '" + record.id + "' was left alone: " + status.ToString());
      }
    }
  }
}

Status ControlLoop::RecoverSession(const std::string& id) {
  const auto started = parts_.journal_reader->LastEvent(id, event_kind::kTurnStarted);
  if (started.status().code() == StatusCode::kNotFound) return OkStatus();  // no turn yet
  RETURN_IF_ERROR(started.status());
  const auto finished = parts_.journal_reader->LastEvent(id, event_kind::kTurnFinished);
  if (finished.ok() && finished->seq > started->seq) return OkStatus();
  if (!finished.ok() && finished.status().code() != StatusCode::kNotFound) {
    return finished.status();
  }
  ASSIGN_OR_RETURN(SessionRun * session, Load(id));
  RecoverTurn(*session, *started);
  return OkStatus();
}

void ControlLoop::RecoverTurn(SessionRun& session, const EventRecord& started) {
  const auto broken = [&](const Status& status) {
    session.state = SessionState::kBroken;
    session.broken = status.WithContext("the open turn of session '" + session.record.id +
                                        "' can't be continued");
  };
  if (Status status = LoadTokens(session); !status.ok()) return broken(status);
  auto start = TurnStartFromJson(started.payload);
  if (!start.ok()) return broken(start.status());
  auto turn = MakeTurn(session, *start);
  if (!turn.ok()) return broken(turn.status());
  session.turn = std::move(turn).value();
  session.turn->started_seq = started.seq;
  session.turn->started_tokens = started.tokens;
  session.state = SessionState::kRunning;
  std::vector<EventRecord> events;
  int64_t seen = started.seq;
  while (true) {
    auto page = parts_.journal_reader->ReadEvents(session.record.id, seen, kPage);
    if (!page.ok()) return broken(page.status());
    if (page->empty()) break;
    for (EventRecord& event : *page) {
      seen = event.seq;
      events.push_back(std::move(event));
    }
  }
  Replay(session, events);
}

void ControlLoop::Replay(SessionRun& session, const std::vector<EventRecord>& events) {
  const auto fail = [&](const Status& status) {
    FinishTurn(session, TurnState::kFailed, "", status);
  };
  auto steps = CollectSteps(events);
  if (!steps.ok()) return fail(steps.status());
  TurnRun& turn = *session.turn;
  AgentEvent event = UserTurnEvent{turn.start.input};
  for (const JournalledStep& step : *steps) {
    auto effect = turn.agent->Resume(event);
    if (!effect.ok()) return fail(effect.status().WithContext("script"));
    turn.step += 1;
    if (EffectToJson(*effect) != step.effect) {
      return fail(Diverged(turn.step, "it asked for another effect than it did before"));
    }
    turn.generations += std::holds_alternative<GenerateEffect>(*effect) ? 1 : 0;
    if (step.answer == nullptr) {
      if (const auto* generate = std::get_if<GenerateEffect>(&*effect)) {
        // Tokens beyond the prompt were sampled, journalled and maybe shown: they stay.
        turn.view.tokens_generated += static_cast<int64_t>(session.tokens.size()) - step.prompt_end;
        return SubmitJob(session, *generate, step.prompt_end,
                         static_cast<int64_t>(session.tokens.size()));
      }
      const auto* calls = std::get_if<CallToolsEffect>(&*effect);
      if (calls == nullptr) return fail(Diverged(turn.step, "it finished earlier than before"));
      turn.tools = std::make_unique<ToolRunState>();
      turn.tools->step = turn.step;
      turn.tools->calls = calls->calls;
      turn.tools->results.resize(calls->calls.size());
      return DispatchCalls(session, /*after_restart=*/true);
    }
    auto answer = StepAnswerFromJson(step.answer->payload);
    if (!answer.ok()) return fail(answer.status());
    if (const auto* generated = std::get_if<GeneratedEvent>(&answer->event)) {
      turn.view.tokens_generated += generated->tokens;
      turn.view.tokens_reused_ram += answer->reuse.reused_ram;
      turn.view.tokens_reused_disk += answer->reuse.reused_disk;
      turn.view.tokens_recomputed += answer->reuse.recomputed;
      turn.view.tokens_prefilled += answer->reuse.prefilled;
      turn.view.calls_cut += answer->calls_cut ? 1 : 0;
    }
    event = std::move(answer->event);
  }
  Advance(session, event);
}

}  // namespace baleen
