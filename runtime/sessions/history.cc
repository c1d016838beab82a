// History: points, fork, delete, pin. The journal shares what timelines have in common; here
// points of a conversation become points of the journal, and those who watch are told.
#include <algorithm>
#include <utility>

#include "runtime/sessions/control_loop.h"
#include "runtime/sessions/cursor.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

constexpr char kForkMethod[] = "ForkSession";
constexpr char kDeleteMethod[] = "DeleteSession";

Status PointUnknown(const std::string& session, const std::string& what) {
  return NotFoundError(
      "session '" + session + "' has no " + what + "; `baleen sessions show` lists what it has",
      "POINT_UNKNOWN");
}

Status CheckPoint(const HistoryPoint& point) {
  if (!point.turn.empty() && point.tokens.has_value()) {
    return InvalidArgumentError("a point is a turn or a number of tokens: expected one, got both",
                                "BAD_FIELD");
  }
  if (point.timeline < 0) {
    return InvalidArgumentError(
        "timeline is " + std::to_string(point.timeline) + ": expected 0 (the current one) or more",
        "BAD_FIELD");
  }
  return OkStatus();
}

}  // namespace

Status ControlLoop::CheckHead(const SessionRun& session, const std::string& expected) const {
  const std::string head = HeadCursor(session.record);
  if (expected.empty() || expected == head) return OkStatus();
  return AbortedError("the session's head is " + head + ", not " + expected +
                          "; read the new events, then decide again",
                      "HEAD_MOVED");
}

Status ControlLoop::CheckIdle(const SessionRun& session) const {
  if (session.turn != nullptr) {
    return FailedPreconditionError("session '" + session.record.id + "' is running turn " +
                                       session.turn->view.turn + "; wait for it, or cancel it",
                                   "SESSION_BUSY");
  }
  if (session.changing) {
    return FailedPreconditionError(
        "session '" + session.record.id + "' is being rewound, changed or deleted; ask again",
        "SESSION_BUSY");
  }
  return OkStatus();
}

Result<TimelineRecord> ControlLoop::FindTimeline(const SessionRun& session, int64_t number) {
  ASSIGN_OR_RETURN(const auto timelines,
                   parts_.journal_reader->ListTimelines(session.record.id, 0, kRowsPerReadMax));
  if (number == 0) number = session.record.timeline;
  for (TimelineRecord timeline : timelines) {
    if (timeline.number != number) continue;
    if (number == session.record.timeline) {
      // What is on its way to the journal counts: commits are written in order.
      timeline.last_seq = session.record.last_seq;
      timeline.tokens = session.record.tokens;
    }
    return timeline;
  }
  return PointUnknown(session.record.id, "timeline " + std::to_string(number));
}

Result<ControlLoop::Cut> ControlLoop::Resolve(const SessionRun& session,
                                              const HistoryPoint& point) {
  RETURN_IF_ERROR(CheckPoint(point));
  ASSIGN_OR_RETURN(const TimelineRecord timeline, FindTimeline(session, point.timeline));
  if (!point.turn.empty()) return CutAfterTurn(session, point.turn, timeline.number);
  if (point.tokens.has_value()) return CutAtTokens(session, *point.tokens, timeline);
  return CutAtHead(session, timeline);
}

Result<ControlLoop::Cut> ControlLoop::CutAtHead(const SessionRun& session,
                                                const TimelineRecord& timeline) {
  Cut cut;
  cut.point = {session.record.id, timeline.number, timeline.last_seq, timeline.tokens};
  if (session.turn != nullptr && timeline.number == session.record.timeline) {
    cut.point.seq = session.turn->started_seq - 1;
    cut.point.tokens = session.turn->started_tokens;
  }
  return cut;
}

Result<ControlLoop::Cut> ControlLoop::CutAfterTurn(const SessionRun& session,
                                                   const std::string& turn, int64_t timeline) {
  const std::string& id = session.record.id;
  if (session.turn != nullptr && session.turn->view.turn == turn) {
    return FailedPreconditionError("turn " + turn + " of session '" + id +
                                       "' still runs; wait for it, cancel it, or name a number of "
                                       "tokens",
                                   "SESSION_BUSY");
  }
  int64_t after = 0;
  while (true) {
    ASSIGN_OR_RETURN(const auto events,
                     parts_.journal_reader->ReadEventsOfKind(id, event_kind::kTurnFinished, after,
                                                             kJournalPage, timeline));
    if (events.empty()) return PointUnknown(id, "turn '" + turn.substr(0, 80) + "'");
    for (const EventRecord& event : events) {
      after = event.seq;
      ASSIGN_OR_RETURN(const TurnView view, TurnEndFromJson(id, event.payload));
      if (view.turn != turn) continue;
      Cut cut;
      cut.point = {id, timeline, event.seq, event.tokens};
      return cut;
    }
  }
}

