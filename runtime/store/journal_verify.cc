// Journal::Verify: reads everything and lists what is wrong.
#include <map>

#include "runtime/store/journal.h"
#include "runtime/store/journal_codec.h"
#include "runtime/store/journal_impl.h"

namespace baleen {
namespace {

constexpr size_t kProblemsMax = 100;

/// One walk over the journal; collects into `report`.
class Verifier {
 public:
  Verifier(Journal::Impl& journal, Sqlite& database, JournalReport& report)
      : journal_(journal), database_(database), report_(report) {}

  Status CheckPages();
  Status CheckSessions(std::string_view only);
  /// `session` 0: those of all sessions, and those without one.
  Status CheckTimelines(int64_t session);
  Status CheckStrays();

 private:
  Status CheckTimeline(const TimelineRow& timeline);
  Status CheckBase(const TimelineRow& timeline);
  Status CheckEvents(const TimelineRow& timeline);
  Status CheckTokens(const TimelineRow& timeline);
  Status NoteCount(const char* sql, const std::string& problem);
  void Note(std::string problem) {
    if (report_.problems.size() < kProblemsMax) report_.problems.push_back(std::move(problem));
  }

  Journal::Impl& journal_;
  Sqlite& database_;
  JournalReport& report_;
  std::map<int64_t, std::string> names_;  ///< Session key -> id.
};

Status Verifier::CheckPages() {
  ASSIGN_OR_RETURN(Query check, database_.Prepare("PRAGMA integrity_check(100)"));
  while (true) {
    ASSIGN_OR_RETURN(const bool row, check.Step());
    if (!row) return OkStatus();
    if (const std::string line = check.Text(0); line != "ok") Note("pages: " + line);
  }
}

Status Verifier::CheckSessions(std::string_view only) {
  ASSIGN_OR_RETURN(Query select, database_.Prepare(BALEEN_SELECT_SESSION
                                                   "AND (?1 = '' OR s.id = ?1) ORDER BY s.key"));
  select.Bind(only);
  while (true) {
    ASSIGN_OR_RETURN(const bool found, select.Step());
    if (!found) return OkStatus();
    ++report_.sessions;
    names_[select.Int(14)] = select.Text(0);
    const auto session = SessionFromRow(select);
    if (!session.ok()) {
      Note(session.status().message());
      continue;
    }
    const Status id = CheckSessionId(session->id);
    if (!id.ok()) Note(id.message());
    const Status settings = CheckJsonObject(session->settings, kSettingsBytesMax);
    if (!settings.ok()) Note("settings of session '" + session->id + "': " + settings.message());
    if (session->timeline == 0) Note("session '" + session->id + "' has lost its timeline");
  }
}

Status Verifier::CheckTimelines(int64_t session) {
  std::vector<TimelineRow> timelines;
  {
    ASSIGN_OR_RETURN(
        Query select,
        database_.Prepare(BALEEN_SELECT_TIMELINE "WHERE ?1 = 0 OR t.session = ?1 ORDER BY t.key"));
    select.Bind(session);
    while (true) {
      ASSIGN_OR_RETURN(const bool found, select.Step());
      if (!found) break;
      auto timeline = TimelineFromRow(select);
      if (!timeline.ok()) {
        Note(timeline.status().message());
        continue;
      }
      timelines.push_back(std::move(*timeline));
    }
  }
  for (TimelineRow& timeline : timelines) {
    const auto name = names_.find(timeline.session_key);
    timeline.session = timeline.session_key == 0 ? "(deleted)"
                       : name == names_.end()    ? "(unknown)"
                                                 : name->second;
    RETURN_IF_ERROR(CheckTimeline(timeline));
  }
  return OkStatus();
}

Status Verifier::CheckTimeline(const TimelineRow& timeline) {
  ++report_.timelines;
  RETURN_IF_ERROR(CheckBase(timeline));
  RETURN_IF_ERROR(CheckEvents(timeline));
  return CheckTokens(timeline);
}

Status Verifier::CheckBase(const TimelineRow& timeline) {
  if (timeline.base == 0) {
    if (timeline.base_seq != 0 || timeline.base_tokens != 0) {
      Note("session '" + timeline.session + "': timeline " + std::to_string(timeline.number) +
           " shares events or tokens of no other");
    }
    return OkStatus();
  }
  const auto history = journal_.Segments(timeline);
  if (history.status().code() == StatusCode::kDataLoss) Note(history.status().message());
  return history.ok() || history.status().code() == StatusCode::kDataLoss ? OkStatus()
                                                                          : history.status();
}

Status Verifier::CheckEvents(const TimelineRow& timeline) {
  const std::string& id = timeline.session;
  ASSIGN_OR_RETURN(Query select,
                   database_.Prepare(BALEEN_SELECT_EVENT "WHERE key > ?1 AND key <= ?2 "
                                                         "ORDER BY key"));
  select.Bind(RowKey(timeline.key, 0)).Bind(RowKey(timeline.key, kRowNumberMax));
  int64_t last = timeline.base_seq;
  int64_t tokens = timeline.base_tokens;
  while (true) {
    ASSIGN_OR_RETURN(const bool found, select.Step());
    if (!found) break;
    ++report_.events;
    const int64_t seq = select.Int(0);
    if (seq != last + 1) {
      Note("session '" + id + "': event " + std::to_string(seq) + " follows " +
           std::to_string(last));
    }
    last = seq;
    const auto event = EventFromRow(select, id, timeline.key);
    const Status status =
        event.ok() ? CheckJsonObject(event->payload, kEventBytesMax) : event.status();
    if (!status.ok()) {
      Note("session '" + id + "', event " + std::to_string(seq) + ": " + status.message());
      continue;
    }
    if (event->tokens < tokens || event->tokens > timeline.tokens) {
      Note("session '" + id + "': event " + std::to_string(seq) + " saw " +
           std::to_string(event->tokens) + " tokens, expected " + std::to_string(tokens) + " to " +
           std::to_string(timeline.tokens));
    }
    tokens = event->tokens;
  }
  if (last != timeline.last_seq) {
    Note("session '" + id + "' ends at event " + std::to_string(last) + ", expected " +
         std::to_string(timeline.last_seq));
  }
  return OkStatus();
}

Status Verifier::CheckTokens(const TimelineRow& timeline) {
  const std::string& id = timeline.session;
  ASSIGN_OR_RETURN(Query select,
                   database_.Prepare(BALEEN_SELECT_TOKENS "WHERE key >= ?1 AND key <= ?2 "
                                                          "ORDER BY key"));
  select.Bind(RowKey(timeline.key, 0)).Bind(RowKey(timeline.key, kRowNumberMax));
  int64_t end = timeline.base_tokens;
  while (true) {
    ASSIGN_OR_RETURN(const bool found, select.Step());
    if (!found) break;
    const int64_t begin = select.Int(0);
    if (begin != end) {
      Note("session '" + id + "': token row at " + std::to_string(begin) + ", expected " +
           std::to_string(end));
    }
    const auto tokens = TokensFromRow(select, id, timeline.key);
    if (!tokens.ok()) Note(tokens.status().message());
    const auto count =
        static_cast<int64_t>(tokens.ok() ? tokens->ids.size() : select.Blob(1).size() / 4);
    report_.tokens += count;
    end = begin + count;
  }
  if (end != timeline.tokens) {
    Note("session '" + id + "' has " + std::to_string(end) + " tokens, expected " +
         std::to_string(timeline.tokens));
  }
  return OkStatus();
}

Status Verifier::NoteCount(const char* sql, const std::string& problem) {
  ASSIGN_OR_RETURN(const int64_t count, database_.IntOf(sql));
  if (count != 0) Note(std::to_string(count) + " " + problem);
  return OkStatus();
}

Status Verifier::CheckStrays() {
  RETURN_IF_ERROR(
      NoteCount("SELECT (SELECT count(*) FROM events WHERE timeline NOT IN "
                "(SELECT key FROM timelines)) + (SELECT count(*) FROM token_runs WHERE timeline "
                "NOT IN (SELECT key FROM timelines))",
                "rows belong to no session"));
  RETURN_IF_ERROR(
      NoteCount("SELECT count(*) FROM sessions s WHERE NOT EXISTS (SELECT 1 FROM timelines t "
                "WHERE t.key = s.current AND t.session = s.key)",
                "sessions stand on a timeline that isn't theirs"));
  RETURN_IF_ERROR(
      NoteCount("SELECT count(*) FROM timelines WHERE session != 0 AND session NOT IN "
                "(SELECT key FROM sessions)",
                "timelines belong to an unknown session"));
  return NoteCount(
      "SELECT count(*) FROM timelines WHERE session = 0 AND key NOT IN "
      "(SELECT base FROM timelines)",
      "timelines of deleted sessions are left that nothing is based on");
}

}  // namespace

Result<JournalReport> Journal::Verify(std::string_view session) {
  int64_t key = 0;
  if (!session.empty()) {
    ASSIGN_OR_RETURN(const SessionKeys keys, impl_->FindSession(session));
    key = keys.key;
  }
  JournalReport report;
  Verifier verifier(*impl_, *impl_->database, report);
  // One snapshot: sessions and their events are read apart, and others write meanwhile.
  RETURN_IF_ERROR(impl_->database->Exec("BEGIN"));
  Status status = verifier.CheckPages();
  if (status.ok()) status = verifier.CheckSessions(session);
  if (status.ok()) status = verifier.CheckTimelines(key);
  if (status.ok() && session.empty()) status = verifier.CheckStrays();
  impl_->database->Exec("ROLLBACK").IgnoreError("nothing was written; closing ends it too");
  if (status.code() == StatusCode::kDataLoss) {
    report.problems.push_back(status.message());
    return report;
  }
  RETURN_IF_ERROR(status);
  return report;
}

}  // namespace baleen
