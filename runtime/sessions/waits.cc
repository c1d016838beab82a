// Waits: what a turn waits for, told at once when somebody has to act, and every few seconds
// anyhow; and how the calls get on that it waits for. A quiet stream of a running turn is a dead
// one.
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "runtime/http/redactor.h"
#include "runtime/sessions/call_news.h"
#include "runtime/sessions/control_loop.h"

namespace baleen {
namespace {

/// Promised: at most 5 s apart.
constexpr int64_t kHeartbeatMs = 4000;

/// Of one call's news: often enough for the eye.
constexpr int64_t kCallNewsMs = 200;

TurnWait GenerationWait(const GenerationState& generation) {
  if (generation.job == 0) return {"PROMPT", "", 0};
  if (!generation.disk_wait.empty()) return {"DISK", generation.disk_wait, 0};
  if (!generation.engine_wait.empty() && !generation.synced) {
    return {"ENGINE", generation.engine_wait, 0};
  }
  if (!generation.synced) {
    return {"PREFILL",
            std::to_string(generation.prefill_done) + "/" +
                std::to_string(generation.prefill_total) + " tokens",
            0};
  }
  return {"MODEL", "", 0};
}

TurnWait CallsWait(const ToolRunState& tools) {
  TurnWait wait;
  size_t open = 0;
  for (size_t i = 0; i < tools.calls.size(); ++i) {
    if (tools.state[i].result.has_value() || !tools.state[i].started) continue;
    const auto at_host = tools.at_host.find(i);
    const bool away = at_host != tools.at_host.end() && !at_host->second.handed;
    // A call that nobody works on is the one to tell of.
    if (open == 0 || (away && wait.what == "TOOL")) {
      wait = {away ? "TOOL_HOST" : "TOOL", tools.calls[i].name, 0};
    }
    ++open;
  }
  if (open == 0) return {"JOURNAL", "", 0};
  if (open > 1) wait.detail += " and " + std::to_string(open - 1) + " more";
  return wait;
}

/// The session whose step a fork's turn is: the last one of "SESSION/TURN/SESSION/TURN...".
std::string ParentOf(std::string_view path) {
  path = path.substr(0, path.rfind('/'));
  const size_t slash = path.rfind('/');
  return std::string(slash == std::string_view::npos ? path : path.substr(slash + 1));
}

}  // namespace

TurnWait ControlLoop::SubagentsWait(const std::vector<const SessionRun*>& children) const {
  // One that somebody must answer is the one to tell of.
  const SessionRun* told = nullptr;
  TurnWait wait;
  for (const SessionRun* child : children) {
    const TurnWait of_child = WaitOf(*child);
    const bool asks = of_child.what == "APPROVAL" && wait.what != "APPROVAL";
    if (told != nullptr && !asks) continue;
    told = child;
    wait = of_child;
  }
  std::string detail = told->record.id + ": " + wait.what;
  if (!wait.detail.empty()) detail += " " + wait.detail;
  if (children.size() > 1) detail += " and " + std::to_string(children.size() - 1) + " more";
  return {"SUBAGENT", detail, 0};
}

TurnWait ControlLoop::WaitOf(const SessionRun& session) const {
  const TurnRun& turn = *session.turn;
  for (const ApprovalView& approval : turn.approvals) {
    if (approval.state == ApprovalState::kPending) {
      return {"APPROVAL", approval.approval + ": " + approval.title, approval.requested_ms};
    }
  }
  if (turn.sleep_until_ms > 0) {
    return {"SLEEP", "until Unix time " + std::to_string(turn.sleep_until_ms / 1000) + " s", 0};
  }
  if (!turn.awaited.empty()) {
    const std::vector<const SessionRun*> children = ChildrenOf(session);
    if (!children.empty()) return SubagentsWait(children);
  }
  if (turn.tools != nullptr) return CallsWait(*turn.tools);
  if (turn.compaction != nullptr) return {"COMPACTION", "", 0};
  if (turn.generation != nullptr) return GenerationWait(*turn.generation);
  return {"JOURNAL", "", 0};
}

void ControlLoop::NoteWait(SessionRun& session) {
  if (session.turn == nullptr || session.turn->view.state != TurnState::kRunning) return;
  TurnWait now = WaitOf(session);
  TurnWait& known = session.turn->wait;
  const bool same = now.what == known.what && (now.what == "PREFILL" || now.detail == known.detail);
  if (now.since_ms == 0) now.since_ms = same ? known.since_ms : parts_.clock->WallMs();
  known = std::move(now);
  // Of what passes by itself in milliseconds only the heartbeat tells.
  const bool told = known.what != "JOURNAL" && known.what != "PROMPT" && known.what != "MODEL" &&
                    known.what != "PREFILL";
  if (same || !told) return;
  PublishLive(session, event_kind::kWaiting, WaitingToJson(known.what, known.detail));
  if (known.what != "APPROVAL" && known.what != "SUBAGENT") return;
  // Whoever watches the turn above has to answer, too.
  const auto parent = sessions_.find(ParentOf(session.turn->start.parent));
  if (parent != sessions_.end()) NoteWait(*parent->second);
}

void ControlLoop::Heartbeat(SessionRun& session) {
  After(kHeartbeatMs, [this, id = session.record.id, epoch = session.turn->epoch] {
    SessionRun* run = FindTurn(id, epoch);
    if (run == nullptr) return;
    NoteWait(*run);
    const TurnWait& wait = run->turn->wait;
    PublishLive(*run, event_kind::kHeartbeat,
                HeartbeatToJson(wait.what, wait.detail, wait.since_ms));
    Heartbeat(*run);
  });
}

std::function<void(const CallProgress&)> ControlLoop::NewsOf(const SessionRun& session,
                                                             size_t index) {
  const ToolCall& call = session.turn->tools->calls[index];
  auto news = std::make_shared<CallNews>(parts_.redactor, call.id, call.name,
                                         parts_.clock->SteadyMs());  // owners: body and news told
  return [this, id = session.record.id, epoch = session.turn->epoch, step = session.turn->step,
          index, news](const CallProgress& progress) {
    if (!news->Put(progress)) return;
    Post([=, this] { TellNews(id, epoch, step, index, news); });
  };
}

void ControlLoop::TellNews(const std::string& id, uint64_t epoch, int64_t step, size_t index,
                           const std::shared_ptr<CallNews>& news) {
  SessionRun* run = FindTurn(id, epoch);
  const bool runs = run != nullptr && run->turn->tools != nullptr && run->turn->step == step &&
                    !run->turn->tools->state[index].result.has_value();
  if (!runs) return;  // and it isn't asked again: the news stay untaken
  const int64_t now = parts_.clock->SteadyMs();
  const int64_t wait_ms = news->taken_ms() + kCallNewsMs - now;
  if (wait_ms > 0) {
    return After(wait_ms, [=, this] { TellNews(id, epoch, step, index, news); });
  }
  if (parts_.redactor != nullptr && !run->watchers.empty()) parts_.redactor->Refresh();
  std::string payload = news->Take(now);
  if (!payload.empty()) PublishLive(*run, event_kind::kToolProgress, std::move(payload));
}

TurnView ControlLoop::ViewTurn(SessionRun& session) {
  NoteWait(session);
  TurnView view = session.turn->view;
  if (view.state != TurnState::kRunning) return view;
  view.spend = SpendOf(session);
  view.budget = session.turn->budget;
  view.waiting_on = session.turn->wait.what;
  view.waiting_detail = session.turn->wait.detail;
  view.waiting_since_ms = session.turn->wait.since_ms;
  return view;
}

}  // namespace baleen
