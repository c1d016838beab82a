// Flow steps: what a script asks for besides generations and calls: the time, a sleep, somebody's
// leave, a budget of its own. Each is journalled when it begins and with its answer, as every step
// is, so that a replay gives the script what it was given.
#include <algorithm>
#include <utility>

#include "runtime/sessions/control_loop.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

constexpr size_t kTitleBytesMax = 200;
constexpr size_t kDescriptionBytesMax = 64 * 1024;
/// Ten years: so that no sum of times leaves 63 bits.
constexpr int64_t kSleepMsMax = int64_t{3650} * 24 * 3600 * 1000;

bool IsAboutChildren(const Effect& effect) {
  return std::holds_alternative<ChildTurnsEffect>(effect) ||
         std::holds_alternative<StopTurnsEffect>(effect);
}

ApprovalView AskFor(const ApproveEffect& effect) {
  ApprovalView approval;
  approval.subject = "flow";
  approval.title = std::string(Utf8Prefix(effect.title, kTitleBytesMax));
  approval.description = std::string(Utf8Prefix(effect.description, kDescriptionBytesMax));
  if (approval.description.size() < effect.description.size()) {
    approval.description += "\n[cut: " + std::to_string(approval.description.size()) + " of " +
                            std::to_string(effect.description.size()) + " bytes]";
  }
  approval.allowed_decisions = {"grant:once", "deny"};
  return approval;
}

AccountEvent EventOf(const Spend& spend) {
  return {spend.tokens, spend.wall_ms, spend.tool_calls, spend.micro_usd};
}

ScriptAccount AccountOf(const AccountEffect& effect, int64_t step, const AccountEvent& before) {
  ScriptAccount account;
  // One name may come again: its step tells which one a grant was for.
  account.owner = effect.name + "@" + std::to_string(step);
  account.limit = {effect.tokens, effect.wall_ms, effect.tool_calls, effect.micro_usd};
  account.before = {before.tokens, before.wall_ms, before.tool_calls, before.micro_usd};
  return account;
}

}  // namespace

void ControlLoop::BeginFlowStep(SessionRun& session, const Effect& effect) {
  TurnRun& turn = *session.turn;
  StepStart start;
  start.turn = turn.view.turn;
  start.step = turn.step;
  start.effect = EffectToJson(effect);
  const auto* sleep = std::get_if<SleepEffect>(&effect);
  if (sleep != nullptr) {
    start.until_ms = parts_.clock->WallMs() + std::clamp<int64_t>(sleep->ms, 0, kSleepMsMax);
  }
  JournalBatch batch;
  batch.events.push_back(NewEvent(session, event_kind::kStepStarted, StepStartToJson(start)));
  if (const auto* account = std::get_if<AccountEffect>(&effect)) {
    return EndFlowStep(session, ApplyAccount(session, *account), std::move(batch));
  }
  if (sleep != nullptr && sleep->ms <= 0) {
    return EndFlowStep(session, ClockEvent{start.until_ms}, std::move(batch));
  }
  if (const auto* approve = std::get_if<ApproveEffect>(&effect)) {
    AddApproval(session, AskFor(*approve), batch);
  }
  turn.sleep_until_ms = start.until_ms;
  Commit(session, std::move(batch), Durability::kSynced,
         [this, id = session.record.id, epoch = turn.epoch, effect,
          until_ms = start.until_ms](const Status& status) {
           SessionRun* run = FindTurn(id, epoch);
           if (!status.ok() || run == nullptr) return;
           if (run->turn->view.state != TurnState::kRunning) return;
           PerformFlowStep(*run, effect, until_ms);
         });
}

void ControlLoop::PerformFlowStep(SessionRun& session, const Effect& effect, int64_t until_ms) {
  if (std::holds_alternative<SleepEffect>(effect)) ArmSleep(session, until_ms);
  if (const auto* fork = std::get_if<ForkEffect>(&effect)) return RunFork(session, *fork);
  if (IsAboutChildren(effect)) return RunChildTurns(session, effect);
  if (const auto* worktree = std::get_if<WorktreeEffect>(&effect)) {
    return RunWorktree(session, *worktree);
  }
  if (const auto* compact = std::get_if<CompactEffect>(&effect)) {
    return BeginCompaction(session, std::nullopt, *compact);
  }
  NoteWait(session);
}

