// Journal in memory: the class of journal.h without SQLite, for builds with BALEEN_THREAD_CORE.
//
// It exists so that ThreadSanitizer sees every thread of ours and no uninstrumented library. All
// objects of one path (a writer and its readers) share one set of tables, which one mutex guards;
// they stay until the process ends or the path's file is gone. Same checks, order and error codes
// as the real journal. Not done: durability, row checksums, forgetting of answers.
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "runtime/store/files.h"
#include "runtime/store/journal.h"
#include "runtime/store/journal_codec.h"
#include "runtime/store/journal_import.h"
#include "runtime/store/memory/memory_registry.h"

namespace baleen {
namespace {

/// A whole history: nothing is shared here, every fork and rewind copies.
struct Timeline {
  TimelineRecord record;
  std::vector<EventRecord> events;  ///< [seq - 1]
  std::vector<int32_t> ids;
  std::vector<uint64_t> hashes;  ///< Empty, or one per id.
};

struct Session {
  SessionRecord record;
  std::vector<Timeline> timelines;  ///< [number - 1]
  Timeline& current() { return timelines[static_cast<size_t>(record.timeline - 1)]; }
};

struct Tables {
  std::mutex mutex;  ///< Guards everything below.
  std::map<std::string, Session, std::less<>> sessions;
  int64_t last_key = 0;  ///< Of timelines.
  int64_t commits = 0;
  /// By request id and method.
  std::map<std::pair<std::string, std::string>, JournalBatch::RequestAnswer> answers;
};

MemoryRegistry<Tables>& Registry() {
  static MemoryRegistry<Tables> registry;
  return registry;
}

Status NoSession(std::string_view id) {
  return NotFoundError("session '" + std::string(id) + "' is not in the journal");
}

Result<Session*> Find(Tables& tables, std::string_view id) {
  const auto found = tables.sessions.find(id);
  if (found == tables.sessions.end()) return NoSession(id);
  return &found->second;
}

/// `number` 0: the current one.
Result<Timeline*> FindTimeline(Tables& tables, std::string_view id, int64_t number) {
  ASSIGN_OR_RETURN(Session* const session, Find(tables, id));
  if (number == 0) return &session->current();
  if (number > 0 && number <= static_cast<int64_t>(session->timelines.size())) {
    return &session->timelines[static_cast<size_t>(number - 1)];
  }
  return NotFoundError(
      "session '" + std::string(id) + "' has no timeline " + std::to_string(number),
      "POINT_UNKNOWN");
}

Result<Timeline*> TimelineByKey(Tables& tables, int64_t key) {
  for (auto& [id, session] : tables.sessions) {
    for (Timeline& timeline : session.timelines) {
      if (timeline.record.key == key) return &timeline;
    }
  }
  return NotFoundError("timeline " + std::to_string(key) + " is not in the journal");
}

Status CheckRange(int64_t after, int64_t limit) {
  if (after >= 0 && limit >= 0) return OkStatus();
  return InvalidArgumentError("read from " + std::to_string(after) + " with limit " +
                              std::to_string(limit) + ": expected both >= 0");
}

Status CheckShapes(const JournalBatch& batch) {
  for (const auto* list : {&batch.create_sessions, &batch.update_sessions}) {
    for (const SessionRecord& session : *list) {
      RETURN_IF_ERROR(CheckSessionId(session.id));
      RETURN_IF_ERROR(CheckJsonObject(session.settings, kSettingsBytesMax));
    }
  }
  for (const JournalBatch::Import& import : batch.imports) {
    RETURN_IF_ERROR(CheckSessionId(import.session.id));
    RETURN_IF_ERROR(CheckJsonObject(import.session.settings, kSettingsBytesMax));
  }
  for (const JournalBatch::Fork& fork : batch.forks) {
    RETURN_IF_ERROR(CheckSessionId(fork.session.id));
    if (fork.settings.empty()) continue;
    RETURN_IF_ERROR(CheckJsonObject(fork.settings, kSettingsBytesMax)
                        .WithContext("settings of session '" + fork.session.id + "'"));
  }
  for (const EventRecord& event : batch.events) {
    if (event.kind.empty()) return InvalidArgumentError("an event has no kind");
    RETURN_IF_ERROR(CheckJsonObject(event.payload, kEventBytesMax));
  }
  for (const TokenRun& run : batch.tokens) {
    const bool negative =
        std::any_of(run.ids.begin(), run.ids.end(), [](int32_t id) { return id < 0; });
    if (negative || (!run.logits_hashes.empty() && run.logits_hashes.size() != run.ids.size())) {
      return InvalidArgumentError("tokens of session '" + run.session +
                                  "': expected ids >= 0 and no logits hashes or one per id");
    }
  }
  for (const JournalBatch::RequestAnswer& answer : batch.answers) {
    if (answer.request_id.empty()) return InvalidArgumentError("an answer has no request id");
    RETURN_IF_ERROR(CheckJson(answer.answer, kAnswerBytesMax));
  }
  return OkStatus();
}

/// The part of `base` up to `point`.
Result<Timeline> BranchAt(const Timeline& base, const TimelinePoint& point) {
  const bool has = point.seq >= 0 && point.tokens >= 0 && point.seq <= base.record.last_seq &&
                   point.tokens <= base.record.tokens;
  if (!has ||
      (point.seq > 0 && base.events[static_cast<size_t>(point.seq - 1)].tokens > point.tokens)) {
    return OutOfRangeError("session '" + point.session + "' has no point at event " +
                               std::to_string(point.seq) + " and token " +
                               std::to_string(point.tokens),
                           "POINT_UNKNOWN");
  }
  Timeline branch = base;
  branch.events.resize(static_cast<size_t>(point.seq));
  branch.ids.resize(static_cast<size_t>(point.tokens));
  if (!branch.hashes.empty()) branch.hashes.resize(branch.ids.size());
  branch.record = {};
  branch.record.base = base.record.key;
  branch.record.base_seq = branch.record.last_seq = point.seq;
  branch.record.base_tokens = branch.record.tokens = point.tokens;
  return branch;
}

void AppendTokens(Timeline& timeline, const TokenRun& run) {
  const size_t before = timeline.ids.size();
  timeline.ids.insert(timeline.ids.end(), run.ids.begin(), run.ids.end());
  if (!run.logits_hashes.empty()) {
    timeline.hashes.resize(before, 0);
    timeline.hashes.insert(timeline.hashes.end(), run.logits_hashes.begin(),
                           run.logits_hashes.end());
  } else if (!timeline.hashes.empty()) {
    timeline.hashes.resize(timeline.ids.size(), 0);
  }
  timeline.record.tokens = static_cast<int64_t>(timeline.ids.size());
}

/// Applies a batch to the tables: all of it, or after an error nothing.
class BatchWriter {
 public:
  explicit BatchWriter(Tables& tables) : tables_(tables) {}

