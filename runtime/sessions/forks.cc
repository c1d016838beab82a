// Forks that a script makes off its turn, and the worktrees that they get. A fork continues from
// the context as it is. It is asked for under an id that the step gives, so that a restart finds
// what was begun before, and nothing is begun twice. So is a fork's worktree, which has the fork's
// name.
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

/// What the step calls its fork, the same after a restart; no two sessions' steps agree in it.
std::string StepForkId(const SessionRun& session, const std::string& step_request) {
  const std::string step = std::to_string(session.record.created_ms) + "/" + step_request;
  return "w" + Sha256Hex(std::as_bytes(std::span(step))).substr(0, 24);
}

/// The diff of a worktree, or why there is none. On the pool.
WorktreeEvent DiffOf(const Worktrees& worktrees, const std::string& name,
                     const std::vector<std::string>& readable_secrets,
                     const std::atomic<bool>* cancelled, const Redactor* redactor) {
  const Result<std::string> diff = worktrees.Diff(name, cancelled, readable_secrets);
  if (!diff.ok()) return {"", "kid:diff: " + diff.status().message()};
  // With the value taken out it would be another diff, and with it everybody would read it.
  if (redactor != nullptr && redactor->Redact(*diff) != *diff) {
    return {"", "kid:diff: the diff holds the value of a secret, which nobody is shown"};
  }
  return {*diff, ""};
}

}  // namespace

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
  request.fork = StepForkId(session, request.request_id);
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
       secrets = session.settings.readable_secrets, cancelled = session.turn->cancelled] {
        auto made = parts_.worktrees->Make(name, workspace, ignored, cancelled.get(), secrets);
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
  const bool queued = parts_.pool->queue().TryPush([this, end, effect,
                                                    cancelled = session.turn->cancelled,
                                                    secrets = session.settings.readable_secrets] {
    WorktreeEvent event;
    if (effect.removes) {
      parts_.worktrees->Remove(effect.session)
          .IgnoreError("its name is gone, or goes with the session; a sweep has the rest");
    } else {
      event = DiffOf(*parts_.worktrees, effect.session, secrets, cancelled.get(), parts_.redactor);
    }
    Post([end, event = std::move(event)] { end(event); });
  });
  if (!queued) end({"", "the tool pool is full; try again in a moment"});
}

}  // namespace baleen
