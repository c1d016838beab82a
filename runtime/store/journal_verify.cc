// Journal::Verify: reads everything and lists what is wrong.
#include "runtime/store/journal.h"
#include "runtime/store/journal_codec.h"
#include "runtime/store/journal_impl.h"

namespace baleen {
namespace {

constexpr size_t kProblemsMax = 100;

/// One walk over the journal; collects into `report`.
class Verifier {
 public:
  Verifier(Sqlite& database, JournalReport& report) : database_(database), report_(report) {}

  Status CheckPages();
  Status CheckSessions(std::string_view only);

 private:
  struct Row {
    int64_t key = 0;
    SessionRecord session;
  };
  Status CheckEvents(const Row& row);
  Status CheckTokens(const Row& row);
  Status CheckOrphans();
  void Note(std::string problem) {
    if (report_.problems.size() < kProblemsMax) report_.problems.push_back(std::move(problem));
  }

  Sqlite& database_;
  JournalReport& report_;
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
  std::vector<Row> rows;
  {
    ASSIGN_OR_RETURN(
        Query select,
        database_.Prepare("SELECT id, title, settings, created_ms, updated_ms, tokens, last_seq, "
                          "checksum, key FROM sessions WHERE ?1 = '' OR id = ?1 ORDER BY key"));
    select.Bind(only);
    while (true) {
      ASSIGN_OR_RETURN(const bool found, select.Step());
      if (!found) break;
      auto session = SessionFromRow(select);
      if (!session.ok()) {
        Note(session.status().message());
        continue;
      }
      rows.push_back({select.Int(8), std::move(*session)});
    }
  }
  for (const Row& row : rows) {
    ++report_.sessions;
    const Status id = CheckSessionId(row.session.id);
    if (!id.ok()) Note(id.message());
    const Status settings = CheckJsonObject(row.session.settings, kSettingsBytesMax);
    if (!settings.ok()) Note("settings of session '" + row.session.id + "': " + settings.message());
    RETURN_IF_ERROR(CheckEvents(row));
    RETURN_IF_ERROR(CheckTokens(row));
  }
  return only.empty() ? CheckOrphans() : OkStatus();
}

Status Verifier::CheckEvents(const Row& row) {
  const std::string& id = row.session.id;
  ASSIGN_OR_RETURN(Query select,
                   database_.Prepare("SELECT seq, time_ms, kind, version, payload, checksum "
                                     "FROM events WHERE session = ?1 ORDER BY seq"));
  select.Bind(row.key);
  int64_t last = 0;
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
    const auto event = EventFromRow(select, id, row.key);
    const Status status =
        event.ok() ? CheckJsonObject(event->payload, kEventBytesMax) : event.status();
    if (!status.ok()) {
      Note("session '" + id + "', event " + std::to_string(seq) + ": " + status.message());
    }
  }
  if (last != row.session.last_seq) {
    Note("session '" + id + "' ends at event " + std::to_string(last) + ", expected " +
         std::to_string(row.session.last_seq));
  }
  return OkStatus();
}

Status Verifier::CheckTokens(const Row& row) {
  const std::string& id = row.session.id;
  ASSIGN_OR_RETURN(Query select,
                   database_.Prepare("SELECT begin, ids, logits_hashes, checksum FROM token_runs "
                                     "WHERE session = ?1 ORDER BY begin"));
  select.Bind(row.key);
  int64_t end = 0;
  while (true) {
    ASSIGN_OR_RETURN(const bool found, select.Step());
    if (!found) break;
    const int64_t begin = select.Int(0);
    if (begin != end || begin % kTokenRowIds != 0) {
      Note("session '" + id + "': token row at " + std::to_string(begin) + ", expected " +
           std::to_string(end));
    }
    const auto tokens = TokensFromRow(select, id, row.key);
    if (!tokens.ok()) Note(tokens.status().message());
    const auto count =
        static_cast<int64_t>(tokens.ok() ? tokens->ids.size() : select.Blob(1).size() / 4);
    report_.tokens += count;
    end = begin + count;
  }
  if (end != row.session.tokens) {
    Note("session '" + id + "' has " + std::to_string(end) + " tokens, expected " +
         std::to_string(row.session.tokens));
  }
  return OkStatus();
}

Status Verifier::CheckOrphans() {
  ASSIGN_OR_RETURN(const int64_t orphans,
                   database_.IntOf("SELECT (SELECT count(*) FROM events WHERE session NOT IN "
                                   "(SELECT key FROM sessions)) + (SELECT count(*) FROM token_runs "
                                   "WHERE session NOT IN (SELECT key FROM sessions))"));
  if (orphans != 0) Note(std::to_string(orphans) + " rows belong to no session");
  return OkStatus();
}

}  // namespace

Result<JournalReport> Journal::Verify(std::string_view session) {
  if (!session.empty()) RETURN_IF_ERROR(GetSession(session).status());
  JournalReport report;
  Verifier verifier(*impl_->database, report);
  // One snapshot: sessions and their events are read apart, and others write meanwhile.
  RETURN_IF_ERROR(impl_->database->Exec("BEGIN"));
  Status status = verifier.CheckPages();
  if (status.ok()) status = verifier.CheckSessions(session);
  impl_->database->Exec("ROLLBACK").IgnoreError("nothing was written; closing ends it too");
  if (status.code() == StatusCode::kDataLoss) {
    report.problems.push_back(status.message());
    return report;
  }
  RETURN_IF_ERROR(status);
  return report;
}

}  // namespace baleen