  Status Run(const JournalBatch& batch) {
    Keep(batch);
    const Status status = Apply(batch);
    if (!status.ok()) Restore();
    return status;
  }

 private:
  void Keep(const JournalBatch& batch) {
    const auto keep = [this](const std::string& id) {
      const auto found = tables_.sessions.find(id);
      before_[id] = found == tables_.sessions.end() ? std::nullopt : std::optional(found->second);
    };
    for (const auto& session : batch.create_sessions) keep(session.id);
    for (const auto& import : batch.imports) keep(import.session.id);
    for (const auto& fork : batch.forks) keep(fork.session.id);
    for (const auto& rewind : batch.rewinds) keep(rewind.to.session);
    for (const auto& select : batch.selects) keep(select.session);
    for (const auto& pin : batch.pins) keep(pin.session);
    for (const auto& session : batch.update_sessions) keep(session.id);
    for (const auto& run : batch.tokens) keep(run.session);
    for (const auto& event : batch.events) keep(event.session);
    for (const auto& id : batch.delete_sessions) keep(id);
  }

  void Restore() {
    for (auto& [id, session] : before_) {
      if (session.has_value()) {
        tables_.sessions[id] = std::move(*session);
      } else {
        tables_.sessions.erase(id);
      }
    }
    for (const auto& answer : answered_) tables_.answers.erase(answer);
  }