Result<ControlLoop::Cut> ControlLoop::CutAtTokens(const SessionRun& session, int64_t tokens,
                                                  const TimelineRecord& timeline) {
  const std::string& id = session.record.id;
  if (tokens < 0 || tokens > timeline.tokens) {
    return OutOfRangeError("token " + std::to_string(tokens) + " is not in session '" + id +
                               "', whose timeline " + std::to_string(timeline.number) + " has " +
                               std::to_string(timeline.tokens) + " tokens",
                           "POINT_UNKNOWN");
  }
  Cut cut;
  cut.point = {id, timeline.number, 0, tokens};
  auto event = parts_.journal_reader->EventAtTokens(id, tokens, timeline.number);
  if (event.status().code() == StatusCode::kNotFound) return cut;
  RETURN_IF_ERROR(event.status());
  // A turn that has begun but added no token yet is not cut: it is left out.
  cut.point.seq = event->kind == event_kind::kTurnStarted ? event->seq - 1 : event->seq;
  const auto started = parts_.journal_reader->LastEvent(id, event_kind::kTurnStarted,
                                                        timeline.number, cut.point.seq);
  if (started.status().code() == StatusCode::kNotFound) return cut;
  RETURN_IF_ERROR(started.status());
  const auto finished = parts_.journal_reader->LastEvent(id, event_kind::kTurnFinished,
                                                         timeline.number, cut.point.seq);
  if (finished.ok() && finished->seq > started->seq) return cut;
  if (!finished.ok() && finished.status().code() != StatusCode::kNotFound) {
    return finished.status();
  }
  ASSIGN_OR_RETURN(const TurnStart start, TurnStartFromJson(started->payload));
  cut.open_turn = start.turn;
  return cut;
}

std::vector<EventRecord> ControlLoop::BranchEvents(const std::string& session, const Cut& cut,
                                                   const char* kind) const {
  std::vector<EventRecord> events(1);
  events[0].kind = kind;
  events[0].payload =
      BranchOriginToJson({cut.point.session, cut.point.timeline, cut.point.seq, cut.point.tokens});
  if (!cut.open_turn.empty()) {
    TurnView turn;
    turn.turn = cut.open_turn;
    turn.state = TurnState::kCancelled;
    turn.error = CancelledError("the history was cut at token " + std::to_string(cut.point.tokens) +
                                ", inside this turn");
    events.emplace_back();
    events[1].kind = event_kind::kTurnFinished;
    events[1].payload = TurnEndToJson(turn);
  }
  for (size_t i = 0; i < events.size(); ++i) {
    events[i].session = session;
    events[i].seq = cut.point.seq + 1 + static_cast<int64_t>(i);
    events[i].time_ms = parts_.clock->WallMs();
  }
  return events;
}

void ControlLoop::ForkSession(const ForkRequest& request, const Answer<SessionView>& reply) {
  ForkInto(request, "", reply);
}

void ControlLoop::ForkInto(const ForkRequest& request, const std::string& worktree,
                           const Answer<SessionView>& reply) {
  const auto answer =
      FirstOnly(kForkMethod, request.request_id, reply,
                [this, request, worktree, reply] { ForkInto(request, worktree, reply); });
  if (!answer) return;
  if (auto earlier = EarlierAnswer(request.request_id, kForkMethod); earlier.ok()) {
    return GetSession(IdFromAnswer(*earlier), answer);
  }
  auto loaded = Load(request.session);
  if (!loaded.ok()) return answer(loaded.status());
  SessionRun& origin = **loaded;
  if (Status status = CheckHead(origin, request.expected_head); !status.ok()) return answer(status);
  auto fork = NewSessionId(request.fork);
  if (!fork.ok()) return answer(fork.status());
  if (Utf8ValidPrefix(request.title) != request.title.size()) {
    return answer(InvalidArgumentError("the title is not valid UTF-8", "BAD_FIELD"));
  }
  auto cut = Resolve(origin, request.at);
  if (!cut.ok()) return answer(cut.status());

  auto batch = std::make_shared<JournalBatch>();  // owners: the journal worker, then its answer
  SessionRecord record;
  record.id = *fork;
  record.title = request.title.empty() ? origin.record.title : request.title;
  record.created_ms = parts_.clock->WallMs();
  batch->forks.push_back({record, cut->point});
  SettingsMarks marks = origin.marks;
  if (!request.tenant.empty()) marks.tenant = request.tenant;
  if (!worktree.empty()) marks.worktree_of = origin.HomeWorkspace();
  if (!worktree.empty() || marks.tenant != origin.marks.tenant) {
    SessionSettings settings = origin.settings;
    if (!worktree.empty()) settings.workspace = worktree;
    batch->forks[0].settings = SettingsToJson(settings, marks);
  }
  batch->events = BranchEvents(record.id, *cut, event_kind::kSessionForked);
  if (Status status = CarryRevocations(origin, cut->point, record.id, &batch->events);
      !status.ok()) {
    return answer(status);
  }
  if (!request.request_id.empty()) {
    batch->answers.push_back(
        {request.request_id, kForkMethod, AnswerJson(record.id), record.created_ms});
  }
  // Holds the name until the journal has it; the fork itself is loaded when somebody asks for it.
  sessions_[record.id] = std::make_unique<SessionRun>();
  sessions_[record.id]->record.id = record.id;
  sessions_[record.id]->creating = true;
  Write(batch, Durability::kSynced, [this, id = record.id, answer](const Status& status) {
    sessions_.erase(id);
    if (!status.ok()) return answer(status);
    // What it inherits for its workspace is known from now on, or nobody could revoke it.
    RecoverGrants(id).IgnoreError("a session that can't be loaded grants nothing");
    auto stored = ReadRecord(id);
    if (!stored.ok()) return answer(stored.status());
    answer(ViewOf(*stored));
  });
}

