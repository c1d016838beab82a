#include "runtime/store/journal_schema.h"

#include <unistd.h>

#include <algorithm>

namespace baleen {
namespace {

// On-disk: version 5. A change here is a new version with a migration, never an edit.
// A commit writes each page that it touches whole, so rows lie in few trees, and new ones at the
// end of theirs: a session is in the row of its first timeline, whose key is the session's; events
// and token rows follow one another under their timeline's key (RowKey). Answers have no index: the
// process that looks them up keeps their hashes. Each commit stamps its number (journal_anchor.h)
// into the row of a timeline that it writes anyway, or into commits if it writes none. Of events
// only rare kinds have an index, which costs other commits nothing (kIndexedKinds).
constexpr const char* kJournalSchema = R"sql(
CREATE TABLE settings(
  key INTEGER PRIMARY KEY,
  text TEXT NOT NULL,
  checksum INTEGER NOT NULL
) STRICT;
CREATE TABLE timelines(
  key INTEGER PRIMARY KEY,
  session INTEGER NOT NULL,
  number INTEGER NOT NULL,
  base INTEGER NOT NULL,
  base_seq INTEGER NOT NULL,
  base_tokens INTEGER NOT NULL,
  previous INTEGER NOT NULL,
  created_ms INTEGER NOT NULL,
  updated_ms INTEGER NOT NULL,
  tokens INTEGER NOT NULL,
  last_seq INTEGER NOT NULL,
  checksum INTEGER NOT NULL,
  id TEXT,
  title TEXT,
  settings INTEGER,
  pinned INTEGER,
  current INTEGER,
  session_checksum INTEGER,
  commit_number INTEGER
) STRICT;
CREATE UNIQUE INDEX timelines_by_id ON timelines(id) WHERE id IS NOT NULL;
CREATE UNIQUE INDEX timelines_of_rewinds ON timelines(session, number)
  WHERE number > 1 AND session != 0;
CREATE VIEW sessions AS
  SELECT key, id, title, settings, created_ms, pinned, current, session_checksum
  FROM timelines WHERE id IS NOT NULL;
CREATE TABLE spent_timelines(key INTEGER PRIMARY KEY) STRICT;
CREATE TABLE events(
  key INTEGER PRIMARY KEY,
  kind TEXT NOT NULL,
  time_ms INTEGER NOT NULL,
  version INTEGER NOT NULL,
  tokens INTEGER NOT NULL,
  checksum INTEGER NOT NULL,
  payload TEXT NOT NULL,
  timeline INTEGER AS (key >> 32) VIRTUAL,
  seq INTEGER AS (key & 4294967295) VIRTUAL
) STRICT;
CREATE INDEX events_of_approvals ON events(kind)
  WHERE kind IN ('approval_requested', 'approval_resolved');
CREATE TABLE token_runs(
  key INTEGER PRIMARY KEY,
  checksum INTEGER NOT NULL,
  ids BLOB NOT NULL,
  logits_hashes BLOB,
  timeline INTEGER AS (key >> 32) VIRTUAL,
  begin INTEGER AS (key & 4294967295) VIRTUAL
) STRICT;
CREATE TABLE answers(
  key INTEGER PRIMARY KEY,
  hash INTEGER NOT NULL,
  time_ms INTEGER NOT NULL,
  request_id TEXT NOT NULL,
  method TEXT NOT NULL,
  answer TEXT NOT NULL
) STRICT;
CREATE TABLE commits(key INTEGER PRIMARY KEY, number INTEGER NOT NULL) STRICT;
PRAGMA application_id = 1111575630;
PRAGMA user_version = 5;
)sql";
static_assert(kJournalApplicationId == 1111575630);

Status NotAJournal(const std::string& path, const std::string& found) {
  return DataLossError("'" + path + "' is not a journal: " + found +
                       "; check the path, or restore the journal from a backup");
}

/// Creates the schema unless another process did so meanwhile. SQLite's smallest pages: a commit
/// writes each page that it touches whole, a fork 6 of them for under 300 bytes of rows.
Status CreateSchema(Sqlite& database) {
  RETURN_IF_ERROR(
      database.Exec("PRAGMA page_size = 512; PRAGMA journal_mode = WAL; BEGIN IMMEDIATE;"));
  ASSIGN_OR_RETURN(const int64_t tables, database.IntOf("SELECT count(*) FROM sqlite_schema"));
  Status status = tables == 0 ? database.Exec(kJournalSchema) : OkStatus();
  if (status.ok()) status = database.Exec("COMMIT");
  if (status.ok()) return OkStatus();
  if (database.InTransaction())
    database.Exec("ROLLBACK").IgnoreError("the first error is reported");
  return status;
}

/// Copies the journal beside itself, complete and synced before it returns.
Status BackUp(Sqlite& database, int64_t version) {
  const std::string target = database.path() + ".v" + std::to_string(version) + "-backup";
  unlink(target.c_str());  // of an attempt that failed
  return database.CopyTo(target);
}

}  // namespace