  Status Apply(const JournalBatch& batch) {
    for (const auto& session : batch.create_sessions) RETURN_IF_ERROR(Add(session, {}));
    for (const auto& import : batch.imports) {
      RETURN_IF_ERROR(Add(import.session, {}));
      RETURN_IF_ERROR(ReplayImport(
          import, [this](const TokenRun& run) { return Append(run); },
          [this](const EventRecord& event) { return Append(event); }));
    }
    for (const auto& fork : batch.forks) RETURN_IF_ERROR(Fork(fork));
    for (const auto& rewind : batch.rewinds) RETURN_IF_ERROR(Rewind(rewind));
    for (const auto& select : batch.selects) {
      ASSIGN_OR_RETURN(const Timeline* wanted,
                       FindTimeline(tables_, select.session, select.timeline));
      tables_.sessions[select.session].record.timeline = wanted->record.number;
    }
    for (const auto& pin : batch.pins) {
      ASSIGN_OR_RETURN(Session* const session, Find(tables_, pin.session));
      session->record.pinned = pin.pinned;
    }
    for (const auto& record : batch.update_sessions) {
      ASSIGN_OR_RETURN(Session* const session, Find(tables_, record.id));
      session->record.title = record.title;
      session->record.settings = record.settings;
      session->current().record.updated_ms = record.updated_ms;
    }
    for (const auto& run : batch.tokens) RETURN_IF_ERROR(Append(run));
    for (const auto& event : batch.events) RETURN_IF_ERROR(Append(event));
    for (const auto& id : batch.delete_sessions) {
      RETURN_IF_ERROR(Find(tables_, id).status());
      tables_.sessions.erase(id);
    }
    for (const auto& answer : batch.answers) {
      const std::pair key(answer.request_id, answer.method);
      if (!tables_.answers.try_emplace(key, answer).second) {
        return AlreadyExistsError("request '" + answer.request_id + "' is answered already");
      }
      answered_.push_back(key);
    }
    return OkStatus();
  }

  Status Add(const SessionRecord& record, Timeline timeline) {
    if (tables_.sessions.count(record.id) != 0) {
      return AlreadyExistsError("session '" + record.id + "' exists already");
    }
    Session& session = tables_.sessions[record.id];
    session.record = record;
    session.record.timeline = 1;
    timeline.record.created_ms = record.created_ms;
    timeline.record.updated_ms = std::max(record.created_ms, record.updated_ms);
    AddTimeline(session, std::move(timeline));
    return OkStatus();
  }

  void AddTimeline(Session& session, Timeline timeline) {
    timeline.record.key = ++tables_.last_key;
    timeline.record.session = session.record.id;
    timeline.record.number = static_cast<int64_t>(session.timelines.size()) + 1;
    for (EventRecord& event : timeline.events) event.session = session.record.id;
    session.timelines.push_back(std::move(timeline));
  }

  Status Fork(const JournalBatch::Fork& fork) {
    ASSIGN_OR_RETURN(const Timeline* base,
                     FindTimeline(tables_, fork.from.session, fork.from.timeline));
    ASSIGN_OR_RETURN(Timeline timeline, BranchAt(*base, fork.from));
    SessionRecord record = fork.session;
    record.settings =
        fork.settings.empty() ? tables_.sessions[fork.from.session].record.settings : fork.settings;
    record.parent = fork.from.session;
    return Add(record, std::move(timeline));
  }

