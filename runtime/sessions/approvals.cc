// Approvals: asked, journalled, and answered by a host, by time, or by the end of their turn.
#include <algorithm>
#include <map>
#include <utility>

#include "runtime/sessions/call_results.h"
#include "runtime/sessions/control_loop.h"
#include "tools_sdk/builtin/ask_user.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

constexpr char kResolveMethod[] = "ResolveApproval";

std::string TitleOf(const std::vector<ToolCall>& calls) {
  if (calls.size() == 1) return "Run " + calls[0].name;
  std::string title = "Run " + std::to_string(calls.size()) + " calls:";
  for (const ToolCall& call : calls) title += " " + call.name;
  return std::string(Utf8Prefix(title, 200));
}

Status Unknown(const std::string& session, const std::string& approval) {
  return NotFoundError("session '" + session + "' has no approval '" + approval.substr(0, 80) +
                           "'; `baleen approvals list` shows those that wait",
                       "ITEM_UNKNOWN");
}

Status CheckResolve(const ResolveApprovalRequest& request, const ApprovalView& approval) {
  RETURN_IF_ERROR(CheckSaid(request.reason, request.resolved_by, "reason, resolved_by"));
  for (const std::string& id : request.calls) {
    const bool asked = std::any_of(approval.calls.begin(), approval.calls.end(),
                                   [&](const ToolCall& call) { return call.id == id; });
    if (!asked) {
      return InvalidArgumentError(
          "approval '" + approval.approval + "' isn't about call '" + id.substr(0, 80) + "'",
          "BAD_FIELD");
    }
  }
  if (request.extend != 0 && (approval.subject != "budget" || !request.grant)) {
    return InvalidArgumentError(
        "extend: approval '" + approval.approval + "' is about no budget, or is denied: expected 0",
        "BAD_FIELD");
  }
  constexpr int64_t kExtendMax = int64_t{1} << 60;
  if (request.extend < 0 || request.extend > kExtendMax) {
    return InvalidArgumentError(
        "extend is " + std::to_string(request.extend) + ": expected 0 (as was asked) to 2^60",
        "BAD_FIELD");
  }
  if (approval.subject == "question" && request.grant && request.reason.empty()) {
    return InvalidArgumentError(
        "approval '" + approval.approval + "' is a question: expected its answer as the reason",
        "BAD_FIELD");
  }
  if (!request.grant && !request.calls.empty()) {
    return InvalidArgumentError("a denial is of all calls: expected no list of calls", "BAD_FIELD");
  }
  std::string wanted = request.grant ? "grant:" : "deny";
  if (request.grant) {
    for (const char c : std::string(GrantScopeName(request.scope))) {
      wanted += static_cast<char>(c - 'A' + 'a');
    }
  }
  const auto& allowed = approval.allowed_decisions;
  if (std::find(allowed.begin(), allowed.end(), wanted) == allowed.end()) {
    return InvalidArgumentError("approval '" + approval.approval + "' doesn't take '" + wanted +
                                    "'; its allowed_decisions name those that it takes",
                                "BAD_FIELD");
  }
  return OkStatus();
}

/// Pages go by their sessions' ids, then by age.
std::vector<ApprovalView> PageOf(std::vector<ApprovalView> views,
                                 const ListApprovalsRequest& request) {
  if (request.after.empty() && request.approvals_max == 0) return views;
  std::sort(views.begin(), views.end(), [](const ApprovalView& a, const ApprovalView& b) {
    return a.session != b.session ? a.session < b.session : IsAskedBefore(a.approval, b.approval);
  });
  const size_t slash = std::min(request.after.find('/'), request.after.size());
  const std::string session = request.after.substr(0, slash);
  const std::string approval = request.after.substr(std::min(slash + 1, request.after.size()));
  std::erase_if(views, [&](const ApprovalView& view) {
    return view.session < session ||
           (view.session == session && !IsAskedBefore(approval, view.approval));
  });
  const auto limit = static_cast<size_t>(request.approvals_max);
  if (limit != 0 && views.size() > limit) views.resize(limit);
  return views;
}

bool Has(const std::vector<std::string>& texts, const std::string& text) {
  return std::find(texts.begin(), texts.end(), text) != texts.end();
}

}  // namespace

