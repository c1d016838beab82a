// Rewind and undo: of the conversation, which moves to another timeline; of files, which the pool
// brings back; of both, files first, so that whatever breaks off in between can be asked for again.
#include <algorithm>
#include <utility>

#include "runtime/sessions/control_loop.h"
#include "runtime/sessions/cursor.h"
#include "runtime/sessions/file_changes.h"

namespace baleen {
namespace {

constexpr char kRewindMethod[] = "RewindSession";
constexpr char kCommandsNote[] =
    "only what write and edit of this session changed is known: what its commands (bash), forks "
    "and "
    "other programs did to files was not looked at";

bool IsHead(const HistoryPoint& point) { return point.turn.empty() && !point.tokens.has_value(); }

Status NothingToUndo(const std::string& session, const std::string& why) {
  return FailedPreconditionError("session '" + session + "' " + why, "NOTHING_TO_UNDO");
}

}  // namespace

void ControlLoop::RewindSession(const RewindRequest& request, const Answer<RewindView>& reply) {
  const auto answer = FirstOnly(kRewindMethod, request.request_id, reply,
                                [this, request, reply] { RewindSession(request, reply); });
  if (!answer) return;
  if (auto earlier = EarlierAnswer(request.request_id, kRewindMethod); earlier.ok()) {
    auto view = RewindViewFromJson(*earlier);
    if (!view.ok()) return answer(view.status());
    auto record = ReadRecord(view->session.session);
    if (!record.ok()) return answer(record.status());
    view->session = ViewOf(*record);
    return answer(std::move(view));
  }
  auto loaded = Load(request.session);
  if (!loaded.ok()) return answer(loaded.status());
  SessionRun& session = **loaded;
  if (Status status = CheckIdle(session); !status.ok()) return answer(status);
  if (Status status = CheckHead(session, request.expected_head); !status.ok()) {
    return answer(status);
  }
  Rewinding rewinding;
  rewinding.request = request;
  rewinding.to = request.to;
  rewinding.answer = answer;
  if (request.undo) {
    rewinding.to = {};
    auto current = FindTimeline(session, 0);
    if (!current.ok()) return answer(current.status());
    // What restored files alone didn't move the conversation.
    if (request.scope != RewindScope::kFiles) rewinding.to.timeline = current->previous;
    if (request.scope != RewindScope::kFiles && current->previous == 0) {
      return answer(NothingToUndo(request.session,
                                  "stands on its first timeline: no rewind is there to undo"));
    }
  }
  auto cut = Resolve(session, rewinding.to);
  if (!cut.ok()) return answer(cut.status());
  rewinding.cut = *std::move(cut);
  rewinding.view.left_tokens = session.record.tokens;
  rewinding.view.left_turns = session.turns;
  rewinding.view.left_timeline = session.record.timeline;
  if (request.scope == RewindScope::kConversation) {
    return RewindConversation(session, std::move(rewinding));
  }
  RewindFiles(session, std::move(rewinding));
}

void ControlLoop::RewindConversation(SessionRun& session, Rewinding rewinding) {
  const RewindRequest& request = rewinding.request;
  const Cut& cut = rewinding.cut;
  const auto answer = rewinding.answer;
  JournalBatch batch;
  auto shared = parts_.journal_reader->LastSharedSeq(request.session, session.record.timeline,
                                                     cut.point.timeline);
  if (!shared.ok()) return answer(shared.status());
  rewinding.view.kept_seq = std::min(*shared, cut.point.seq);
  if (IsHead(rewinding.to) && cut.point.timeline == session.record.timeline) {
    return AnswerUnmoved(session, std::move(rewinding));
  }
  if (IsHead(rewinding.to)) {
    batch.selects.push_back({request.session, cut.point.timeline});
  } else {
    batch.rewinds.push_back({cut.point, parts_.clock->WallMs()});
    batch.events = BranchEvents(request.session, cut, event_kind::kSessionRewound);
  }
  if (Status status = CarryRevocations(session, cut.point, request.session, &batch.events);
      !status.ok()) {
    return answer(status);
  }
  if (request.validate_only) {
    rewinding.view.session = View(session);
    rewinding.view.session.tokens = cut.point.tokens;
    return answer(std::move(rewinding.view));
  }
  if (!request.request_id.empty()) {
    rewinding.view.session.session = request.session;
    batch.answers.push_back({request.request_id, kRewindMethod, RewindViewToJson(rewinding.view),
                             parts_.clock->WallMs()});
  }
  SwitchTimeline(session, std::move(batch), std::move(rewinding));
}

void ControlLoop::AnswerUnmoved(SessionRun& session, Rewinding rewinding) {
  rewinding.view.session = View(session);
  const RewindRequest& request = rewinding.request;
  if (request.request_id.empty() || request.validate_only) {
    return rewinding.answer(std::move(rewinding.view));
  }
  // Later it may stand elsewhere, and a repeat must not move it.
  auto batch = std::make_shared<JournalBatch>();  // owners: the journal worker, then its answer
  batch->answers.push_back({request.request_id, kRewindMethod, RewindViewToJson(rewinding.view),
                            parts_.clock->WallMs()});
  Write(batch, Durability::kSynced,
        [view = std::move(rewinding.view), answer = rewinding.answer](const Status& status) {
          if (!status.ok()) return answer(status);
          answer(view);
        });
}

void ControlLoop::SwitchTimeline(SessionRun& session, JournalBatch batch, Rewinding rewinding) {
  session.changing = true;
  Write(std::make_shared<JournalBatch>(std::move(batch)), Durability::kSynced,
        [this, id = session.record.id, view = std::move(rewinding.view),
         answer = rewinding.answer](const Status& status) mutable {
          SessionRun& changed = *sessions_.at(id);  // a changing session stays loaded
          changed.changing = false;
          if (!status.ok()) return answer(status);
          // A turn that could not be continued lies on the timeline that was left.
          changed.state = SessionState::kIdle;
          changed.broken = OkStatus();
          Status read = ReadTimeline(changed);
          if (read.ok()) read = ReadGrants(changed);
          if (read.ok()) read = ReadTools(changed);
          if (!read.ok()) {
            Break(changed, read);
            return answer(read);
          }
          MarkFiles(changed);
          view.session = View(changed);
          const int64_t kept_seq = view.kept_seq;
          answer(std::move(view));
          MoveWatchers(changed, kept_seq);
        });
}

FileKeeper ControlLoop::KeeperOf(const SessionRun& session) const {
  return {parts_.file_history,
          {session.record.id, session.record.created_ms},
          {session.record.timeline, session.record.last_seq},
          session.editor};
}

void ControlLoop::MarkFiles(const SessionRun& session) {
  const FileKeeper keeper = KeeperOf(session);
  if (keeper.history == nullptr || keeper.editor == nullptr) return;
  // Behind it, the same thread commits the dispatch of whatever changes a file next.
  parts_.journal_worker->queue().Push([keeper] {
    keeper.history->Mark(keeper.owner, keeper.place)
        .IgnoreError("a rewind to here would take back more, and its preview says so");
  });
}

Result<std::vector<FilePlace>> ControlLoop::PlacesUpTo(const TimelinePoint& point) {
  std::vector<TimelineRecord> own;
  while (true) {
    ASSIGN_OR_RETURN(const auto page,
                     parts_.journal_reader->ListTimelines(
                         point.session, own.empty() ? 0 : own.back().key, kRowsPerReadMax));
    if (page.empty()) break;
    own.insert(own.end(), page.begin(), page.end());
  }
  std::vector<FilePlace> places;
  int64_t seq = point.seq;
  auto timeline = std::find_if(own.begin(), own.end(), [&](const TimelineRecord& record) {
    return record.number == point.timeline;
  });
  while (timeline != own.end()) {
    places.push_back({timeline->number, seq});
    seq = std::min(seq, timeline->base_seq);
    // What it shares with another session that one did.
    timeline = std::find_if(own.begin(), own.end(), [&](const TimelineRecord& record) {
      return record.key == timeline->base;
    });
  }
  return places;
}

void ControlLoop::RewindFiles(SessionRun& session, Rewinding rewinding) {
  const FileKeeper keeper = KeeperOf(session);
  const std::string id = session.record.id;
  const auto answer = rewinding.answer;
  if (keeper.history == nullptr || keeper.editor == nullptr) {
    return answer(FailedPreconditionError(
        "session '" + id + "' has no workspace" +
            (session.settings.workspace.empty()
                 ? std::string()
                 : ": '" + session.settings.workspace + "' can't be opened") +
            "; rewind its conversation alone",
        "NO_WORKSPACE"));
  }
  auto places = PlacesUpTo(rewinding.cut.point);
  if (!places.ok()) return answer(places.status());
  const bool undo = rewinding.request.undo && rewinding.request.scope == RewindScope::kFiles;
  const bool validate_only = rewinding.request.validate_only;
  session.changing = true;  // no turn changes files meanwhile
  const auto rewind = [id, keeper, places = *std::move(places), undo,
                       validate_only]() -> Result<std::vector<FileRestore>> {
    auto key = undo ? keeper.history->KeyBeforeRestore(keeper.owner)
                    : keeper.history->KeyAt(keeper.owner, places);
    if (undo && key.status().code() == StatusCode::kNotFound) {
      return NothingToUndo(id, "has no restored files: none to undo");
    }
    RETURN_IF_ERROR(key.status());
    return validate_only ? PlanFiles(keeper, *key) : RestoreFiles(keeper, *key);
  };
  // Behind the marks that are on their way there.
  parts_.journal_worker->queue().Push([this, id, rewind, rewinding = std::move(rewinding)] {
    const auto done = [this, id, rewinding](Result<std::vector<FileRestore>> files) {
      Post([this, id, rewinding, files = std::move(files)] { FilesRewound(id, rewinding, files); });
    };
    if (parts_.pool->queue().TryPush([rewind, done] { done(rewind()); })) return;
    done(ResourceExhaustedError("the tool pool is full; try again in a moment", "QUOTA"));
  });
}

void ControlLoop::FilesRewound(const std::string& id, Rewinding rewinding,
                               Result<std::vector<FileRestore>> files) {
  SessionRun& session = *sessions_.at(id);  // a changing session stays loaded
  session.changing = false;
  if (!files.ok()) return rewinding.answer(files.status());
  rewinding.view.files = *std::move(files);
  rewinding.view.notes = {kCommandsNote};
  if (rewinding.request.scope == RewindScope::kBoth) {
    return RewindConversation(session, std::move(rewinding));
  }
  if (!rewinding.request.validate_only) MarkFiles(session);
  rewinding.view.kept_seq = session.record.last_seq;
  AnswerUnmoved(session, std::move(rewinding));
}

}  // namespace baleen
