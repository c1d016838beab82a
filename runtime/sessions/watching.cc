// Watching: durable events in order from a cursor, then live ones; nothing missed, nothing twice.
#include <algorithm>

#include "runtime/sessions/control_loop.h"
#include "runtime/sessions/cursor.h"

namespace baleen {
namespace {

constexpr int64_t kCatchUpPage = 256;

Event ToEvent(const EventRecord& record, int64_t timeline) {
  Event event;
  event.session = record.session;
  event.turn = TurnOf(record.payload);
  event.kind = record.kind;
  event.payload = record.payload;
  event.cursor = MakeCursor(record.session, {timeline, record.seq});
  event.seq = record.seq;
  event.time_ms = record.time_ms;
  return event;
}

Status TooSlow() {
  return ResourceExhaustedError(
      "the subscriber can't keep up; watch again from the last cursor it saw", "SLOW_CONSUMER");
}

}  // namespace

Result<int64_t> ControlLoop::KeptSeq(const SessionRun& session, const CursorPoint& seen) {
  const auto expired = [&] {
    return OutOfRangeError("cursor " + MakeCursor(session.record.id, seen) +
                               " lies beyond what the session has; its head is " +
                               HeadCursor(session.record) +
                               "; watch from the start, or from the head",
                           "CURSOR_EXPIRED");
  };
  if (seen.timeline == session.record.timeline) {
    if (seen.seq > session.record.last_seq) return expired();
    return seen.seq;
  }
  const auto timeline = FindTimeline(session, seen.timeline);
  if (!timeline.ok()) {
    return timeline.status().code() == StatusCode::kNotFound ? expired() : timeline.status();
  }
  if (seen.seq > timeline->last_seq) return expired();
  ASSIGN_OR_RETURN(const int64_t shared,
                   parts_.journal_reader->LastSharedSeq(session.record.id, seen.timeline,
                                                        session.record.timeline));
  return std::min(seen.seq, shared);
}

Result<uint64_t> ControlLoop::AddWatcher(const WatchOptions& options, EventSubscriber* subscriber) {
  ASSIGN_OR_RETURN(SessionRun * session, Load(options.session));
  auto watcher = std::make_unique<WatchState>();
  watcher->id = next_id_++;
  watcher->subscriber = subscriber;
  watcher->live = options.live;
  if (!options.after.empty()) {
    ASSIGN_OR_RETURN(const CursorPoint seen, ParseCursor(options.after, options.session));
    ASSIGN_OR_RETURN(const int64_t kept_seq, KeptSeq(*session, seen));
    watcher->told_timeline = kept_seq == seen.seq;
    watcher->next_seq = kept_seq + 1;
  }
  const uint64_t id = watcher->id;
  session->watchers.push_back(std::move(watcher));
  // The subscriber learns its subscription first, then gets events.
  Post([this, name = options.session, id] {
    const auto found = sessions_.find(name);
    if (found == sessions_.end()) return;
    for (const auto& entry : found->second->watchers) {
      if (entry->id == id) return CatchUp(*found->second, *entry);
    }
  });
  return id;
}

void ControlLoop::CatchUp(SessionRun& session, WatchState& watcher) {
  const uint64_t id = watcher.id;
  const int64_t timeline = session.record.timeline;
  if (!watcher.told_timeline) {
    watcher.told_timeline = true;
    Event moved;
    moved.session = session.record.id;
    moved.kind = event_kind::kTimeline;
    moved.seq = watcher.next_seq - 1;
    moved.payload = TimelineToJson(timeline, moved.seq);
    moved.cursor = MakeCursor(moved.session, {timeline, moved.seq});
    moved.time_ms = parts_.clock->WallMs();
    if (!watcher.subscriber->OnEvent(moved)) return DropWatcher(session, id, TooSlow());
  }
  while (true) {
    auto page =
        parts_.journal_reader->ReadEvents(session.record.id, watcher.next_seq - 1, kCatchUpPage);
    if (!page.ok()) return DropWatcher(session, id, page.status());
    if (page->empty()) break;
    for (const EventRecord& record : *page) {
      if (!watcher.subscriber->OnEvent(ToEvent(record, timeline))) {
        return DropWatcher(session, id, TooSlow());
      }
      watcher.next_seq = record.seq + 1;
    }
  }
  watcher.caught_up = true;
  // An item that is being written has text that no durable event holds yet.
  if (!watcher.live || session.turn == nullptr || session.turn->generation == nullptr) return;
  const GenerationState& generation = *session.turn->generation;
  Event snapshot;
  snapshot.session = session.record.id;
  snapshot.turn = session.turn->view.turn;
  snapshot.kind = event_kind::kSnapshot;
  snapshot.cursor = MakeCursor(session.record.id, {timeline, watcher.next_seq - 1});
  snapshot.time_ms = parts_.clock->WallMs();
  snapshot.payload = DeltaToJson(session.turn->view.turn + "." + std::to_string(generation.step), 0,
                                 generation.content, generation.reasoning);
  if (!watcher.subscriber->OnEvent(snapshot)) DropWatcher(session, id, TooSlow());
}

void ControlLoop::Publish(SessionRun& session, const EventRecord& record) {
  std::vector<uint64_t> slow;
  for (const auto& watcher : session.watchers) {
    // Seen already, or still to be read from the journal behind what comes first.
    if (!watcher->caught_up || watcher->next_seq != record.seq) continue;
    watcher->next_seq = record.seq + 1;
    if (!watcher->subscriber->OnEvent(ToEvent(record, session.record.timeline)))
      slow.push_back(watcher->id);
  }
  for (const uint64_t id : slow) DropWatcher(session, id, TooSlow());
}

void ControlLoop::PublishLive(SessionRun& session, const char* kind, std::string payload) {
  if (session.watchers.empty()) return;
  Event event;
  event.session = session.record.id;
  event.turn = session.turn != nullptr ? session.turn->view.turn : "";
  event.kind = kind;
  event.payload = std::move(payload);
  event.time_ms = parts_.clock->WallMs();
  std::vector<uint64_t> slow;
  for (const auto& watcher : session.watchers) {
    if (!watcher->live || !watcher->caught_up) continue;
    event.cursor = MakeCursor(session.record.id, {session.record.timeline, watcher->next_seq - 1});
    if (!watcher->subscriber->OnEvent(event)) slow.push_back(watcher->id);
  }
  for (const uint64_t id : slow) DropWatcher(session, id, TooSlow());
}

void ControlLoop::MoveWatchers(SessionRun& session, int64_t kept_seq) {
  std::vector<uint64_t> ids;
  for (const auto& watcher : session.watchers) {
    watcher->next_seq = std::min(watcher->next_seq, kept_seq + 1);
    watcher->told_timeline = false;
    ids.push_back(watcher->id);
  }
  for (const uint64_t id : ids) {
    const auto found = std::find_if(session.watchers.begin(), session.watchers.end(),
                                    [id](const auto& entry) { return entry->id == id; });
    if (found != session.watchers.end()) CatchUp(session, **found);
  }
}

void ControlLoop::DropWatcher(SessionRun& session, uint64_t id, const Status& status) {
  const auto found =
      std::find_if(session.watchers.begin(), session.watchers.end(),
                   [id](const std::unique_ptr<WatchState>& entry) { return entry->id == id; });
  if (found == session.watchers.end()) return;
  EventSubscriber* subscriber = (*found)->subscriber;
  session.watchers.erase(found);
  subscriber->OnEnd(status);
}

void ControlLoop::RemoveWatcher(const std::string& session, uint64_t id) {
  const auto found = sessions_.find(session);
  if (found == sessions_.end()) return;
  std::erase_if(found->second->watchers,
                [id](const std::unique_ptr<WatchState>& entry) { return entry->id == id; });
}

}  // namespace baleen
