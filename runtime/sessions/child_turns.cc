// Subagents: sessions that a script forks off its turn, and the turns that it lets them run. A fork
// continues from the context as it is; a turn of it is one step of the script, and its spend counts
// as the turn's. Both are asked for under an id that the step gives, so that a restart asks for
// what was begun before, and nothing is begun twice.
#include <algorithm>
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

ChildTurnEnd EndOf(const TurnView& view) {
  ChildTurnEnd end;
  end.succeeded = view.state == TurnState::kSucceeded;
  end.text = view.text;
  end.error = end.succeeded ? "" : view.error.message();
  end.tokens = view.spend.tokens;
  end.wall_ms = view.spend.wall_ms;
  end.tool_calls = view.spend.tool_calls;
  end.micro_usd = view.spend.micro_usd;
  end.files = view.files;
  return end;
}

}  // namespace

BudgetSettings ControlLoop::ChildBudget(SessionRun& session, const ChildTurn& wanted,
                                        size_t shares) {
  // As a limit: at least 1, since 0 would be none.
  const auto share = [shares](int64_t limit, int64_t spent) {
    return limit == 0 ? 0 : std::max<int64_t>(1, (limit - spent) / static_cast<int64_t>(shares));
  };
  BudgetSettings budget = {wanted.tokens, wanted.wall_ms, wanted.tool_calls, wanted.micro_usd};
  for (const BudgetAccount& account : Accounts(session)) {
    budget.tokens = Tighter(budget.tokens, share(account.limit.tokens, account.spent.tokens));
    budget.wall_ms = Tighter(budget.wall_ms, share(account.limit.wall_ms, account.spent.wall_ms));
    budget.tool_calls =
        Tighter(budget.tool_calls, share(account.limit.tool_calls, account.spent.tool_calls));
    budget.micro_usd =
        Tighter(budget.micro_usd, share(account.limit.micro_usd, account.spent.micro_usd));
  }
  return budget;
}

void ControlLoop::RunFork(SessionRun& session, const ForkEffect& effect) {
  ForkRequest request;
  request.session = session.record.id;
  request.at.tokens = effect.clean ? 0 : session.record.tokens;
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

void ControlLoop::RunChildTurns(SessionRun& session, const ChildTurnsEffect& effect) {
  TurnRun& turn = *session.turn;
  // They work by their own clocks, whose times are added to the turn's.
  PauseClock(turn);
  turn.children.clear();
  for (const ChildTurn& wanted : effect.turns) turn.children.push_back({wanted.session, "", {}});
  for (size_t i = 0; i < effect.turns.size(); ++i) {
    RunChildTurn(session, i, effect.turns[i], effect.turns.size());
  }
}

void ControlLoop::RunChildTurn(SessionRun& session, size_t index, const ChildTurn& wanted,
                               size_t shares) {
  TurnRun& turn = *session.turn;
  const auto ended = [this, id = session.record.id, epoch = turn.epoch, index](ChildTurnEnd end) {
    SessionRun* run = FindTurn(id, epoch);
    if (run == nullptr || run->turn->view.state != TurnState::kRunning) return;
    EndChildTurn(*run, index, std::move(end));
  };
  const auto failed = [ended](const Status& status) {
    ChildTurnEnd end;
    end.error = status.message();
    ended(std::move(end));
  };
  if (!turn.forks.contains(wanted.session)) {
    return failed(NotFoundError("'" + wanted.session + "' is no fork of this turn"));
  }
  StartTurnRequest request;
  request.session = wanted.session;
  request.input = {wanted.text};
  request.budget = ChildBudget(session, wanted, shares);
  request.request_id = StepRequestId(session);
  if (shares > 1) request.request_id += "#" + std::to_string(index + 1);
  const Errand errand = {wanted.errand, PathOf(session)};
  StartErrand(request, errand,
              [this, ended, failed, id = session.record.id, epoch = turn.epoch, index,
               child = wanted.session](const Result<TurnView>& started) {
                if (!started.ok()) return failed(started.status());
                SessionRun* run = FindTurn(id, epoch);
                if (run == nullptr || run->turn->view.state != TurnState::kRunning) {
                  // It was cancelled while its child began.
                  return CancelTurn(child, started->turn, [](const Result<TurnView>&) {});
                }
                run->turn->children[index].turn = started->turn;
                NoteWait(*run);
                AwaitTurn(child, started->turn, [ended, failed](const Result<TurnView>& view) {
                  if (!view.ok()) return failed(view.status());
                  ended(EndOf(*view));
                });
              });
}

void ControlLoop::EndChildTurn(SessionRun& session, size_t index, ChildTurnEnd end) {
  TurnRun& turn = *session.turn;
  turn.children[index].end = std::move(end);
  ChildTurnsEvent event;
  for (const ChildRun& child : turn.children) {
    if (!child.end.has_value()) return NoteWait(session);
    event.ends.push_back(*child.end);
  }
  JournalBatch batch;
  NoteChildrensNetwork(session, batch);
  turn.children.clear();
  AddChildSpends(event, &turn.forks_spent);
  for (const ChildTurnEnd& end : event.ends) AddFiles(end.files, &turn.view);
  ResumeClock(turn);
  EndFlowStep(session, event, std::move(batch));
}

void ControlLoop::CancelChildren(const TurnRun& turn) {
  for (const ChildRun& child : turn.children) {
    if (child.turn.empty() || child.end.has_value()) continue;
    CancelTurn(child.session, child.turn, [](const Result<TurnView>&) {});
  }
}

std::string ControlLoop::PathOf(const SessionRun& session) {
  const TurnRun& turn = *session.turn;
  const std::string path = session.record.id + "/" + turn.view.turn;
  return turn.start.parent.empty() ? path : turn.start.parent + "/" + path;
}

std::vector<const SessionRun*> ControlLoop::ChildrenOf(const SessionRun& session) const {
  std::vector<const SessionRun*> children;
  if (session.turn == nullptr) return children;
  for (const ChildRun& child : session.turn->children) {
    const auto found = sessions_.find(child.session);
    const bool runs = found != sessions_.end() && found->second->turn != nullptr &&
                      found->second->turn->view.turn == child.turn;
    if (runs) children.push_back(found->second.get());
  }
  return children;
}

std::vector<const SessionRun*> ControlLoop::WithChildren(const SessionRun& session) const {
  std::vector<const SessionRun*> all = {&session};
  for (size_t i = 0; i < all.size(); ++i) {
    for (const SessionRun* child : ChildrenOf(*all[i])) all.push_back(child);
  }
  return all;
}

}  // namespace baleen
