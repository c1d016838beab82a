// Recovery: the journal's events drive a fresh agent through the open turn, performing nothing; the
// effect that was pending is then taken up again.
#include <algorithm>
#include <utility>

#include "runtime/sessions/call_results.h"
#include "runtime/sessions/control_loop.h"

namespace baleen {
namespace {

Status Diverged(int64_t step, const std::string& why) {
  return FailedPreconditionError(
      "the script diverged from the journal at step " + std::to_string(step) + ": " + why,
      "SCRIPT_CHANGED");
}

/// What the journal says that the turn did at one step.
struct JournalledStep {
  std::string effect;        ///< As GenerateStart and ToolProposal have it.
  int64_t prompt_begin = 0;  ///< Generations.
  int64_t prompt_end = 0;
  int64_t until_ms = 0;  ///< Sleeps.
  const EventRecord* answer = nullptr;
};

/// Collects the steps of the turn that `events` (from turn_started on) describe.
Result<std::vector<JournalledStep>> CollectSteps(const std::vector<EventRecord>& events) {
  std::vector<JournalledStep> steps;
  for (const EventRecord& event : events) {
    if (event.kind == event_kind::kGenerate) {
      ASSIGN_OR_RETURN(const GenerateStart start, GenerateStartFromJson(event.payload));
      steps.push_back({start.effect, start.prompt_begin, start.prompt_end, 0, nullptr});
    } else if (event.kind == event_kind::kToolCalls) {
      ASSIGN_OR_RETURN(const ToolProposal proposal, ToolProposalFromJson(event.payload));
      steps.push_back({proposal.effect, 0, 0, 0, nullptr});
    } else if (event.kind == event_kind::kStepStarted) {
      ASSIGN_OR_RETURN(const StepStart start, StepStartFromJson(event.payload));
      steps.push_back({start.effect, 0, 0, start.until_ms, nullptr});
    } else if (event.kind == event_kind::kGenerated || event.kind == event_kind::kToolResults ||
               event.kind == event_kind::kStepEnded) {
      if (steps.empty() || steps.back().answer != nullptr) {
        return DataLossError("event " + std::to_string(event.seq) + " answers no effect");
      }
      steps.back().answer = &event;
    }
  }
  return steps;
}

bool RunsChildren(const EventRecord& step_started) {
  const auto start = StepStartFromJson(step_started.payload);
  return start.ok() && (start->effect.starts_with(R"({"kind":"child_turn",)") ||
                        start->effect.starts_with(R"({"kind":"child_turns",)") ||
                        start->effect.starts_with(R"({"kind":"stop_turns",)"));
}

}  // namespace

Status ControlLoop::RecoverOpenTurns(std::vector<std::string>* notes) {
  std::string after;
  while (true) {
    ASSIGN_OR_RETURN(const auto page, parts_.journal_reader->ListSessions(after, kJournalPage));
    if (page.empty()) return OkStatus();
    for (const SessionRecord& record : page) {
      after = record.id;
      Status status = RecoverGrants(record.id);
      if (status.ok()) status = RecoverSession(record.id);
      if (!status.ok()) {
        notes->push_back("session '" + record.id + "' was left alone: " + status.ToString());
      }
    }
  }
}

Status ControlLoop::RecoverGrants(const std::string& id) {
  const auto first =
      parts_.journal_reader->ReadEventsOfKind(id, event_kind::kApprovalResolved, 0, 1);
  if (first.ok() && first->empty()) return OkStatus();  // most were never asked
  return Load(id).status();
}

Status ControlLoop::RestoreApprovals(TurnRun& turn, const std::vector<EventRecord>& events) {
  for (const EventRecord& event : events) {
    if (event.kind == event_kind::kApprovalRequested) {
      ASSIGN_OR_RETURN(ApprovalView approval, ApprovalFromJson(event.session, event.payload));
      turn.approvals.push_back(std::move(approval));
    } else if (event.kind == event_kind::kApprovalResolved) {
      ASSIGN_OR_RETURN(const ApprovalEnd end, ApprovalEndFromJson(event.payload));
      for (ApprovalView& approval : turn.approvals) {
        if (approval.approval == end.approval) ApplyEnd(end, event.time_ms, &approval);
      }
      if (end.state == ApprovalState::kGranted && end.scope == GrantScope::kTurn) {
        turn.grants.insert(end.tools.begin(), end.tools.end());
      }
    }
  }
  return OkStatus();
}

void ControlLoop::RestoreClock(TurnRun& turn, const std::vector<EventRecord>& events) {
  // The time in which no process ran isn't the turn's: it worked until its last event.
  const int64_t last_ms = events.empty() ? turn.started_ms : events.back().time_ms;
  turn.worked_ms = last_ms - turn.started_ms;
  int64_t waited_until_ms = turn.started_ms;  // approvals lie in the order in which they were asked
  for (const ApprovalView& approval : turn.approvals) {
    const bool waits = approval.state == ApprovalState::kPending;
    const int64_t until_ms = waits ? last_ms : approval.resolved_ms;
    const int64_t from_ms = std::max(approval.requested_ms, waited_until_ms);
    turn.worked_ms -= std::max<int64_t>(0, until_ms - from_ms);
    waited_until_ms = std::max(waited_until_ms, until_ms);
  }
  // A fork's turn works by its own clock.
  int64_t child_since_ms = -1;
  for (const EventRecord& event : events) {
    if (event.kind == event_kind::kStepStarted && RunsChildren(event)) {
      child_since_ms = event.time_ms;
    } else if (event.kind == event_kind::kStepEnded && child_since_ms >= 0) {
      turn.worked_ms -= event.time_ms - child_since_ms;
      child_since_ms = -1;
    }
  }
  if (child_since_ms >= 0) turn.worked_ms -= last_ms - child_since_ms;
  turn.worked_ms = std::max<int64_t>(0, turn.worked_ms);
  ResumeClock(turn);
  for (const ApprovalView& approval : turn.approvals) {
    if (approval.state == ApprovalState::kPending) PauseClock(turn);
  }
}

void ControlLoop::RestoreCalls(SessionRun& session, const CallToolsEffect& calls,
                               const std::vector<EventRecord>& events) {
  TurnRun& turn = *session.turn;
  turn.tools = std::make_unique<ToolRunState>(turn.step, calls);
  ToolRunState& tools = *turn.tools;
  const auto each = [&](const std::vector<std::string>& ids, const auto& apply) {
    for (size_t i = 0; i < tools.calls.size(); ++i) {
      if (std::find(ids.begin(), ids.end(), tools.calls[i].id) != ids.end()) apply(tools.state[i]);
    }
  };
  // Journalled by this process or an earlier one: what was read once before is read again.
  for (const EventRecord& event : events) {
    if (event.kind == event_kind::kToolCalls) {
      const auto proposal = ToolProposalFromJson(event.payload);
      if (!proposal.ok() || proposal->step != turn.step || !proposal->dispatched) continue;
      for (ToolRunState::Call& call : tools.state) call.dispatched = call.started = true;
    } else if (event.kind == event_kind::kToolDispatched) {
      const auto dispatch = ToolDispatchFromJson(event.payload);
      if (!dispatch.ok() || dispatch->step != turn.step) continue;
      each(dispatch->calls,
           [](ToolRunState::Call& call) { call.dispatched = call.started = true; });
    } else if (event.kind == event_kind::kToolResult) {
      const auto answer = StepAnswerFromJson(event.payload);
      if (!answer.ok() || answer->step != turn.step) continue;
      const auto* results = std::get_if<ToolResultsEvent>(&answer->event);
      if (results == nullptr) continue;
      for (const ToolResult& result : results->results) {
        each({result.call_id}, [&](ToolRunState::Call& call) { call.result = result; });
      }
    }
  }
  for (const ApprovalView& approval : turn.approvals) {
    std::vector<std::string> ids;
    for (const ToolCall& call : approval.calls) ids.push_back(call.id);
    each(ids, [&](ToolRunState::Call& call) {
      if (call.dispatched || call.result.has_value()) return;
      if (approval.state == ApprovalState::kPending) {
        call.awaiting = true;
      } else {
        call.result = DeniedCall(ApprovalRefusal(approval));
      }
    });
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
  session.turn->started_ms = started.time_ms;
  session.state = SessionState::kRunning;
  std::vector<EventRecord> events;
  int64_t seen = started.seq;
  while (true) {
    auto page = parts_.journal_reader->ReadEvents(session.record.id, seen, kJournalPage);
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
  const auto end_cancelled = [&] {
    FinishTurn(session, TurnState::kCancelled, "", CancelledError("the turn was cancelled"));
  };
  auto steps = CollectSteps(events);
  if (!steps.ok()) return fail(steps.status());
  TurnRun& turn = *session.turn;
  if (Status status = RestoreApprovals(turn, events); !status.ok()) return fail(status);
  if (Status status = RestoreSteers(turn, events); !status.ok()) return fail(status);
  if (Status status = ReadSpent(session); !status.ok()) return fail(status);
  for (const ApprovalView& approval : turn.approvals) {
    ArmExpiry(session, approval);
    // The session's were added up when it was read.
    if (approval.budget.owner == "turn") ApplyExtension(session, approval);
  }
  RestoreClock(turn, events);
  for (const EventRecord& recorded : events) {
    if (recorded.kind == event_kind::kCancelRequested) turn.cancelled->store(true);
    if (recorded.kind == event_kind::kCompactionStarted) {
      auto start = GenerateStartFromJson(recorded.payload);
      if (!start.ok()) return fail(start.status());
      turn.open_compaction = *std::move(start);
    } else if (recorded.kind == event_kind::kCompacted) {
      const auto end = CompactionEndFromJson(recorded.payload);
      if (!end.ok()) return fail(end.status());
      if (turn.open_compaction.has_value()) {
        turn.view.tokens_generated += end->context_begin - turn.open_compaction->prompt_end;
      }
      AddReuse(end->reuse, &turn.view);
      turn.open_compaction.reset();
    } else if (recorded.kind == event_kind::kGenerate) {
      turn.open_compaction.reset();
    }
  }
  Heartbeat(session);
  // Once all sessions have been recovered: what its forks ran is found again, and can be stopped.
  Post([this, id = session.record.id, epoch = turn.epoch] {
    SessionRun* run = FindTurn(id, epoch);
    if (run != nullptr && run->turn->view.state == TurnState::kRunning) StartChildren(*run);
  });
  AgentEvent event = UserTurnEvent{turn.start.input};
  for (const JournalledStep& step : *steps) {
    auto effect = turn.agent->Resume(event);
    if (!effect.ok()) return fail(effect.status().WithContext("script"));
    turn.step += 1;
    const std::string recorded =
        step.effect.empty() ? EffectToJson(UserSays(turn.start.input)) : step.effect;
    if (!IsRecordedEffect(*effect, recorded)) {
      return fail(Diverged(turn.step, "it asked for another effect than it did before"));
    }
    if (const auto* calls = std::get_if<CallToolsEffect>(&*effect)) {
      turn.tool_calls += static_cast<int64_t>(calls->calls.size());
    }
    turn.generations += std::holds_alternative<GenerateEffect>(*effect) ? 1 : 0;
    NoteChildren(session, *effect);
    if (step.answer == nullptr) {
      if (const auto* generate = std::get_if<GenerateEffect>(&*effect)) {
        if (turn.cancelled->load()) return end_cancelled();
        // Tokens beyond the prompt were sampled, journalled and maybe shown: they stay.
        turn.view.tokens_generated += static_cast<int64_t>(session.tokens.size()) - step.prompt_end;
        return SubmitJob(session, *generate, step.prompt_end,
                         static_cast<int64_t>(session.tokens.size()));
      }
      if (std::holds_alternative<FinishEffect>(*effect)) {
        return fail(Diverged(turn.step, "it finished earlier than before"));
      }
      const auto* calls = std::get_if<CallToolsEffect>(&*effect);
      if (calls == nullptr) {
        if (turn.cancelled->load()) return end_cancelled();
        turn.awaited.clear();  // until the step is taken up again
        return ResumeFlowStep(session, *effect, step.until_ms);
      }
      RestoreCalls(session, *calls, events);
      return turn.cancelled->load() ? end_cancelled() : ResumeCalls(session);
    }
    auto answer = StepAnswerFromJson(step.answer->payload);
    if (!answer.ok()) return fail(answer.status());
    const auto* called = std::get_if<CallToolsEffect>(&*effect);
    const auto* results = std::get_if<ToolResultsEvent>(&answer->event);
    if (called != nullptr && results != nullptr) NoteRepeats(called->calls, *results, turn);
    if (const auto* generated = std::get_if<GeneratedEvent>(&answer->event)) {
      turn.view.tokens_generated += generated->tokens;
      AddReuse(answer->reuse, &turn.view);
      turn.view.calls_cut += answer->calls_cut ? 1 : 0;
    }
    if (std::holds_alternative<CompactionDueEvent>(answer->event)) turn.generations -= 1;
    const auto* account = std::get_if<AccountEffect>(&*effect);
    if (const auto* applied = std::get_if<AccountEvent>(&answer->event);
        account != nullptr && applied != nullptr) {
      RestoreAccount(session, *account, *applied);
    }
    if (const auto* forked = std::get_if<ForkedEvent>(&answer->event)) {
      turn.forks.insert(forked->session);
    }
    if (const auto* children = std::get_if<ChildTurnsEvent>(&answer->event)) {
      TakeEnds(turn, *children);
    }
    if (const auto* results = std::get_if<ToolResultsEvent>(&answer->event)) {
      AddFiles(*results, &turn.view);
    }
    event = std::move(answer->event);
  }
  Advance(session, event);
}

}  // namespace baleen
