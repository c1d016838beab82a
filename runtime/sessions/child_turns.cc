// Subagents: sessions that a script forks off its turn, and the turns that it lets them run. A fork
// continues from the context as it is; a turn of it is one step of the script, and its spend counts
// as the turn's. Both are asked for under an id that the step gives, so that a restart asks for
// what was begun before, and nothing is begun twice. So is a fork's worktree, which has the fork's
// name.
#include <algorithm>
#include <span>
#include <utility>

#include "model/checkpoint/fingerprint.h"
#include "runtime/http/redactor.h"
#include "runtime/sessions/control_loop.h"
#include "runtime/workspace/worktrees.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

constexpr size_t kLabelBytesMax = 200;

std::string StepRequestId(const SessionRun& session) {
  return "step:" + session.record.id + "/" + session.turn->view.turn + "." +
         std::to_string(session.turn->step);
}

/// What the step calls its fork, the same after a restart; no two sessions' steps agree in it.
std::string StepForkId(const SessionRun& session) {
  const std::string step = std::to_string(session.record.created_ms) + "/" + StepRequestId(session);
  return "w" + Sha256Hex(std::as_bytes(std::span(step))).substr(0, 24);
}

/// The diff of a worktree, or why there is none. On the pool.
WorktreeEvent DiffOf(const Worktrees& worktrees, const std::string& name,
                     const std::atomic<bool>* cancelled, const Redactor* redactor) {
  const Result<std::string> diff = worktrees.Diff(name, cancelled);
  if (!diff.ok()) return {"", "kid:diff: " + diff.status().message()};
  // With the value taken out it would be another diff, and with it everybody would read it.
  if (redactor != nullptr && redactor->Redact(*diff) != *diff) {
    return {"", "kid:diff: the diff holds the value of a secret, which nobody is shown"};
  }
  return {*diff, ""};
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
  if (effect.worktree != ForkEffect::Worktree::kNone) {
    return RunWorktreeFork(session, effect, std::move(request));
  }
  ForkSession(request, [this, id = session.record.id,
                        epoch = session.turn->epoch](const Result<SessionView>& fork) {
    SessionRun* run = FindTurn(id, epoch);
    if (run != nullptr && run->turn->view.state == TurnState::kRunning) EndFork(*run, fork, "");
  });
}

void ControlLoop::EndFork(SessionRun& session, const Result<SessionView>& fork,
                          const std::string& worktree) {
  if (!fork.ok()) {
    return FinishTurn(session, TurnState::kFailed, "", fork.status().WithContext("s:fork"));
  }
  session.turn->forks.insert(fork->session);
  EndFlowStep(session, ForkedEvent{fork->session, worktree, ""}, {});
}

void ControlLoop::RunWorktreeFork(SessionRun& session, const ForkEffect& effect,
                                  ForkRequest request) {
  const auto refuse = [this](SessionRun& run, const std::string& why) {
    EndFlowStep(run, ForkedEvent{"", "", "s:fork: " + why}, {});
  };
  if (parts_.worktrees == nullptr || session.workspace == nullptr) {
    return refuse(session, "there is no workspace that could be copied");
  }
  request.fork = StepForkId(session);
  const auto copied = [this, refuse, request, id = session.record.id,
                       epoch = session.turn->epoch](const Result<Worktree>& worktree) {
    SessionRun* run = FindTurn(id, epoch);
    const bool goes_on = run != nullptr && run->turn->view.state == TurnState::kRunning;
    if (!goes_on || !worktree.ok()) {
      parts_.worktrees->Settle(request.fork);
      if (goes_on) refuse(*run, worktree.status().message());
      return;
    }
    ForkInto(request, worktree->path,
             [this, id, epoch, name = request.fork,
              note = worktree->note](const Result<SessionView>& fork) {
               parts_.worktrees->Settle(name);  // the journal knows who uses it
               SessionRun* forked = FindTurn(id, epoch);
               if (forked == nullptr || forked->turn->view.state != TurnState::kRunning) return;
               EndFork(*forked, fork, note);
             });
  };
  parts_.worktrees->Hold(request.fork);
  const bool queued = parts_.pool->queue().TryPush(
      [this, copied, name = request.fork, workspace = session.settings.workspace,
       ignored = effect.worktree == ForkEffect::Worktree::kAll,
       cancelled = session.turn->cancelled] {
        auto made = parts_.worktrees->Make(name, workspace, ignored, cancelled.get());
        Post([copied, made = std::move(made)] { copied(made); });
      });
  if (!queued) copied(ResourceExhaustedError("the tool pool is full; try again in a moment"));
}

void ControlLoop::RunWorktree(SessionRun& session, const WorktreeEffect& effect) {
  const auto end = [this, id = session.record.id,
                    epoch = session.turn->epoch](const WorktreeEvent& event) {
    SessionRun* run = FindTurn(id, epoch);
    if (run == nullptr || run->turn->view.state != TurnState::kRunning) return;
    EndFlowStep(*run, event, {});
  };
  if (!session.turn->forks.contains(effect.session) || parts_.worktrees == nullptr) {
    return end({"", "'" + effect.session + "' is no fork of this turn that has a worktree"});
  }
  const bool queued =
      parts_.pool->queue().TryPush([this, end, effect, cancelled = session.turn->cancelled] {
        WorktreeEvent event;
        if (effect.removes) {
          parts_.worktrees->Remove(effect.session)
              .IgnoreError("its name is gone, or goes with the session; a sweep has the rest");
        } else {
          event = DiffOf(*parts_.worktrees, effect.session, cancelled.get(), parts_.redactor);
        }
        Post([end, event = std::move(event)] { end(event); });
      });
  if (!queued) end({"", "the tool pool is full; try again in a moment"});
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
  // What it has changed in a copy is no file of this workspace.
  const auto fork = Load(turn.children[index].session);
  if (fork.ok() && (*fork)->settings.workspace != session.settings.workspace) end.files.clear();
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
