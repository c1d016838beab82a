// Journal in memory: the class of journal.h without SQLite, for builds with BALEEN_THREAD_CORE.
//
// It exists so that ThreadSanitizer sees every thread of ours and no uninstrumented library. All
// objects of one path (a writer and its readers) share one set of tables, which one mutex guards;
// they stay until the process ends or the path's file is gone. Same checks, order and error codes
// as the real journal. Not done: durability, row checksums, forgetting of answers.
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <utility>

#include "runtime/store/files.h"
#include "runtime/store/journal.h"
#include "runtime/store/journal_codec.h"
#include "runtime/store/memory/memory_registry.h"

namespace baleen {
namespace {

struct Session {
  SessionRecord record;
  std::vector<EventRecord> events;  ///< [seq - 1]
  std::vector<int32_t> ids;
  std::vector<uint64_t> hashes;  ///< Empty, or one per id.
};

struct Tables {
  std::mutex mutex;  ///< Guards everything below.
  std::map<std::string, Session, std::less<>> sessions;
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

/// Where a session's sequence numbers and tokens end, while a batch is checked.
struct Ends {
  int64_t seq = 0;
  int64_t tokens = 0;
};

/// Whether the whole batch would succeed; changes nothing.
class BatchCheck {
 public:
  explicit BatchCheck(const Tables& tables) : tables_(tables) {}

  Status Run(const JournalBatch& batch) {
    for (const SessionRecord& session : batch.create_sessions) {
      if (tables_.sessions.count(session.id) != 0 || ends_.count(session.id) != 0) {
        return AlreadyExistsError("session '" + session.id + "' exists already");
      }
      ends_[session.id] = {};
    }
    for (const SessionRecord& session : batch.update_sessions) {
      RETURN_IF_ERROR(EndsOf(session.id).status());
    }
    for (const EventRecord& event : batch.events) {
      ASSIGN_OR_RETURN(Ends* const ends, EndsOf(event.session));
      if (event.seq != ends->seq + 1) {
        return AbortedError("event of session '" + event.session + "' has seq " +
                                std::to_string(event.seq) + ", expected " +
                                std::to_string(ends->seq + 1),
                            "SEQ_MISMATCH");
      }
      ends->seq = event.seq;
    }
    for (const TokenRun& run : batch.tokens) {
      ASSIGN_OR_RETURN(Ends* const ends, EndsOf(run.session));
      if (run.begin != ends->tokens) {
        return AbortedError("tokens of session '" + run.session + "' begin at " +
                                std::to_string(run.begin) + ", expected " +
                                std::to_string(ends->tokens),
                            "TOKENS_MISMATCH");
      }
      ends->tokens += static_cast<int64_t>(run.ids.size());
    }
    for (const JournalBatch::RequestAnswer& answer : batch.answers) {
      if (tables_.answers.count({answer.request_id, answer.method}) != 0) {
        return AlreadyExistsError("request '" + answer.request_id + "' is answered already");
      }
    }
    return OkStatus();
  }

 private:
  Result<Ends*> EndsOf(const std::string& id) {
    const auto known = ends_.find(id);
    if (known != ends_.end()) return &known->second;
    const auto found = tables_.sessions.find(id);
    if (found == tables_.sessions.end()) return NoSession(id);
    const SessionRecord& record = found->second.record;
    return &(ends_[id] = {record.last_seq, record.tokens});
  }

  const Tables& tables_;
  std::map<std::string, Ends> ends_;
};

void AppendTokens(Session& session, const TokenRun& run) {
  const size_t before = session.ids.size();
  session.ids.insert(session.ids.end(), run.ids.begin(), run.ids.end());
  if (!run.logits_hashes.empty()) {
    session.hashes.resize(before, 0);
    session.hashes.insert(session.hashes.end(), run.logits_hashes.begin(), run.logits_hashes.end());
  } else if (!session.hashes.empty()) {
    session.hashes.resize(session.ids.size(), 0);
  }
  session.record.tokens = static_cast<int64_t>(session.ids.size());
}

void Apply(Tables& tables, const JournalBatch& batch) {
  for (const SessionRecord& record : batch.create_sessions) {
    Session& session = tables.sessions[record.id];
    session.record = record;
    session.record.tokens = session.record.last_seq = 0;
  }
  for (const SessionRecord& record : batch.update_sessions) {
    SessionRecord& stored = tables.sessions[record.id].record;
    stored.title = record.title;
    stored.settings = record.settings;
    stored.updated_ms = record.updated_ms;
  }
  for (const EventRecord& event : batch.events) {
    Session& session = tables.sessions[event.session];
    session.events.push_back(event);
    session.record.last_seq = event.seq;
    session.record.updated_ms = std::max(session.record.updated_ms, event.time_ms);
  }
  for (const TokenRun& run : batch.tokens) AppendTokens(tables.sessions[run.session], run);
  for (const JournalBatch::RequestAnswer& answer : batch.answers) {
    tables.answers[{answer.request_id, answer.method}] = answer;
  }
}

}  // namespace

class Journal::Impl {
 public:
  Impl(const std::string& path, bool reader) : tables(Registry().Open(path)), read_only(reader) {}