void ControlLoop::RequestApproval(SessionRun& session, const std::vector<size_t>& calls,
                                  const std::vector<std::string>& reasons, JournalBatch& batch) {
  ApprovalView approval;
  approval.subject = "tool_calls";
  for (const size_t index : calls) approval.calls.push_back(session.turn->tools->calls[index]);
  approval.title = TitleOf(approval.calls);
  for (const std::string& reason : reasons) {
    if (!reason.empty())
      approval.description += (approval.description.empty() ? "" : "; ") + reason;
  }
  approval.allowed_decisions = {"grant:once", "grant:turn", "grant:session"};
  // What others obey is not for all sessions to change.
  const bool guarded =
      std::any_of(approval.calls.begin(), approval.calls.end(),
                  [&](const ToolCall& call) { return !GuardedBy(session, call).empty(); });
  if (!session.settings.workspace.empty() && !guarded) {
    approval.allowed_decisions.push_back("grant:workspace");
  }
  approval.allowed_decisions.push_back("deny");
  AddApproval(session, std::move(approval), batch);
}

bool ControlLoop::IsQuestion(const SessionRun& session, const ToolCall& call) const {
  return call.name == kAskUser && OriginOf(session, call.name) == ToolOrigin::kBuiltin;
}

void ControlLoop::AskUser(SessionRun& session, const ToolCall& call, JournalBatch& batch) {
  ApprovalView approval = QuestionOf(call);
  approval.allowed_decisions = {"grant:once", "deny"};
  AddApproval(session, std::move(approval), batch);
}

void ControlLoop::GiveAnswer(SessionRun& session, size_t index) {
  const std::string& id = session.turn->tools->calls[index].id;
  for (const ApprovalView& approval : session.turn->approvals) {
    if (approval.state != ApprovalState::kGranted || !Has(approval.granted_calls, id)) continue;
    ToolResult answer;
    answer.content = approval.reason;
    return SetResult(session, index, std::move(answer));
  }
  SetResult(session, index, FailedCall("The answer to this question is lost; ask again."));
}

void ControlLoop::AddApproval(SessionRun& session, ApprovalView approval, JournalBatch& batch) {
  TurnRun& turn = *session.turn;
  approval.session = session.record.id;
  approval.turn = turn.view.turn;
  approval.approval = turn.view.turn + "-a" + std::to_string(turn.approvals.size() + 1);
  approval.requester = PathOf(session);
  approval.requested_ms = parts_.clock->WallMs();
  const int64_t limit_ms = session.settings.policy.approval_ms_max;
  if (limit_ms > 0) approval.expires_ms = approval.requested_ms + limit_ms;
  batch.events.push_back(
      NewEvent(session, event_kind::kApprovalRequested, ApprovalToJson(approval)));
  turn.approvals.push_back(approval);
  ArmExpiry(session, approval);
  PauseClock(turn);
}

void ControlLoop::ArmExpiry(SessionRun& session, const ApprovalView& approval) {
  if (approval.expires_ms == 0 || approval.state != ApprovalState::kPending) return;
  const int64_t delay_ms = std::max<int64_t>(0, approval.expires_ms - parts_.clock->WallMs());
  After(delay_ms,
        [this, id = session.record.id, epoch = session.turn->epoch, name = approval.approval] {
          SessionRun* run = FindTurn(id, epoch);
          if (run == nullptr || run->turn->view.state != TurnState::kRunning) return;
          ApprovalView* late = FindPending(*run, name);
          if (late == nullptr) return;
          if (late->expires_ms > parts_.clock->WallMs())
            return ArmExpiry(*run, *late);  // it jumped back
          ApprovalEnd end;
          end.state = ApprovalState::kExpired;
          end.resolved_by = "expiry";
          end.reason = "nobody answered in time";
          EndApproval(*run, *late, std::move(end), {}, [](const Result<ApprovalView>&) {});
        });
}

ApprovalView* ControlLoop::FindPending(SessionRun& session, const std::string& approval) {
  if (session.turn == nullptr) return nullptr;
  for (ApprovalView& entry : session.turn->approvals) {
    if (entry.approval == approval && entry.state == ApprovalState::kPending) return &entry;
  }
  return nullptr;
}