void ControlLoop::DeleteSession(const DeleteRequest& request, const Answer<DeleteView>& reply) {
  const auto answer = FirstOnly(kDeleteMethod, request.request_id, reply,
                                [this, request, reply] { DeleteSession(request, reply); });
  if (!answer) return;
  if (auto earlier = EarlierAnswer(request.request_id, kDeleteMethod); earlier.ok()) {
    return answer(DeleteViewFromJson(*earlier));
  }
  auto loaded = Load(request.session);
  if (!loaded.ok()) return answer(loaded.status());
  SessionRun& session = **loaded;
  if (Status status = CheckIdle(session); !status.ok()) return answer(status);
  if (Status status = CheckHead(session, request.expected_head); !status.ok()) {
    return answer(status);
  }
  if (session.record.pinned) {
    return answer(FailedPreconditionError(
        "session '" + request.session + "' is pinned; unpin it, then delete it", "SESSION_PINNED"));
  }
  auto view = DeleteViewOf(session);
  if (!view.ok() || request.validate_only) return answer(std::move(view));
  auto batch = std::make_shared<JournalBatch>();  // owners: the journal worker, then its answer
  batch->delete_sessions = {request.session};
  if (!request.request_id.empty()) {
    batch->answers.push_back(
        {request.request_id, kDeleteMethod, DeleteViewToJson(*view), parts_.clock->WallMs()});
  }
  session.changing = true;
  Write(batch, Durability::kSynced, [this, view = *view, answer](const Status& status) {
    SessionRun& gone = *sessions_.at(view.session);
    gone.changing = false;
    if (!status.ok()) return answer(status);
    DropGrants(gone);
    const auto watchers = std::move(gone.watchers);
    // The end of its commands is waited for elsewhere.
    parts_.pool->queue().TryPush([bash = std::move(gone.bash)] {});
    sessions_.erase(view.session);
    engine_->Release(view.session);
    if (parts_.upkeep != nullptr) parts_.upkeep->Schedule({});  // what nobody else needs of its KV
    for (const auto& watcher : watchers) {
      watcher->subscriber->OnEnd(
          NotFoundError("session '" + view.session + "' was deleted", "SESSION_UNKNOWN"));
    }
    answer(view);
  });
}

Result<DeleteView> ControlLoop::DeleteViewOf(const SessionRun& session) {
  DeleteView view;
  view.session = session.record.id;
  view.tokens = session.record.tokens;
  view.turns = session.turns;
  std::vector<int64_t> own;
  int64_t after = 0;
  while (true) {
    ASSIGN_OR_RETURN(const auto page,
                     parts_.journal_reader->ListTimelines("", after, kRowsPerReadMax));
    if (page.empty()) return view;
    for (const TimelineRecord& timeline : page) {
      after = timeline.key;
      if (timeline.session == view.session) {
        own.push_back(timeline.key);  // ascending, and before whatever is based on it
        ++view.timelines;
      } else if (timeline.number == 1 &&
                 std::binary_search(own.begin(), own.end(), timeline.base)) {
        ++view.forks;
      }
    }
  }
}

void ControlLoop::PinSession(const std::string& session, bool pinned,
                             const Answer<SessionView>& answer) {
  auto loaded = Load(session);
  if (!loaded.ok()) return answer(loaded.status());
  SessionRun& run = **loaded;
  if (run.changing) return answer(CheckIdle(run));
  auto batch = std::make_shared<JournalBatch>();  // owners: the journal worker, then its answer
  batch->pins.push_back({session, pinned});
  run.changing = true;
  Write(batch, Durability::kSynced, [this, session, pinned, answer](const Status& status) {
    SessionRun& changed = *sessions_.at(session);
    changed.changing = false;
    if (!status.ok()) return answer(status);
    changed.record.pinned = pinned;
    if (parts_.upkeep != nullptr) parts_.upkeep->Schedule({});  // marks what the pin keeps
    answer(View(changed));
  });
}

}  // namespace baleen