  Status Rewind(const JournalBatch::Rewind& rewind) {
    ASSIGN_OR_RETURN(const Timeline* base,
                     FindTimeline(tables_, rewind.to.session, rewind.to.timeline));
    ASSIGN_OR_RETURN(Timeline timeline, BranchAt(*base, rewind.to));
    Session& session = tables_.sessions[rewind.to.session];
    timeline.record.previous = session.record.timeline;
    timeline.record.created_ms = timeline.record.updated_ms =
        std::max(rewind.time_ms, session.current().record.updated_ms);
    AddTimeline(session, std::move(timeline));
    session.record.timeline = static_cast<int64_t>(session.timelines.size());
    return OkStatus();
  }

  Status Append(const TokenRun& run) {
    ASSIGN_OR_RETURN(Timeline* const timeline, FindTimeline(tables_, run.session, 0));
    if (run.begin != timeline->record.tokens) {
      return AbortedError("tokens of session '" + run.session + "' begin at " +
                              std::to_string(run.begin) + ", expected " +
                              std::to_string(timeline->record.tokens),
                          "TOKENS_MISMATCH");
    }
    AppendTokens(*timeline, run);
    return OkStatus();
  }

  Status Append(const EventRecord& event) {
    ASSIGN_OR_RETURN(Timeline* const timeline, FindTimeline(tables_, event.session, 0));
    if (event.seq != timeline->record.last_seq + 1) {
      return AbortedError("event of session '" + event.session + "' has seq " +
                              std::to_string(event.seq) + ", expected " +
                              std::to_string(timeline->record.last_seq + 1),
                          "SEQ_MISMATCH");
    }
    timeline->events.push_back(event);
    timeline->events.back().tokens = timeline->record.tokens;
    timeline->record.last_seq = event.seq;
    timeline->record.updated_ms = std::max(timeline->record.updated_ms, event.time_ms);
    return OkStatus();
  }

  Tables& tables_;
  /// The sessions that the batch names, as they were; nothing: there was none.
  std::map<std::string, std::optional<Session>> before_;
  std::vector<std::pair<std::string, std::string>> answered_;
};

/// The record as it stands on the current timeline.
SessionRecord Current(Session& session) {
  SessionRecord record = session.record;
  const TimelineRecord& timeline = session.current().record;
  record.updated_ms = timeline.updated_ms;
  record.tokens = timeline.tokens;
  record.last_seq = timeline.last_seq;
  return record;
}

Result<std::vector<EventRecord>> EventsOf(const Timeline& timeline, int64_t after, int64_t limit) {
  RETURN_IF_ERROR(CheckRange(after, limit));
  const auto& events = timeline.events;
  const auto first = std::min(static_cast<size_t>(after), events.size());
  const auto count =
      std::min(static_cast<size_t>(std::min(limit, kRowsPerReadMax)), events.size() - first);
  const auto begin = events.begin() + static_cast<int64_t>(first);
  return std::vector<EventRecord>(begin, begin + static_cast<int64_t>(count));
}

/// Of payloads with seq > after that no other timeline has.
int64_t OwnEventBytes(const Timeline& timeline, int64_t after) {
  int64_t bytes = 0;
  for (const EventRecord& event : timeline.events) {
    if (event.seq <= std::max(after, timeline.record.base_seq)) continue;
    bytes += static_cast<int64_t>(event.payload.size());
  }
  return bytes;
}

Result<TokenRun> TokensOf(const Timeline& timeline, int64_t begin, int64_t count) {
  RETURN_IF_ERROR(CheckRange(begin, count));
  const auto size = static_cast<int64_t>(timeline.ids.size());
  const int64_t first = std::min(begin, size);
  const int64_t last = first + std::min({count, kTokensPerReadMax, size - first});
  TokenRun run;
  run.session = timeline.record.session;
  run.begin = begin;
  run.ids.assign(timeline.ids.begin() + first, timeline.ids.begin() + last);
  if (!timeline.hashes.empty()) {
    run.logits_hashes.assign(timeline.hashes.begin() + first, timeline.hashes.begin() + last);
  }
  return run;
}

}  // namespace

class Journal::Impl {
 public:
  Impl(const std::string& path, bool reader) : tables(Registry().Open(path)), read_only(reader) {}