void ControlLoop::ResumeFlowStep(SessionRun& session, const Effect& effect, int64_t until_ms) {
  if (std::holds_alternative<SleepEffect>(effect)) {
    session.turn->sleep_until_ms = until_ms;
    return ArmSleep(session, until_ms);
  }
  if (std::holds_alternative<ForkEffect>(effect) || IsAboutChildren(effect) ||
      std::holds_alternative<WorktreeEffect>(effect) ||
      std::holds_alternative<CompactEffect>(effect)) {
    if (IsAboutChildren(effect)) PauseClock(*session.turn);
    // Once all sessions have been recovered: the fork's turn is one that is recovered too.
    Post([this, id = session.record.id, epoch = session.turn->epoch, effect] {
      SessionRun* run = FindTurn(id, epoch);
      if (run == nullptr || run->turn->view.state != TurnState::kRunning) return;
      PerformFlowStep(*run, effect, 0);
    });
    return;
  }
  // An account is opened and answered in one commit: this one is of another version.
  if (const auto* account = std::get_if<AccountEffect>(&effect)) {
    return EndFlowStep(session, ApplyAccount(session, *account), {});
  }
  for (const ApprovalView& approval : session.turn->approvals) {
    if (approval.subject == "flow" && approval.state == ApprovalState::kPending) return;
  }
  FinishTurn(
      session, TurnState::kFailed, "",
      DataLossError("the journal has a step that waits for an approval, and none that waits"));
}

void ControlLoop::EndFlowStep(SessionRun& session, const AgentEvent& event, JournalBatch batch,
                              std::function<void(const Status&)> stored) {
  StepAnswer answer;
  answer.turn = session.turn->view.turn;
  answer.step = session.turn->step;
  answer.event = event;
  session.turn->sleep_until_ms = 0;
  batch.events.push_back(NewEvent(session, event_kind::kStepEnded, StepAnswerToJson(answer)));
  // Synced: what the script is told now, it must be told again after a power cut.
  Commit(session, std::move(batch), Durability::kSynced,
         [this, id = session.record.id, epoch = session.turn->epoch, event,
          stored = std::move(stored)](const Status& status) {
           if (stored) stored(status);
           SessionRun* run = FindTurn(id, epoch);
           if (status.ok() && run != nullptr && run->turn->view.state == TurnState::kRunning) {
             Advance(*run, event);
           }
         });
}

void ControlLoop::ArmSleep(SessionRun& session, int64_t until_ms) {
  const int64_t delay_ms = std::max<int64_t>(0, until_ms - parts_.clock->WallMs());
  After(delay_ms, [this, id = session.record.id, epoch = session.turn->epoch, until_ms,
                   step = session.turn->step] {
    SessionRun* run = FindTurn(id, epoch);
    if (run == nullptr || run->turn->view.state != TurnState::kRunning) return;
    if (run->turn->step != step) return;
    const int64_t now_ms = parts_.clock->WallMs();
    if (now_ms < until_ms) return ArmSleep(*run, until_ms);  // the clock jumped back
    EndFlowStep(*run, ClockEvent{now_ms}, {});
  });
}

AccountEvent ControlLoop::ApplyAccount(SessionRun& session, const AccountEffect& effect) {
  TurnRun& turn = *session.turn;
  const Spend now = SpendOf(session);
  if (effect.opens) {
    turn.accounts.push_back(AccountOf(effect, turn.step, EventOf(now)));
    return EventOf(now);
  }
  if (turn.accounts.empty()) return {};
  const Spend within = Since(turn.accounts.back().before, now);
  turn.accounts.pop_back();
  return EventOf(within);
}

void ControlLoop::RestoreAccount(SessionRun& session, const AccountEffect& effect,
                                 const AccountEvent& event) {
  TurnRun& turn = *session.turn;
  if (!effect.opens) {
    if (!turn.accounts.empty()) turn.accounts.pop_back();
    return;
  }
  turn.accounts.push_back(AccountOf(effect, turn.step, event));
  for (const ApprovalView& approval : turn.approvals) {
    if (approval.budget.owner == turn.accounts.back().owner) ApplyExtension(session, approval);
  }
}

void ControlLoop::EndFlowApproval(SessionRun& session, const ApprovalView& approval,
                                  JournalBatch batch, const Answer<ApprovalView>& answer) {
  ResumeClock(*session.turn);
  const bool granted = approval.state == ApprovalState::kGranted;
  EndFlowStep(session, ApprovalEvent{granted, approval.resolved_by, approval.reason},
              std::move(batch), [view = approval, answer](const Status& status) {
                if (!status.ok()) return answer(status);
                answer(view);
              });
}

}  // namespace baleen
