// Decisions about calls: who says what of one, what of it is kept, and how to find it again. The
// strictest decides: the session's policy, the taint rule, the script, the guard of files that
// others obey, and that against repetition.
#include <algorithm>
#include <span>
#include <utility>

#include "model/checkpoint/fingerprint.h"
#include "runtime/observer.h"
#include "runtime/sessions/control_loop.h"

namespace baleen {
namespace {

/// Tightens `verdict` if `other` is stricter.
void Tighten(PolicyVerdict other, PolicyVerdict* verdict) {
  if (other.decision > verdict->decision) *verdict = std::move(other);
}

/// The least that is done about what others obey: what a rule asks about or denies stays so.
void AskOfGuarded(const std::vector<GuardedWrite>& writes, PolicyVerdict* verdict) {
  if (writes.empty() || verdict->decision == PolicyDecision::kDeny) return;
  std::string why = GuardReason(writes);
  if (verdict->decision == PolicyDecision::kAsk && verdict->by != "default") {
    verdict->why += (verdict->why.empty() ? "" : "; ") + why;
    return;
  }
  *verdict = {PolicyDecision::kAsk, std::move(why), "guarded file"};
}

const ToolCall* FindCall(const std::vector<ToolCall>& calls, const std::string& id) {
  for (const ToolCall& call : calls) {
    if (call.id == id) return &call;
  }
  return nullptr;
}

}  // namespace

std::vector<GuardedWrite> ControlLoop::GuardedBy(const SessionRun& session,
                                                 const ToolCall& call) const {
  if (OriginOf(session, call.name) != ToolOrigin::kBuiltin) return {};
  return GuardedWritesOf(
      call, {session.bounds.workspace, session.HomeWorkspace(), session.settings.script_name});
}

bool ControlLoop::IsOfModel(const SessionRun& session, const ToolCall& call) {
  return FindCall(session.open_calls, call.id) != nullptr;
}

bool ControlLoop::GuardsRepeats(const SessionRun& session, const ToolCall& call) const {
  // A script may wait for something by asking again and again; its budget holds it.
  return session.settings.policy.repeat_guard && IsOfModel(session, call);
}

PolicyVerdict ControlLoop::VerdictOn(SessionRun& session, const ToolCall& call) {
  PolicyVerdict verdict =
      JudgeCall(session.settings.policy, *ToolsFor(session, call).Find(call.name),
                OriginOf(session, call.name), call.arguments);
  if (std::string why = TaintQuestion(session, call); !why.empty()) {
    Tighten({PolicyDecision::kAsk, std::move(why), "taint"}, &verdict);
  }
  for (const CallVerdict& script : session.turn->tools->verdicts) {
    if (script.call_id != call.id) continue;
    Tighten({script.deny ? PolicyDecision::kDeny : PolicyDecision::kAsk, script.why, "script"},
            &verdict);
  }
  AskOfGuarded(GuardedBy(session, call), &verdict);
  if (!GuardsRepeats(session, call)) return verdict;
  const std::string refusal = session.turn->repeats.Refusal(call);
  if (!refusal.empty()) Tighten({PolicyDecision::kDeny, refusal, "repeat guard"}, &verdict);
  return verdict;
}

std::string ControlLoop::DenialOf(const PolicyVerdict& verdict) {
  const std::string who = verdict.by == "script"         ? "the script"
                          : verdict.by == "repeat guard" ? "the repeat guard"
                                                         : "the session's policy";
  return who + " denies it" + (verdict.why.empty() ? "" : " (" + verdict.why + ")") + ".";
}

void ControlLoop::NoteDecision(const SessionRun& session, const CallJudgement& judgement) const {
  if (parts_.options.observer == nullptr) return;
  DecisionFigures figures;
  figures.session = session.record.id;
  figures.turn = session.turn->view.turn;
  figures.call = judgement.call;
  for (const ToolCall& call : session.turn->tools->calls) {
    // The name of a tool that there is, and no text of the model.
    if (call.id == judgement.call && ToolsFor(session, call).Find(call.name) != nullptr) {
      figures.tool = call.name;
    }
  }
  figures.decision = judgement.decision;
  figures.by = judgement.grant.empty() ? judgement.by : "grant " + judgement.grant;
  parts_.options.observer->OnDecision(figures);
}

void ControlLoop::ExplainDecision(const std::string& session, const std::string& turn,
                                  const std::string& call, const Answer<DecisionView>& answer) {
  auto loaded = Load(session);
  if (!loaded.ok()) return answer(loaded.status());
  answer(ReadDecision(**loaded, turn, call));
}

Result<DecisionView> ControlLoop::ReadDecision(const SessionRun& session, const std::string& turn,
                                               const std::string& call) {
  DecisionView view;
  int64_t proposed_seq = 0;
  // Of two calls with one id, which a script may make, the newest counts.
  for (int64_t after = 0;;) {
    ASSIGN_OR_RETURN(const auto page,
                     parts_.journal_reader->ReadEventsOfKind(
                         session.record.id, event_kind::kToolCalls, after, kJournalPage));
    if (page.empty()) break;
    for (const EventRecord& event : page) {
      after = event.seq;
      ASSIGN_OR_RETURN(const ToolProposal proposal, ToolProposalFromJson(event.payload));
      if (proposal.turn != turn) continue;
      ASSIGN_OR_RETURN(const auto calls, CallsOfEffect(proposal.effect));
      const ToolCall* found = FindCall(calls, call);
      if (found == nullptr) continue;
      proposed_seq = event.seq;
      view = {};
      view.tool = found->name;
      view.arguments_sha256 = Sha256Hex(std::as_bytes(std::span(found->arguments)));
      view.decision = "allow";
      view.decided_by = "default";
      view.decided_ms = event.time_ms;
      for (const CallJudgement& judged : proposal.judged) {
        if (judged.call != call) continue;
        view.decision = judged.decision;
        view.decided_by = judged.by;
        view.why = judged.why;
        view.grant = judged.grant;
      }
    }
  }
  if (proposed_seq == 0) {
    return NotFoundError("turn '" + turn.substr(0, 80) + "' of session '" + session.record.id +
                             "' has no call '" + call.substr(0, 80) +
                             "'; `baleen sessions show` lists them",
                         "ITEM_UNKNOWN");
  }
  view.session = session.record.id;
  view.turn = turn;
  view.call = call;
  RETURN_IF_ERROR(ReadAnswerTo(session, proposed_seq, &view));
  return view;
}

Status ControlLoop::ReadAnswerTo(const SessionRun& session, int64_t proposed_seq,
                                 DecisionView* view) {
  if (view->decision == "ask" && view->grant.empty()) {
    ASSIGN_OR_RETURN(const auto approvals, ReadApprovals(session));
    for (const ApprovalView& approval : approvals) {
      const auto is_it = [&](const ToolCall& one) { return one.id == view->call; };
      if (approval.turn != view->turn ||
          std::none_of(approval.calls.begin(), approval.calls.end(), is_it)) {
        continue;
      }
      view->approval = approval.approval;
      view->approval_state = approval.state;
      view->resolved_by = approval.resolved_by;
      view->reason = approval.reason;
    }
  }
  for (const char* kind : {event_kind::kToolResult, event_kind::kToolResults}) {
    for (int64_t after = proposed_seq; view->outcome.empty();) {
      ASSIGN_OR_RETURN(const auto page, parts_.journal_reader->ReadEventsOfKind(
                                            session.record.id, kind, after, kJournalPage));
      if (page.empty()) break;
      for (const EventRecord& event : page) {
        after = event.seq;
        ASSIGN_OR_RETURN(const StepAnswer step, StepAnswerFromJson(event.payload));
        const auto* results = std::get_if<ToolResultsEvent>(&step.event);
        if (step.turn != view->turn || results == nullptr || !view->outcome.empty()) continue;
        for (const ToolResult& result : results->results) {
          if (result.call_id == view->call) view->outcome = ToolOutcomeName(result.outcome);
        }
      }
    }
  }
  return OkStatus();
}

}  // namespace baleen
