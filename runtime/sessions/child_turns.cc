// Turns of forks that a script lets run. Each counts as spent by the turn whose script wants it,
// and runs on beside whatever that does next, until it is told of its end or stops it. It is asked
// for under an id of the step that wanted it first, so that a restart finds what was begun before,
// and nothing is begun twice.
#include <algorithm>
#include <utility>

#include "runtime/sessions/control_loop.h"

namespace baleen {
namespace {

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

ChildRun* ControlLoop::FindChild(TurnRun& turn, const std::string& request_id) {
  const auto found =
      std::find_if(turn.children.begin(), turn.children.end(),
                   [&request_id](const ChildRun& child) { return child.request_id == request_id; });
  return found == turn.children.end() ? nullptr : &*found;
}

void ControlLoop::AwaitChild(TurnRun& turn, const std::string& fork) {
  for (const ChildRun& child : turn.children) {
    if (child.wanted.session != fork) continue;
    turn.awaited.push_back(child.request_id);
    return;
  }
  ChildRun none;
  none.wanted.session = fork;
  none.request_id = "none:" + fork;
  none.end.emplace().error = "'" + fork + "' runs no turn of this one";
  turn.awaited.push_back(none.request_id);
  turn.children.push_back(std::move(none));
}

void ControlLoop::NoteChildren(SessionRun& session, const Effect& effect) {
  TurnRun& turn = *session.turn;
  const auto* stops = std::get_if<StopTurnsEffect>(&effect);
  const auto* wants = std::get_if<ChildTurnsEffect>(&effect);
  if (stops == nullptr && wants == nullptr) return;
  turn.awaited.clear();
  turn.awaits_all = stops != nullptr;
  if (stops != nullptr) {
    for (const std::string& fork : stops->sessions) AwaitChild(turn, fork);
    return;
  }
  for (size_t i = 0; i < wants->turns.size(); ++i) {
    const ChildTurn& wanted = wants->turns[i];
    if (wanted.runs) {
      AwaitChild(turn, wanted.session);
      continue;
    }
    ChildRun child;
    child.request_id = StepRequestId(session);
    if (wants->turns.size() > 1) child.request_id += "#" + std::to_string(i + 1);
    turn.awaited.push_back(child.request_id);
    if (FindChild(turn, child.request_id) != nullptr) continue;  // a restart has found it
    child.wanted = wanted;
    if (!turn.forks.contains(wanted.session)) {
      child.end.emplace().error = "'" + wanted.session + "' is no fork of this turn";
    }
    turn.children.push_back(std::move(child));
  }
}

void ControlLoop::RunChildTurns(SessionRun& session, const Effect& effect) {
  // They work by their own clocks, whose times are added to the turn's.
  PauseClock(*session.turn);
  NoteChildren(session, effect);
  if (session.turn->awaits_all) StopAwaited(*session.turn);
  StartChildren(session);
  TellChildren(session);
}

void ControlLoop::StopAwaited(TurnRun& turn) {
  for (const std::string& request_id : turn.awaited) {
    ChildRun& child = *FindChild(turn, request_id);
    child.stops = true;
    if (child.end.has_value()) continue;
    if (!child.asked) child.end.emplace().error = "the turn was stopped before it began";
    if (!child.turn.empty()) {
      CancelTurn(child.wanted.session, child.turn, [](const Result<TurnView>&) {});
    }
  }
}

bool ControlLoop::MayBegin(SessionRun& session, const ChildRun& child) {
  bool others_run = false;
  for (const ChildRun& other : session.turn->children) {
    if (!other.Runs()) continue;
    if (other.wanted.session == child.wanted.session) return false;  // one turn at a time
    others_run = true;
  }
  // What others hold of the budget may come free when they end, and so does their place among the
  // turns that run; with none left to end, asking for more is all that helps, and that was done
  // before the step.
  if (!others_run || EarlierAnswer(child.request_id, kStartTurnMethod).ok()) return true;
  if (RunningTurns() >= parts_.options.running_turns_max) return false;
  return !FindShortage(Accounts(session), {.tokens = 1, .tool_calls = 1}).has_value();
}

void ControlLoop::StartChildren(SessionRun& session) {
  TurnRun& turn = *session.turn;
  size_t shares = 0;
  for (const ChildRun& child : turn.children) shares += child.Waits() ? 1 : 0;
  for (ChildRun& child : turn.children) {
    if (!child.Waits() || !MayBegin(session, child)) continue;
    child.budget = ChildBudget(session, child.wanted, shares);
    child.accounts = turn.accounts.size();
    child.asked = true;
    shares -= 1;
    StartChild(session, child);
  }
}

void ControlLoop::StartChild(SessionRun& session, const ChildRun& child) {
  const std::string fork = child.wanted.session;
  // Posted, so that nothing changes the list of children while somebody walks over it.
  const auto ended = [this, id = session.record.id, epoch = session.turn->epoch,
                      request_id = child.request_id](ChildTurnEnd end) {
    Post([this, id, epoch, request_id, end = std::move(end)] {
      SessionRun* run = FindTurn(id, epoch);
      if (run == nullptr || run->turn->view.state != TurnState::kRunning) return;
      EndChildTurn(*run, request_id, end);
    });
  };
  const auto failed = [ended](const Status& status) {
    ChildTurnEnd end;
    end.error = status.message();
    ended(std::move(end));
  };
  StartTurnRequest request;
  request.session = fork;
  request.input = {child.wanted.text};
  request.budget = child.budget;
  request.request_id = child.request_id;
  const Errand errand = {child.wanted.errand, PathOf(session)};
  StartErrand(request, errand,
              [this, ended, failed, fork, request_id = child.request_id, id = session.record.id,
               epoch = session.turn->epoch](const Result<TurnView>& started) {
                if (!started.ok()) return failed(started.status());
                SessionRun* run = FindTurn(id, epoch);
                const bool goes_on = run != nullptr && run->turn->view.state == TurnState::kRunning;
                ChildRun* child = goes_on ? FindChild(*run->turn, request_id) : nullptr;
                // It was stopped, or its parent's turn has ended, while it began.
                if (child == nullptr || child->stops) {
                  CancelTurn(fork, started->turn, [](const Result<TurnView>&) {});
                }
                if (child == nullptr) return;
                child->turn = started->turn;
                child->budget = started->budget;  // of one that began before a restart: as it was
                NoteWait(*run);
                AwaitTurn(fork, started->turn, [ended, failed](const Result<TurnView>& view) {
                  if (!view.ok()) return failed(view.status());
                  ended(EndOf(*view));
                });
              });
}

void ControlLoop::EndChildTurn(SessionRun& session, const std::string& request_id,
                               ChildTurnEnd end) {
  ChildRun* child = FindChild(*session.turn, request_id);
  if (child == nullptr || child->end.has_value()) return;
  // What it has changed in a copy is no file of this workspace.
  const auto fork = Load(child->wanted.session);
  if (fork.ok() && (*fork)->settings.workspace != session.settings.workspace) end.files.clear();
  child->end = std::move(end);
  StartChildren(session);
  TellChildren(session);
}

void ControlLoop::TellChildren(SessionRun& session) {
  TurnRun& turn = *session.turn;
  if (turn.awaited.empty()) return;
  ChildTurnsEvent event;
  std::vector<std::string> told;
  for (const std::string& request_id : turn.awaited) {
    const ChildRun& child = *FindChild(turn, request_id);
    event.ends.push_back(child.end);
    if (child.end.has_value()) told.push_back(child.wanted.session);
  }
  const bool enough = !told.empty() && (!turn.awaits_all || told.size() == event.ends.size());
  if (!enough) return NoteWait(session);
  JournalBatch batch;
  NoteNetworkOf(session, told, batch);
  TakeEnds(turn, event);
  ResumeClock(turn);
  EndFlowStep(session, event, std::move(batch));
}

void ControlLoop::TakeEnds(TurnRun& turn, const ChildTurnsEvent& event) {
  for (size_t i = 0; i < event.ends.size() && i < turn.awaited.size(); ++i) {
    if (!event.ends[i].has_value()) continue;
    std::erase_if(turn.children, [&turn, i](const ChildRun& child) {
      return child.request_id == turn.awaited[i];
    });
  }
  turn.awaited.clear();
  for (const auto& end : event.ends) {
    if (!end.has_value()) continue;
    AddSpend({end->tokens, end->wall_ms, end->tool_calls, end->micro_usd}, &turn.forks_spent);
    AddFiles(end->files, &turn.view);
  }
}

void ControlLoop::CancelChildren(const TurnRun& turn) {
  for (const ChildRun& child : turn.children) {
    if (child.turn.empty() || child.end.has_value()) continue;
    CancelTurn(child.wanted.session, child.turn, [](const Result<TurnView>&) {});
  }
}

std::string ControlLoop::StepRequestId(const SessionRun& session) {
  return "step:" + session.record.id + "/" + session.turn->view.turn + "." +
         std::to_string(session.turn->step);
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
    const auto found = sessions_.find(child.wanted.session);
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
