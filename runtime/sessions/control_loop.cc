#include "runtime/sessions/control_loop.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "runtime/observer.h"
#include "runtime/sessions/compaction.h"

namespace baleen {
namespace {

/// The engine waits when this many closures are queued; everybody else is bounded by their
/// requests.
constexpr size_t kMailboxLimit = 4096;

}  // namespace

Result<std::unique_ptr<ControlLoop>> ControlLoop::Create(const ControlParts& parts) {
  const ChatDialect dialect = parts.model->config().dialect == ChatDialect::kUnknown
                                  ? ChatDialect::k0731
                                  : parts.model->config().dialect;
  ASSIGN_OR_RETURN(SessionEncoder encoder,
                   SessionEncoder::Create(*parts.model->tokenizer(), dialect));
  return std::unique_ptr<ControlLoop>(new ControlLoop(parts, std::move(encoder)));
}

ControlLoop::ControlLoop(const ControlParts& parts, SessionEncoder encoder)
    : parts_(parts),
      encoder_(std::move(encoder)),
      trie_(*parts.model->tokenizer(), parts.model->config().vocab),
      instruction_tokens_(InstructionTokens(encoder_, *parts.model->tokenizer())),
      mailbox_(kMailboxLimit) {}

void ControlLoop::Run() {
  using std::chrono::milliseconds;
  using std::chrono::steady_clock;
  while (true) {
    std::optional<steady_clock::time_point> deadline;
    if (!timers_.empty()) {
      const int64_t wait_ms =
          std::max<int64_t>(0, timers_.begin()->first - parts_.clock->SteadyMs());
      deadline = steady_clock::now() + milliseconds(wait_ms);
    }
    if (auto work = mailbox_.Pop(deadline)) {
      (*work)();
    } else if (mailbox_.closed()) {
      return;
    }
    while (!timers_.empty() && timers_.begin()->first <= parts_.clock->SteadyMs()) {
      auto work = std::move(timers_.begin()->second);
      timers_.erase(timers_.begin());
      work();
    }
  }
}

bool ControlLoop::RunReady() {
  if (!timers_.empty() && timers_.begin()->first <= parts_.clock->SteadyMs()) {
    auto work = std::move(timers_.begin()->second);
    timers_.erase(timers_.begin());
    work();
    return true;
  }
  auto work = mailbox_.Pop(std::chrono::steady_clock::time_point::min());
  if (work.has_value()) (*work)();
  return work.has_value();
}

std::optional<int64_t> ControlLoop::NextTimerMs() const {
  if (timers_.empty()) return std::nullopt;
  return timers_.begin()->first;
}

void ControlLoop::StopTools() {
  for (const auto& [id, session] : sessions_) {
    if (session->turn == nullptr || session->turn->tools == nullptr) continue;
    for (const auto& stop : session->turn->tools->stop) stop->store(true);
  }
}

void ControlLoop::After(int64_t delay_ms, std::function<void()> work) {
  timers_.emplace(parts_.clock->SteadyMs() + delay_ms, std::move(work));
}

SessionRun* ControlLoop::FindTurn(const std::string& id, uint64_t epoch) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return nullptr;
  SessionRun* session = found->second.get();
  return session->turn != nullptr && session->turn->epoch == epoch ? session : nullptr;
}

EventRecord ControlLoop::NewEvent(SessionRun& session, const char* kind, std::string payload) {
  EventRecord event;
  event.session = session.record.id;
  event.seq = ++session.record.last_seq;
  event.time_ms = parts_.clock->WallMs();
  event.kind = kind;
  event.payload = std::move(payload);
  session.record.updated_ms = event.time_ms;
  return event;
}

void ControlLoop::Write(std::shared_ptr<JournalBatch> batch, Durability durability,
                        std::function<void(const Status&)> then) {
  parts_.journal_worker->queue().Push(
      [this, batch = std::move(batch), durability, then = std::move(then)] {
        const auto start = std::chrono::steady_clock::now();
        const Status status = parts_.journal_writer->Commit(*batch, durability);
        if (parts_.options.observer != nullptr) {
          const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
          parts_.options.observer->OnCommit(took.count(), durability == Durability::kSynced);
        }
        Post([status, then] { then(status); });
      });
}

void ControlLoop::Commit(SessionRun& session, JournalBatch batch, Durability durability,
                         std::function<void(const Status&)> then) {
  // Owners: the journal worker while it writes, then the answer on this thread.
  auto shared = std::make_shared<JournalBatch>(std::move(batch));
  session.events_on_way += std::ssize(shared->events);
  Write(shared, durability,
        [this, id = session.record.id, shared, then = std::move(then)](const Status& status) {
          const auto found = sessions_.find(id);
          if (found == sessions_.end()) return;
          found->second->events_on_way -= std::ssize(shared->events);
          if (!status.ok()) {
            Break(*found->second, status);
          } else {
            for (const EventRecord& event : shared->events) Publish(*found->second, event);
          }
          then(status);
        });
}

void ControlLoop::Break(SessionRun& session, const Status& status) {
  if (session.state == SessionState::kBroken) return;
  session.state = SessionState::kBroken;
  session.broken =
      status.WithContext("the journal refused a write; restart after mending the cause");
  if (session.turn == nullptr) return;
  session.turn->cancelled->store(true);
  if (session.turn->generation != nullptr) session.turn->generation->stop->store(true);
  session.turn->view.state = TurnState::kFailed;
  session.turn->view.error = session.broken;
  session.following.reset();
  EndTurnInMemory(session, nullptr);
}

Result<std::string> ControlLoop::EarlierAnswer(const std::string& request_id, const char* method) {
  if (request_id.empty()) return NotFoundError("a request without an id is always the first");
  return parts_.journal_reader->FindAnswer(request_id, method);
}

void ControlLoop::Answered(const std::string& key) {
  auto waiting = in_flight_.extract(key);
  if (waiting.empty()) return;
  // Each finds the answer in the journal; after a refusal the next of them is the first.
  for (auto& again : waiting.mapped()) again();
}

bool ControlLoop::IsRunning(const std::string& session) const {
  const auto found = sessions_.find(session);
  return found != sessions_.end() && found->second->turn != nullptr;
}

bool ControlLoop::IsInUse(const std::string& session) const {
  const auto found = sessions_.find(session);
  if (found == sessions_.end()) return false;
  const SessionRun& run = *found->second;
  return run.turn != nullptr || !run.watchers.empty() || !run.hosts.empty() || run.creating ||
         run.changing;
}

void ControlLoop::RepeatUpkeep(int64_t interval_ms) {
  parts_.upkeep->Schedule({});
  After(interval_ms, [this, interval_ms] { RepeatUpkeep(interval_ms); });
}

int64_t ControlLoop::RunningTurns() const {
  return std::count_if(sessions_.begin(), sessions_.end(),
                       [](const auto& entry) { return entry.second->turn != nullptr; });
}

}  // namespace baleen