  const std::shared_ptr<Tables> tables;  ///< Owners: the registry and all journals of the path.
  const bool read_only;
  const std::vector<std::string> notes;  ///< None: memory has no damage.
};

Journal::Journal(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Journal::~Journal() = default;

Result<std::unique_ptr<Journal>> Journal::Open(const JournalOptions& options) {
  if (options.path.empty()) return InvalidArgumentError("journal path is empty; name a file");
  struct stat file = {};
  if (stat(options.path.c_str(), &file) != 0) {
    if (options.read_only) return NotFoundError("journal '" + options.path + "' does not exist");
    // A folder that was removed and made again must not show what the earlier one held.
    Registry().Remove(options.path);
    RETURN_IF_ERROR(EnsureFile(options.path));
  } else if (!Registry().Has(options.path)) {
    return DataLossError("journal '" + options.path +
                         "' is of another process; this build keeps journals in memory");
  }
  return std::unique_ptr<Journal>(
      new Journal(std::make_unique<Impl>(options.path, options.read_only)));
}

Status Journal::Commit(const JournalBatch& batch, Durability /*durability*/) {
  if (impl_->read_only) return FailedPreconditionError("the journal is open read-only");
  RETURN_IF_ERROR(CheckShapes(batch));
  const std::lock_guard<std::mutex> lock(impl_->tables->mutex);
  RETURN_IF_ERROR(BatchWriter(*impl_->tables).Run(batch));
  ++impl_->tables->commits;
  return OkStatus();
}

Status Journal::Sync() { return OkStatus(); }

const std::vector<std::string>& Journal::notes() const { return impl_->notes; }

Result<SessionRecord> Journal::GetSession(std::string_view id) {
  const std::lock_guard<std::mutex> lock(impl_->tables->mutex);
  ASSIGN_OR_RETURN(Session* const session, Find(*impl_->tables, id));
  return Current(*session);
}

Result<std::vector<SessionRecord>> Journal::ListSessions(std::string_view after_id, int64_t limit) {
  RETURN_IF_ERROR(CheckRange(0, limit));
  const std::lock_guard<std::mutex> lock(impl_->tables->mutex);
  const auto place = [](const SessionRecord& record) {
    return std::pair(record.created_ms, std::string_view(record.id));
  };
  std::vector<SessionRecord> sessions;
  const Session* after = nullptr;
  if (!after_id.empty()) {
    ASSIGN_OR_RETURN(after, Find(*impl_->tables, after_id));
  }
  for (auto& [id, session] : impl_->tables->sessions) {
    if (after == nullptr || place(session.record) > place(after->record)) {
      sessions.push_back(Current(session));
    }
  }
  std::sort(sessions.begin(), sessions.end(),
            [&](const auto& a, const auto& b) { return place(a) < place(b); });
  const auto count = static_cast<size_t>(std::min(limit, kRowsPerReadMax));
  if (sessions.size() > count) sessions.resize(count);
  return sessions;
}

Result<std::vector<TimelineRecord>> Journal::ListTimelines(std::string_view session,
                                                           int64_t after_key, int64_t limit) {
  RETURN_IF_ERROR(CheckRange(0, limit));
  const std::lock_guard<std::mutex> lock(impl_->tables->mutex);
  if (!session.empty()) RETURN_IF_ERROR(Find(*impl_->tables, session).status());
  std::vector<TimelineRecord> timelines;
  for (const auto& [id, owner] : impl_->tables->sessions) {
    for (const Timeline& timeline : owner.timelines) {
      if ((session.empty() || id == session) && timeline.record.key > after_key) {
        timelines.push_back(timeline.record);
      }
    }
  }
  std::sort(timelines.begin(), timelines.end(),
            [](const auto& a, const auto& b) { return a.key < b.key; });
  const auto count = static_cast<size_t>(std::min(limit, kRowsPerReadMax));
  if (timelines.size() > count) timelines.resize(count);
  return timelines;
}

Result<int64_t> Journal::LastSharedSeq(std::string_view session, int64_t timeline, int64_t other) {
  const std::lock_guard<std::mutex> lock(impl_->tables->mutex);
  ASSIGN_OR_RETURN(const Timeline* one, FindTimeline(*impl_->tables, session, timeline));
  ASSIGN_OR_RETURN(const Timeline* two, FindTimeline(*impl_->tables, session, other));
  // Two timelines share the shorter of the lines that lead from each to their common base.
  const auto line = [&](const Timeline* from) {
    std::map<int64_t, int64_t> shared;  // key -> events of it that `from` has
    int64_t seq = from->record.last_seq;
    while (true) {
      shared[from->record.key] = seq;
      const auto base = TimelineByKey(*impl_->tables, from->record.base);
      if (!base.ok()) return shared;
      seq = std::min(seq, from->record.base_seq);
      from = *base;
    }
  };
  const auto first = line(one);
  const auto second = line(two);
  int64_t shared = 0;
  for (const auto& [key, seq] : first) {
    const auto common = second.find(key);
    if (common != second.end()) shared = std::max(shared, std::min(seq, common->second));
  }
  return shared;
}

Result<std::vector<EventRecord>> Journal::ReadEvents(std::string_view session, int64_t after,
                                                     int64_t limit, int64_t timeline) {
  const std::lock_guard<std::mutex> lock(impl_->tables->mutex);
  ASSIGN_OR_RETURN(const Timeline* found, FindTimeline(*impl_->tables, session, timeline));
  return EventsOf(*found, after, limit);
}

Result<std::vector<EventRecord>> Journal::ReadTimelineEvents(int64_t key, int64_t after,
                                                             int64_t limit) {
  const std::lock_guard<std::mutex> lock(impl_->tables->mutex);
  ASSIGN_OR_RETURN(const Timeline* found, TimelineByKey(*impl_->tables, key));
  return EventsOf(*found, after, limit);
}

Result<std::vector<EventRecord>> Journal::ReadEventsOfKind(std::string_view session,
                                                           std::string_view kind, int64_t after,
                                                           int64_t limit, int64_t timeline) {
  RETURN_IF_ERROR(CheckRange(after, limit));
  const std::lock_guard<std::mutex> lock(impl_->tables->mutex);
  ASSIGN_OR_RETURN(const Timeline* found, FindTimeline(*impl_->tables, session, timeline));
  const auto count = static_cast<size_t>(std::min(limit, kRowsPerReadMax));
  std::vector<EventRecord> events;
  for (const EventRecord& event : found->events) {
    if (events.size() < count && event.seq > after && event.kind == kind) events.push_back(event);
  }
  return events;
}

Result<EventScan> Journal::ScanEvents(std::string_view session, std::string_view counted,
                                      std::string_view last, int64_t timeline) {
  const std::lock_guard<std::mutex> lock(impl_->tables->mutex);
  ASSIGN_OR_RETURN(const Timeline* found, FindTimeline(*impl_->tables, session, timeline));
  EventScan scan;
  for (const EventRecord& event : found->events) {
    if (event.kind == counted) ++scan.count;
    if (event.kind == last) scan.last = event;
  }
  return scan;
}

Result<EventRecord> Journal::LastEvent(std::string_view session, std::string_view kind,
                                       int64_t timeline, int64_t up_to) {
  const std::lock_guard<std::mutex> lock(impl_->tables->mutex);
  ASSIGN_OR_RETURN(const Timeline* found, FindTimeline(*impl_->tables, session, timeline));
  const auto event = std::find_if(
      found->events.rbegin(), found->events.rend(),
      [&](const EventRecord& entry) { return entry.kind == kind && entry.seq <= up_to; });
  if (event != found->events.rend()) return *event;
  return NotFoundError("session '" + std::string(session) + "' has no event '" + std::string(kind) +
                       "'");
}

Result<EventRecord> Journal::EventAtTokens(std::string_view session, int64_t tokens,
                                           int64_t timeline) {
  const std::lock_guard<std::mutex> lock(impl_->tables->mutex);
  ASSIGN_OR_RETURN(const Timeline* found, FindTimeline(*impl_->tables, session, timeline));
  const auto event = std::find_if(found->events.rbegin(), found->events.rend(),
                                  [&](const EventRecord& entry) { return entry.tokens <= tokens; });
  if (event != found->events.rend()) return *event;
  return NotFoundError("session '" + std::string(session) + "' has no event that saw at most " +
                       std::to_string(tokens) + " tokens");
}

Result<TokenRun> Journal::ReadTokens(std::string_view session, int64_t begin, int64_t count,
                                     int64_t timeline) {
  const std::lock_guard<std::mutex> lock(impl_->tables->mutex);
  ASSIGN_OR_RETURN(const Timeline* found, FindTimeline(*impl_->tables, session, timeline));
  return TokensOf(*found, begin, count);
}

Result<TokenRun> Journal::ReadTimelineTokens(int64_t key, int64_t begin, int64_t count) {
  const std::lock_guard<std::mutex> lock(impl_->tables->mutex);
  ASSIGN_OR_RETURN(const Timeline* found, TimelineByKey(*impl_->tables, key));
  return TokensOf(*found, begin, count);
}

Result<std::string> Journal::FindAnswer(std::string_view request_id, std::string_view method) {
  const std::lock_guard<std::mutex> lock(impl_->tables->mutex);
  const auto found = impl_->tables->answers.find({std::string(request_id), std::string(method)});
  if (found != impl_->tables->answers.end()) return found->second.answer;
  return NotFoundError("request '" + std::string(request_id) + "' (" + std::string(method) +
                       ") has not been answered");
}

Result<JournalReport> Journal::Verify(std::string_view session) {
  const std::lock_guard<std::mutex> lock(impl_->tables->mutex);
  if (!session.empty()) RETURN_IF_ERROR(Find(*impl_->tables, session).status());
  JournalReport report;
  for (const auto& [id, stored] : impl_->tables->sessions) {
    if (!session.empty() && id != session) continue;
    ++report.sessions;
    for (const Timeline& timeline : stored.timelines) {
      ++report.timelines;
      report.events += static_cast<int64_t>(timeline.events.size());
      report.tokens += static_cast<int64_t>(timeline.ids.size());
    }
  }
  return report;
}

Status Journal::Backup(const std::string& /*path*/) {
  return UnimplementedError("this build keeps journals in memory; there is no file to back up");
}

Status Journal::Compact() { return OkStatus(); }

Result<int64_t> Journal::BytesOnDisk() { return int64_t{0}; }

Result<int64_t> Journal::ChangeNumber() {
  const std::lock_guard<std::mutex> lock(impl_->tables->mutex);
  return impl_->tables->commits;  // one's own count, too: who asks looks once more
}

Result<int64_t> Journal::EventBytes(int64_t timeline_key, int64_t after) {
  const std::lock_guard<std::mutex> lock(impl_->tables->mutex);
  ASSIGN_OR_RETURN(const Timeline* found, TimelineByKey(*impl_->tables, timeline_key));
  return OwnEventBytes(*found, after);
}

Result<int64_t> Journal::TimelineBytes(int64_t timeline_key) {
  const std::lock_guard<std::mutex> lock(impl_->tables->mutex);
  ASSIGN_OR_RETURN(const Timeline* found, TimelineByKey(*impl_->tables, timeline_key));
  const auto own = static_cast<int64_t>(found->ids.size()) - found->record.base_tokens;
  const size_t id_bytes = sizeof(int32_t) + (found->hashes.empty() ? 0 : sizeof(uint64_t));
  return OwnEventBytes(*found, 0) + own * static_cast<int64_t>(id_bytes);
}

}  // namespace baleen