  const std::shared_ptr<Tables> tables;  ///< Owners: the registry and all journals of the path.
  const bool read_only;
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
  RETURN_IF_ERROR(BatchCheck(*impl_->tables).Run(batch));
  Apply(*impl_->tables, batch);
  return OkStatus();
}

Status Journal::Sync() { return OkStatus(); }

Result<SessionRecord> Journal::GetSession(std::string_view id) {
  const std::lock_guard<std::mutex> lock(impl_->tables->mutex);
  ASSIGN_OR_RETURN(const Session* session, Find(*impl_->tables, id));
  return session->record;
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
  for (const auto& [id, session] : impl_->tables->sessions) {
    if (after == nullptr || place(session.record) > place(after->record)) {
      sessions.push_back(session.record);
    }
  }
  std::sort(sessions.begin(), sessions.end(),
            [&](const auto& a, const auto& b) { return place(a) < place(b); });
  const auto count = static_cast<size_t>(std::min(limit, kRowsPerReadMax));
  if (sessions.size() > count) sessions.resize(count);
  return sessions;
}

Result<std::vector<EventRecord>> Journal::ReadEvents(std::string_view session, int64_t after,
                                                     int64_t limit) {
  RETURN_IF_ERROR(CheckRange(after, limit));
  const std::lock_guard<std::mutex> lock(impl_->tables->mutex);
  ASSIGN_OR_RETURN(const Session* found, Find(*impl_->tables, session));
  const auto& events = found->events;
  const auto first = std::min(static_cast<size_t>(after), events.size());
  const auto count =
      std::min(static_cast<size_t>(std::min(limit, kRowsPerReadMax)), events.size() - first);
  const auto begin = events.begin() + static_cast<int64_t>(first);
  return std::vector<EventRecord>(begin, begin + static_cast<int64_t>(count));
}

Result<EventRecord> Journal::LastEvent(std::string_view session, std::string_view kind) {
  const std::lock_guard<std::mutex> lock(impl_->tables->mutex);
  ASSIGN_OR_RETURN(const Session* found, Find(*impl_->tables, session));
  const auto event = std::find_if(found->events.rbegin(), found->events.rend(),
                                  [&](const EventRecord& entry) { return entry.kind == kind; });
  if (event != found->events.rend()) return *event;
  return NotFoundError("session '" + std::string(session) + "' has no event '" + std::string(kind) +
                       "'");
}

Result<TokenRun> Journal::ReadTokens(std::string_view session, int64_t begin, int64_t count) {
  RETURN_IF_ERROR(CheckRange(begin, count));
  const std::lock_guard<std::mutex> lock(impl_->tables->mutex);
  ASSIGN_OR_RETURN(const Session* found, Find(*impl_->tables, session));
  const auto size = static_cast<int64_t>(found->ids.size());
  const int64_t first = std::min(begin, size);
  const int64_t last = first + std::min({count, kTokensPerReadMax, size - first});
  TokenRun run;
  run.session = session;
  run.begin = begin;
  run.ids.assign(found->ids.begin() + first, found->ids.begin() + last);
  if (!found->hashes.empty()) {
    run.logits_hashes.assign(found->hashes.begin() + first, found->hashes.begin() + last);
  }
  return run;
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
    report.events += static_cast<int64_t>(stored.events.size());
    report.tokens += static_cast<int64_t>(stored.ids.size());
  }
  return report;
}

}  // namespace baleen