std::span<const JournalMigration> JournalMigrations() {
  static constexpr JournalMigration kMigrations[] = {
      {1, MigrateFrom1}, {2, MigrateFrom2}, {3, MigrateFrom3}, {4, MigrateFrom4}};
  return kMigrations;
}

Status MigrateSchema(Sqlite& database, int64_t from, int64_t target,
                     std::span<const JournalMigration> migrations) {
  RETURN_IF_ERROR(BackUp(database, from).WithContext("backup before migration"));
  RETURN_IF_ERROR(database.Exec("BEGIN IMMEDIATE"));
  Status status;
  for (int64_t version = from; version < target && status.ok(); ++version) {
    const auto step = std::find_if(migrations.begin(), migrations.end(),
                                   [&](const JournalMigration& m) { return m.from == version; });
    if (step == migrations.end()) {
      status = InternalError("no migration from journal version " + std::to_string(version));
      break;
    }
    status = step->apply(database);
  }
  const std::string stamp = "PRAGMA user_version = " + std::to_string(target);
  if (status.ok()) status = database.Exec(stamp.c_str());
  if (status.ok()) status = database.Exec("COMMIT");
  if (status.ok()) return OkStatus();
  if (database.InTransaction())
    database.Exec("ROLLBACK").IgnoreError("the first error is reported");
  return status.WithContext("migration of '" + database.path() + "' from version " +
                            std::to_string(from) + " to " + std::to_string(target));
}

Status PrepareSchema(Sqlite& database, SchemaOptions options) {
  ASSIGN_OR_RETURN(int64_t application, database.IntOf("PRAGMA application_id"));
  ASSIGN_OR_RETURN(int64_t version, database.IntOf("PRAGMA user_version"));
  ASSIGN_OR_RETURN(const int64_t tables, database.IntOf("SELECT count(*) FROM sqlite_schema"));
  if (tables == 0 && application == 0 && version == 0) {
    if (options.read_only || options.must_exist) {
      return NotAJournal(database.path(), "the file is empty");
    }
    RETURN_IF_ERROR(CreateSchema(database));
    ASSIGN_OR_RETURN(application, database.IntOf("PRAGMA application_id"));
    ASSIGN_OR_RETURN(version, database.IntOf("PRAGMA user_version"));
  }
  if (application != kJournalApplicationId) {
    return NotAJournal(database.path(), "SQLite application id is " + std::to_string(application) +
                                            ", expected " + std::to_string(kJournalApplicationId));
  }
  if (version > kJournalVersion) {
    return FailedPreconditionError(
        "journal '" + database.path() + "' has version " + std::to_string(version) +
            ", this build knows versions up to " + std::to_string(kJournalVersion) +
            "; open it with a newer build, or restore a backup of the older version",
        "NEWER_VERSION");
  }
  if (version < 1) return NotAJournal(database.path(), "version " + std::to_string(version));
  if (version == kJournalVersion) return OkStatus();
  if (options.read_only) {
    return FailedPreconditionError("journal '" + database.path() + "' has the older version " +
                                   std::to_string(version) +
                                   "; open it for writing once, which migrates it");
  }
  return MigrateSchema(database, version, kJournalVersion, JournalMigrations());
}

}  // namespace baleen
