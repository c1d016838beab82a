// Subagents: sessions that a script forks off its turn, and the turns that it lets them run. A fork
// continues from the context as it is; a turn of it is one step of the script, and its spend counts
// as the turn's. Both are asked for under an id that the step gives, so that a restart asks for
// what was begun before, and nothing is begun twice.
#include <algorithm>
#include <limits>
#include <utility>

#include "runtime/sessions/control_loop.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

constexpr size_t kLabelBytesMax = 200;

std::string StepRequestId(const SessionRun& session) {
  return "step:" + session.record.id + "/" + session.turn->view.turn + "." +
         std::to_string(session.turn->step);
}

/// The lower of two limits, of which 0 is none.
int64_t Tighter(int64_t one, int64_t other) {
  return one == 0 || other == 0 ? std::max(one, other) : std::min(one, other);
}

/// What is left of `limit`, as a limit: at least 1, since 0 would be none.
int64_t LeftOf(int64_t limit, int64_t spent) {
  return limit == 0 ? 0 : std::max<int64_t>(1, limit - spent);
}

ChildTurnEvent EventOf(const TurnView& view) {
  ChildTurnEvent event;
  event.succeeded = view.state == TurnState::kSucceeded;
  event.text = view.text;
  event.error = event.succeeded ? "" : view.error.message();
  event.tokens = view.spend.tokens;
  event.wall_ms = view.spend.wall_ms;
  event.tool_calls = view.spend.tool_calls;
  event.micro_usd = view.spend.micro_usd;
  return event;
}

}  // namespace

BudgetSettings ControlLoop::ChildBudget(SessionRun& session, const ChildTurnEffect& effect) {
  BudgetSettings budget = {effect.tokens, effect.wall_ms, effect.tool_calls, effect.micro_usd};
  for (const BudgetAccount& account : Accounts(session)) {
    budget.tokens = Tighter(budget.tokens, LeftOf(account.limit.tokens, account.spent.tokens));
    budget.wall_ms = Tighter(budget.wall_ms, LeftOf(account.limit.wall_ms, account.spent.wall_ms));
    budget.tool_calls =
        Tighter(budget.tool_calls, LeftOf(account.limit.tool_calls, account.spent.tool_calls));
    budget.micro_usd =
        Tighter(budget.micro_usd, LeftOf(account.limit.micro_usd, account.spent.micro_usd));
  }
  return budget;
}

void ControlLoop::RunFork(SessionRun& session, const ForkEffect& effect) {
  ForkRequest request;
  request.session = session.record.id;
  request.at.tokens = session.record.tokens;
  request.title = std::string(Utf8Prefix(effect.label, kLabelBytesMax));
  request.request_id = StepRequestId(session);
  ForkSession(request, [this, id = session.record.id,
                        epoch = session.turn->epoch](const Result<SessionView>& fork) {
    SessionRun* run = FindTurn(id, epoch);
    if (run == nullptr || run->turn->view.state != TurnState::kRunning) return;
    if (!fork.ok()) {
      return FinishTurn(*run, TurnState::kFailed, "", fork.status().WithContext("s:fork"));
    }
    run->turn->forks.insert(fork->session);
    EndFlowStep(*run, ForkedEvent{fork->session}, {});
  });
}

void ControlLoop::RunChildTurn(SessionRun& session, const ChildTurnEffect& effect) {
  TurnRun& turn = *session.turn;
  const auto failed = [this, id = session.record.id, epoch = turn.epoch](const Status& status) {
    SessionRun* run = FindTurn(id, epoch);
    if (run == nullptr || run->turn->view.state != TurnState::kRunning) return;
    ChildTurnEvent event;
    event.error = status.message();
    EndChildTurn(*run, event);
  };
  if (!turn.forks.contains(effect.session)) {
    return failed(NotFoundError("'" + effect.session + "' is no fork of this turn"));
  }
  // It works by its own clock, whose time is added to the turn's.
  PauseClock(turn);
  turn.child = effect.session;
  StartTurnRequest request;
  request.session = effect.session;
  request.input = {effect.text};
  request.budget = ChildBudget(session, effect);
  request.request_id = StepRequestId(session);
  const Errand errand = {effect.errand, PathOf(session)};
  StartErrand(request, errand,
              [this, failed, id = session.record.id, epoch = turn.epoch,
               child = effect.session](const Result<TurnView>& started) {
                if (!started.ok()) return failed(started.status());
                SessionRun* run = FindTurn(id, epoch);
                if (run == nullptr || run->turn->view.state != TurnState::kRunning) {
                  // It was cancelled while its child began.
                  return CancelTurn(child, started->turn, [](const Result<TurnView>&) {});
                }
                run->turn->child_turn = started->turn;
                NoteWait(*run);
                AwaitTurn(
                    child, started->turn, [this, failed, id, epoch](const Result<TurnView>& ended) {
                      if (!ended.ok()) return failed(ended.status());
                      SessionRun* parent = FindTurn(id, epoch);
                      if (parent == nullptr || parent->turn->view.state != TurnState::kRunning)
                        return;
                      EndChildTurn(*parent, EventOf(*ended));
                    });
              });
}

void ControlLoop::EndChildTurn(SessionRun& session, const ChildTurnEvent& event) {
  TurnRun& turn = *session.turn;
  turn.child.clear();
  turn.child_turn.clear();
  AddSpend({event.tokens, event.wall_ms, event.tool_calls, event.micro_usd}, &turn.forks_spent);
  ResumeClock(turn);
  EndFlowStep(session, event, {});
}

void ControlLoop::CancelChild(const TurnRun& turn) {
  if (turn.child_turn.empty()) return;
  CancelTurn(turn.child, turn.child_turn, [](const Result<TurnView>&) {});
}

std::string ControlLoop::PathOf(const SessionRun& session) {
  const TurnRun& turn = *session.turn;
  const std::string path = session.record.id + "/" + turn.view.turn;
  return turn.start.parent.empty() ? path : turn.start.parent + "/" + path;
}

const SessionRun* ControlLoop::ChildOf(const SessionRun& session) const {
  if (session.turn == nullptr || session.turn->child_turn.empty()) return nullptr;
  const auto found = sessions_.find(session.turn->child);
  const bool runs = found != sessions_.end() && found->second->turn != nullptr &&
                    found->second->turn->view.turn == session.turn->child_turn;
  return runs ? found->second.get() : nullptr;
}

}  // namespace baleen
