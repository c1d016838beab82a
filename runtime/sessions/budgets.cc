// Budgets of the running turn: what it may still spend, and the pause in which it asks for more.
#include <algorithm>
#include <limits>
#include <utility>

#include "runtime/sessions/control_loop.h"

namespace baleen {
namespace {

bool HasLimit(const BudgetSettings& budget) {
  return budget.tokens != 0 || budget.wall_ms != 0 || budget.tool_calls != 0 ||
         budget.micro_usd != 0;
}

/// What turns of forks hold of the script's account `account`; -1: of those around it, to which all
/// are charged.
Spend HeldByChildren(const TurnRun& turn, int64_t account) {
  Spend sum;
  for (const ChildRun& child : turn.children) {
    if (std::cmp_less_equal(child.accounts, account)) continue;
    if (child.end.has_value()) {
      AddSpend({child.end->tokens, child.end->wall_ms, child.end->tool_calls, child.end->micro_usd},
               &sum);
    } else if (child.asked) {
      AddSpend({child.budget.tokens, child.budget.wall_ms, child.budget.tool_calls,
                child.budget.micro_usd},
               &sum);
    }
  }
  return sum;
}

}  // namespace

Spend ControlLoop::SpendOf(const SessionRun& session) const {
  const TurnRun& turn = *session.turn;
  Spend spend;
  // A turn only adds to the context: what it added is what was prompted or sampled for it.
  spend.tokens = static_cast<int64_t>(session.tokens.size()) - turn.started_tokens;
  const int64_t generated = std::min(spend.tokens, turn.view.tokens_generated);
  spend.micro_usd = CostMicroUsd(session.settings.prices, spend.tokens - generated, generated);
  spend.tool_calls = turn.tool_calls;
  spend.wall_ms = turn.worked_ms;
  if (turn.working_since_ms >= 0) {
    spend.wall_ms += parts_.clock->SteadyMs() - turn.working_since_ms;
  }
  AddSpend(turn.forks_spent, &spend);
  return spend;
}

Status ControlLoop::ReadSpent(SessionRun& session) {
  if (session.spent.has_value() || !HasLimit(session.budget)) return OkStatus();
  Spend sum;
  int64_t after = 0;
  while (true) {
    ASSIGN_OR_RETURN(const auto page,
                     parts_.journal_reader->ReadEventsOfKind(
                         session.record.id, event_kind::kTurnFinished, after, kJournalPage));
    if (page.empty()) break;
    for (const EventRecord& event : page) {
      after = event.seq;
      ASSIGN_OR_RETURN(const TurnView view, TurnEndFromJson(session.record.id, event.payload));
      AddSpend(view.spend, &sum);
    }
  }
  session.spent = sum;
  return OkStatus();
}

std::vector<BudgetAccount> ControlLoop::Accounts(SessionRun& session) {
  std::vector<BudgetAccount> accounts;
  const TurnRun& turn = *session.turn;
  const Spend spend = SpendOf(session);
  Spend whole = spend;
  AddSpend(HeldByChildren(turn, -1), &whole);
  if (HasLimit(turn.budget)) accounts.push_back({"turn", turn.budget, whole});
  if (HasLimit(session.budget)) {
    BudgetAccount account = {"session", session.budget, whole};
    if (session.spent.has_value()) AddSpend(*session.spent, &account.spent);
    accounts.push_back(std::move(account));
  }
  for (size_t i = 0; i < turn.accounts.size(); ++i) {
    const ScriptAccount& account = turn.accounts[i];
    accounts.push_back({account.owner, account.limit, Since(account.before, spend)});
    AddSpend(HeldByChildren(turn, static_cast<int64_t>(i)), &accounts.back().spent);
  }
  return accounts;
}

bool ControlLoop::HasBudget(SessionRun& session, const BudgetNeed& need,
                            std::function<void()> then) {
  // One that waits from before a restart is answered first, whatever the figures say now.
  for (const ApprovalView& approval : session.turn->approvals) {
    if (approval.subject != "budget" || approval.state != ApprovalState::kPending) continue;
    session.turn->continue_paused = std::move(then);
    PauseClock(*session.turn);
    return false;
  }
  const auto shortage = FindShortage(Accounts(session), need);
  if (!shortage.has_value()) return true;
  AskBudget(session, *shortage, std::move(then));
  return false;
}

void ControlLoop::AskBudget(SessionRun& session, const BudgetShortage& shortage,
                            std::function<void()> then) {
  ApprovalView approval;
  approval.subject = "budget";
  approval.budget = {shortage.owner, shortage.resource, shortage.limit, shortage.spent, 0};
  // As much again, and enough for the step that waits.
  approval.budget.extend =
      std::max(shortage.limit, shortage.spent + shortage.needed - shortage.limit);
  approval.title = "Go on: the " + shortage.owner + "'s budget of " + shortage.resource +
                   " is spent (" + std::to_string(shortage.spent) + " of " +
                   std::to_string(shortage.limit) + ")";
  approval.allowed_decisions = {"grant:once", "deny"};
  JournalBatch batch;
  AddApproval(session, std::move(approval), batch);
  session.turn->continue_paused = std::move(then);
  Commit(session, std::move(batch), Durability::kSynced,
         [this, id = session.record.id, epoch = session.turn->epoch](const Status& status) {
           SessionRun* run = FindTurn(id, epoch);
           if (status.ok() && run != nullptr) NoteWait(*run);
         });
}

void ControlLoop::ApplyExtension(SessionRun& session, const ApprovalView& approval) {
  if (approval.state != ApprovalState::kGranted) return;
  BudgetSettings* budget = nullptr;
  if (approval.budget.owner == "session") {
    budget = &session.budget;
  } else if (session.turn != nullptr && session.turn->view.turn == approval.turn) {
    if (approval.budget.owner == "turn") budget = &session.turn->budget;
    for (ScriptAccount& account : session.turn->accounts) {
      if (account.owner == approval.budget.owner) budget = &account.limit;
    }
  }
  int64_t* limit = budget == nullptr ? nullptr : LimitOf(budget, approval.budget.resource);
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max() / 4;
  if (limit != nullptr && *limit > 0) {
    *limit += std::clamp<int64_t>(approval.budget.extend, 0, kMost - std::min(*limit, kMost));
  }
}

void ControlLoop::EndBudgetApproval(SessionRun& session, ApprovalView& approval, JournalBatch batch,
                                    const Answer<ApprovalView>& answer) {
  ResumeClock(*session.turn);
  Commit(session, std::move(batch), Durability::kSynced,
         [this, id = session.record.id, epoch = session.turn->epoch, view = approval,
          answer](const Status& status) {
           if (!status.ok()) return answer(status);
           answer(view);
           SessionRun* run = FindTurn(id, epoch);
           if (run == nullptr || run->turn->view.state != TurnState::kRunning) return;
           ApplyExtension(*run, view);
           auto then = std::move(run->turn->continue_paused);
           run->turn->continue_paused = nullptr;
           if (view.state == ApprovalState::kGranted) {
             if (then) then();
             return;
           }
           const std::string text =
               run->turn->generation != nullptr ? run->turn->generation->content : "";
           FinishTurn(
               *run, TurnState::kFailed, text,
               ResourceExhaustedError(
                   "the " + view.budget.owner + "'s budget of " + view.budget.resource +
                       " is spent (" + std::to_string(view.budget.spent) + " of " +
                       std::to_string(view.budget.limit) + "), and more was " +
                       (view.state == ApprovalState::kExpired ? "not granted in time"
                                                              : "denied by " + view.resolved_by),
                   "BUDGET_SPENT"));
         });
}

void ControlLoop::PauseClock(TurnRun& turn) {
  if (turn.working_since_ms < 0) return;
  turn.worked_ms += parts_.clock->SteadyMs() - turn.working_since_ms;
  turn.working_since_ms = -1;
}

void ControlLoop::ResumeClock(TurnRun& turn) {
  if (turn.working_since_ms < 0) turn.working_since_ms = parts_.clock->SteadyMs();
}

void ControlLoop::ArmWall(SessionRun& session) {
  const int64_t left_ms = WallMsLeft(Accounts(session));
  if (left_ms == std::numeric_limits<int64_t>::max()) return;
  After(left_ms, [this, id = session.record.id, epoch = session.turn->epoch,
                  job = session.turn->generation->job] {
    SessionRun* run = FindTurn(id, epoch);
    if (run == nullptr || run->turn->generation == nullptr) return;
    if (run->turn->generation->job != job || job == 0) return;
    if (WallMsLeft(Accounts(*run)) > 0) return ArmWall(*run);  // more was granted meanwhile
    StopGeneration(*run->turn);
  });
}

bool ControlLoop::PauseGeneration(SessionRun& session) {
  GenerationState& generation = *session.turn->generation;
  if (session.turn->cancelled->load()) return false;
  const bool capped = generation.end == JobEnd::kLength && generation.capped;
  const bool late = generation.end == JobEnd::kCancelled && generation.stop->load();
  if (!capped && !late) return false;
  // An engine elsewhere counts otherwise: what ended there before our limit has ended. Asked again,
  // it would end alike, and cost as much each time.
  const bool elsewhere = !session.settings.engine.empty();
  if (capped && elsewhere && !FindShortage(Accounts(session), {.tokens = 1}).has_value()) {
    return false;
  }
  generation.job = 0;
  generation.ended = false;
  const auto go_on = [this, id = session.record.id, epoch = session.turn->epoch,
                      effect = generation.effect, prompt_end = generation.prompt_end] {
    SessionRun* run = FindTurn(id, epoch);
    if (run == nullptr || run->turn->generation == nullptr) return;
    SubmitJob(*run, effect, prompt_end, static_cast<int64_t>(run->tokens.size()));
  };
  if (HasBudget(session, {.tokens = 1}, go_on)) go_on();
  return true;
}

}  // namespace baleen