void ControlLoop::ResolveApproval(const ResolveApprovalRequest& request,
                                  const Answer<ApprovalView>& reply) {
  const auto answer = FirstOnly(kResolveMethod, request.request_id, reply,
                                [this, request, reply] { ResolveApproval(request, reply); });
  if (!answer) return;
  if (EarlierAnswer(request.request_id, kResolveMethod).ok()) {
    return GetApproval(request.session, request.approval, answer);
  }
  auto loaded = Load(request.session);
  if (!loaded.ok()) return answer(loaded.status());
  SessionRun& session = **loaded;
  ApprovalView* approval = FindPending(session, request.approval);
  if (approval == nullptr || session.turn->view.state != TurnState::kRunning) {
    return GetApproval(request.session, request.approval, [&](const Result<ApprovalView>& ended) {
      if (!ended.ok()) return answer(ended.status());
      answer(FailedPreconditionError("approval '" + request.approval + "' doesn't wait any more: " +
                                         ApprovalStateName(ended->state) + " by " +
                                         ended->resolved_by,
                                     "NOT_AWAITING"));
    });
  }
  if (Status status = CheckResolve(request, *approval); !status.ok()) return answer(status);
  ApprovalEnd end;
  end.state = request.grant ? ApprovalState::kGranted : ApprovalState::kDenied;
  end.scope = request.grant ? request.scope : GrantScope::kOnce;
  if (request.grant) {
    for (const ToolCall& call : approval->calls) {
      if (!request.calls.empty() && !Has(request.calls, call.id)) continue;
      end.calls.push_back(call.id);
      const std::string name = GrantName(session, call, end.scope);
      if (!Has(end.tools, name)) end.tools.push_back(name);
    }
  }
  end.budget = approval->budget;
  if (request.extend > 0) end.budget.extend = request.extend;
  end.resolved_by = request.resolved_by.empty() ? "host" : request.resolved_by;
  end.reason = request.reason;
  JournalBatch batch;
  if (!request.request_id.empty()) {
    batch.answers.push_back(
        {request.request_id, kResolveMethod, AnswerJson(request.approval), parts_.clock->WallMs()});
  }
  EndApproval(session, *approval, std::move(end), std::move(batch), answer);
}

void ControlLoop::EndApproval(SessionRun& session, ApprovalView& approval, ApprovalEnd end,
                              JournalBatch batch, const Answer<ApprovalView>& answer) {
  end.turn = approval.turn;
  end.approval = approval.approval;
  if (end.budget.owner == "session") end.revision = session.marks.revision;
  batch.events.push_back(NewEvent(session, event_kind::kApprovalResolved, ApprovalEndToJson(end)));
  const int64_t ended_ms = batch.events.back().time_ms;
  ApplyEnd(end, ended_ms, &approval);
  if (end.state == ApprovalState::kGranted && end.scope == GrantScope::kTurn) {
    session.turn->grants.insert(end.tools.begin(), end.tools.end());
  }
  if (approval.subject == "budget") {
    return EndBudgetApproval(session, approval, std::move(batch), answer);
  }
  if (approval.subject == "flow") {
    return EndFlowApproval(session, approval, std::move(batch), answer);
  }
  const auto pends = [](const ApprovalView& one) { return one.state == ApprovalState::kPending; };
  // Questions of one step are asked apart, and wait together.
  const auto& all = session.turn->approvals;
  if (std::none_of(all.begin(), all.end(), pends)) ResumeClock(*session.turn);
  CallOrders orders;
  ToolRunState& tools = *session.turn->tools;
  for (size_t i = 0; i < tools.calls.size(); ++i) {
    ToolRunState::Call& state = tools.state[i];
    const auto is_it = [&](const ToolCall& call) { return call.id == tools.calls[i].id; };
    const auto& asked = approval.calls;
    if (!state.awaiting || std::none_of(asked.begin(), asked.end(), is_it)) continue;
    state.awaiting = false;
    const bool granted = Has(end.calls, tools.calls[i].id);
    NoteDecision(session, {tools.calls[i].id, granted ? "grant" : "deny", end.resolved_by, "", ""});
    if (granted) {
      state.dispatched = true;
      orders.run.push_back(i);
      orders.fresh.push_back(tools.calls[i].id);
    } else {
      orders.refuse.emplace_back(i, DeniedCall(ApprovalRefusal(approval)));
    }
  }
  PerformOrders(
      session, std::move(batch), std::move(orders),
      [this, id = session.record.id, end, ended_ms, view = approval, answer](const Status& status) {
        if (!status.ok()) return answer(status);
        const auto found = sessions_.find(id);
        if (found != sessions_.end() && end.state == ApprovalState::kGranted) {
          AddGrant(*found->second, end, ended_ms);
        }
        answer(view);
      });
}

void ControlLoop::CancelApprovals(SessionRun& session, JournalBatch& batch) {
  for (ApprovalView& approval : session.turn->approvals) {
    if (approval.state != ApprovalState::kPending) continue;
    ApprovalEnd end;
    end.turn = approval.turn;
    end.approval = approval.approval;
    end.state = ApprovalState::kCancelled;
    end.resolved_by = "cancel";
    end.reason = "the turn ended";
    ApplyEnd(end, parts_.clock->WallMs(), &approval);
    batch.events.push_back(
        NewEvent(session, event_kind::kApprovalResolved, ApprovalEndToJson(end)));
  }
}

Result<std::vector<ApprovalView>> ControlLoop::ReadApprovals(const SessionRun& session) {
  const std::string& id = session.record.id;
  using Ends = std::vector<std::pair<ApprovalEnd, int64_t>>;  // an answer, and what was revoked
  std::map<std::string, Ends> ends;
  std::vector<ApprovalView> approvals;
  for (const char* kind : {event_kind::kApprovalResolved, event_kind::kApprovalRequested}) {
    int64_t after = 0;
    while (true) {
      ASSIGN_OR_RETURN(const auto page,
                       parts_.journal_reader->ReadEventsOfKind(id, kind, after, kJournalPage));
      if (page.empty()) break;
      for (const EventRecord& event : page) {
        after = event.seq;
        if (event.kind == event_kind::kApprovalResolved) {
          ASSIGN_OR_RETURN(ApprovalEnd end, ApprovalEndFromJson(event.payload));
          const std::string name = end.approval;
          ends[name].emplace_back(std::move(end), event.time_ms);
        } else {
          ASSIGN_OR_RETURN(ApprovalView approval, ApprovalFromJson(id, event.payload));
          approvals.push_back(std::move(approval));
        }
      }
    }
  }
  for (ApprovalView& approval : approvals) {
    if (const auto found = ends.find(approval.approval); found != ends.end()) {
      for (const auto& [end, time_ms] : found->second) ApplyEnd(end, time_ms, &approval);
    } else if (session.turn == nullptr || session.turn->view.turn != approval.turn) {
      // The history was cut inside its turn, which has ended with it.
      approval.state = ApprovalState::kCancelled;
      approval.resolved_by = "cancel";
    }
  }
  return approvals;
}

void ControlLoop::GetApproval(const std::string& session, const std::string& approval,
                              const Answer<ApprovalView>& answer) {
  auto loaded = Load(session);
  if (!loaded.ok()) return answer(loaded.status());
  if (const TurnRun* turn = (*loaded)->turn.get()) {
    // What is on its way to the journal counts.
    for (const ApprovalView& entry : turn->approvals) {
      if (entry.approval == approval) return answer(entry);
    }
  }
  auto all = ReadApprovals(**loaded);
  if (!all.ok()) return answer(all.status());
  for (ApprovalView& entry : *all) {
    if (entry.approval == approval) return answer(std::move(entry));
  }
  answer(Unknown(session, approval));
}

void ControlLoop::ListApprovals(const ListApprovalsRequest& request,
                                const Answer<std::vector<ApprovalView>>& answer) {
  if (request.approvals_max < 0) {
    return answer(InvalidArgumentError(
        "approvals_max is " + std::to_string(request.approvals_max) + ": expected 0 (all) or more",
        "BAD_FIELD"));
  }
  std::vector<ApprovalView> views;
  const auto add_pending = [&views](const SessionRun& session) {
    if (session.turn == nullptr) return;
    for (const ApprovalView& approval : session.turn->approvals) {
      if (approval.state == ApprovalState::kPending) views.push_back(approval);
    }
  };
  if (request.session.empty()) {
    if (request.resolved) {
      return answer(InvalidArgumentError(
          "resolved approvals are listed of one session: expected its id", "BAD_FIELD"));
    }
    // A session that waits is running, and those are all loaded.
    for (const auto& [id, session] : sessions_) add_pending(*session);
    return answer(PageOf(std::move(views), request));
  }
  auto loaded = Load(request.session);
  if (!loaded.ok()) return answer(loaded.status());
  if (request.resolved) {
    auto all = ReadApprovals(**loaded);
    if (!all.ok()) return answer(all.status());
    views = std::move(all).value();
  } else {
    // Those that its forks wait for are in its way too.
    for (const SessionRun* run : WithChildren(**loaded)) add_pending(*run);
  }
  answer(PageOf(std::move(views), request));
}

}  // namespace baleen
