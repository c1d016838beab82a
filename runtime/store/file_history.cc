#include "runtime/store/file_history.h"

#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <span>
#include <utility>

#include "runtime/store/files.h"
#include "runtime/store/own_database.h"
#include "runtime/store/sqlite.h"

namespace baleen {
namespace {

/// PRAGMA user_version and application_id ("BALF"). On-disk.
constexpr int64_t kHistoryVersion = 2;
constexpr int64_t kHistoryApplicationId = 1111575622;

constexpr const char* kHistorySetup =
    "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; "
    "PRAGMA temp_store = MEMORY;";
// A change with an empty path is a mark. Its `restore` is 0, or the key of that restore's first.
constexpr const char* kHistorySchema = R"sql(
BEGIN IMMEDIATE;
CREATE TABLE contents(
  key INTEGER PRIMARY KEY AUTOINCREMENT,
  digest TEXT NOT NULL UNIQUE,
  size INTEGER NOT NULL,
  bytes BLOB NOT NULL
) STRICT;
CREATE TABLE changes(
  key INTEGER PRIMARY KEY AUTOINCREMENT,
  session TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  timeline INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  restore INTEGER NOT NULL,
  settled INTEGER NOT NULL,
  path TEXT NOT NULL,
  mode INTEGER NOT NULL,
  before TEXT NOT NULL,
  after TEXT NOT NULL,
  new_mode INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX changes_by_session ON changes(session, created_ms);
CREATE INDEX changes_by_before ON changes(before);
PRAGMA application_id = 1111575622;
PRAGMA user_version = 2;
COMMIT;
)sql";
constexpr const char* kFromVersion1 = R"sql(
BEGIN IMMEDIATE;
ALTER TABLE changes ADD COLUMN new_mode INTEGER NOT NULL DEFAULT 0;
PRAGMA user_version = 2;
COMMIT;
)sql";

Result<std::unique_ptr<Sqlite>> OpenHistory(const std::string& path) {
  return OpenOwnDatabase(path, {"a history of files", kHistorySetup, kHistorySchema,
                                kHistoryApplicationId, kHistoryVersion, kFromVersion1});
}

Status MoveAside(const std::string& path) {
  for (const char* suffix : {"", "-wal", "-shm"}) {
    const std::string file = path + suffix;
    if (rename(file.c_str(), (path + ".damaged" + suffix).c_str()) != 0 && errno != ENOENT) {
      return FileError(errno, "rename", file);
    }
  }
  return OkStatus();
}

}  // namespace

class FileHistory::Impl {
 public:
  Impl(std::string file, int64_t limit) : path(std::move(file)), bytes_max(limit) {}

  /// Null: there is none, and `make` is false.
  Result<Sqlite*> Database(bool make) {
    if (database != nullptr) return database.get();
    if (!make && access(path.c_str(), F_OK) != 0) return nullptr;
    auto opened = OpenHistory(path);
    if (opened.status().code() == StatusCode::kDataLoss) {
      notes.push_back("the history of files was damaged and begins anew; the old one is '" + path +
                      ".damaged': " + opened.status().message());
      RETURN_IF_ERROR(MoveAside(path));
      opened = OpenHistory(path);
    }
    ASSIGN_OR_RETURN(database, std::move(opened));
    ASSIGN_OR_RETURN(kept_bytes, database->IntOf("SELECT coalesce(sum(size), 0) FROM contents"));
    return database.get();
  }

  Status Keep(Sqlite* opened, const std::string& digest, std::string_view content) {
    const auto size = static_cast<int64_t>(content.size());
    if (size > bytes_max) return OkStatus();
    {
      ASSIGN_OR_RETURN(Query insert,
                       opened->Prepare("INSERT INTO contents(digest, size, bytes) "
                                       "VALUES(?1, ?2, ?3) ON CONFLICT(digest) DO NOTHING"));
      RETURN_IF_ERROR(insert.Bind(digest)
                          .Bind(size)
                          .BindBlob(std::as_bytes(std::span(content.data(), content.size())))
                          .Run());
      if (sqlite3_changes(opened->handle()) == 0) return OkStatus();
    }
    kept_bytes += size;
    while (kept_bytes > bytes_max) {
      int64_t oldest = 0;
      {
        ASSIGN_OR_RETURN(Query select,
                         opened->Prepare("SELECT key, size FROM contents ORDER BY key LIMIT 1"));
        ASSIGN_OR_RETURN(const bool row, select.Step());
        if (!row) break;
        oldest = select.Int(0);
        kept_bytes -= select.Int(1);
      }
      ASSIGN_OR_RETURN(Query erase, opened->Prepare("DELETE FROM contents WHERE key = ?1"));
      RETURN_IF_ERROR(erase.Bind(oldest).Run());
    }
    return OkStatus();
  }

  Status Insert(Sqlite* opened, const FileOwner& owner, const FilePlace& place,
                const FileChange& change, int64_t restore) {
    ASSIGN_OR_RETURN(
        Query insert,
        opened->Prepare("INSERT INTO changes(session, created_ms, timeline, seq, restore, settled, "
                        "path, mode, before, after, new_mode) "
                        "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"));
    return insert.Bind(owner.session)
        .Bind(owner.created_ms)
        .Bind(place.timeline)
        .Bind(place.seq)
        .Bind(restore)
        .Bind(static_cast<int64_t>(change.settled ? 1 : 0))
        .Bind(change.path)
        .Bind(static_cast<int64_t>(change.mode))
        .Bind(change.before)
        .Bind(change.after)
        .Bind(static_cast<int64_t>(change.new_mode))
        .Run();
  }

  /// First column of a query about an owner; `fallback` without a row.
  Result<int64_t> IntFor(Query query, int64_t fallback) {
    ASSIGN_OR_RETURN(const bool row, query.Step());
    return row ? query.Int(0) : fallback;
  }

  std::mutex mutex;
  const std::string path;
  const int64_t bytes_max;
  std::unique_ptr<Sqlite> database;
  int64_t kept_bytes = 0;
  std::vector<std::string> notes;
};

FileHistory::FileHistory(std::string path, int64_t bytes_max)
    : impl_(std::make_unique<Impl>(std::move(path), bytes_max)) {}
FileHistory::~FileHistory() = default;

Result<int64_t> FileHistory::Begin(const FileOwner& owner, const FilePlace& place,
                                   const FileChange& change, std::string_view before,
                                   int64_t restore) {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  ASSIGN_OR_RETURN(Sqlite * database, impl_->Database(true));
  int64_t key = 0;
  RETURN_IF_ERROR(RunInTransaction(*database, [&]() -> Status {
    if (!change.before.empty()) {
      RETURN_IF_ERROR(impl_->Keep(database, change.before, before));
    }
    RETURN_IF_ERROR(impl_->Insert(database, owner, place, change, std::max<int64_t>(restore, 0)));
    key = sqlite3_last_insert_rowid(database->handle());
    if (restore != kNewRestore) return OkStatus();
    ASSIGN_OR_RETURN(Query name,
                     database->Prepare("UPDATE changes SET restore = ?1 WHERE key = ?1"));
    return name.Bind(key).Run();
  }));
  RETURN_IF_ERROR(database->SyncLog());
  return key;
}

Status FileHistory::Settle(int64_t key, bool happened) {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  ASSIGN_OR_RETURN(Sqlite * database, impl_->Database(true));
  ASSIGN_OR_RETURN(Query settle,
                   happened ? database->Prepare("UPDATE changes SET settled = 1 WHERE key = ?1")
                            : database->Prepare("DELETE FROM changes WHERE key = ?1"));
  return settle.Bind(key).Run();
}

Status FileHistory::Mark(const FileOwner& owner, const FilePlace& place) {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  ASSIGN_OR_RETURN(Sqlite * database, impl_->Database(false));
  if (database == nullptr) return OkStatus();  // nobody has changed anything
  FileChange mark;
  mark.settled = true;
  return impl_->Insert(database, owner, place, mark, 0);
}

Result<int64_t> FileHistory::KeyAt(const FileOwner& owner, const std::vector<FilePlace>& places) {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  ASSIGN_OR_RETURN(Sqlite * database, impl_->Database(false));
  int64_t newest = 0;
  if (database == nullptr) return newest;
  for (const FilePlace& place : places) {
    ASSIGN_OR_RETURN(
        Query select,
        database->Prepare("SELECT key FROM changes WHERE session = ?1 AND created_ms = "
                          "?2 AND restore = 0 AND timeline = ?3 AND seq <= ?4 "
                          "ORDER BY key DESC LIMIT 1"));
    select.Bind(owner.session).Bind(owner.created_ms).Bind(place.timeline).Bind(place.seq);
    ASSIGN_OR_RETURN(const int64_t key, impl_->IntFor(std::move(select), 0));
    newest = std::max(newest, key);
  }
  return newest;
}

Result<int64_t> FileHistory::KeyBeforeRestore(const FileOwner& owner) {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  ASSIGN_OR_RETURN(Sqlite * database, impl_->Database(false));
  int64_t first = 0;
  if (database != nullptr) {
    ASSIGN_OR_RETURN(Query select,
                     database->Prepare("SELECT coalesce(max(restore), 0) FROM changes WHERE "
                                       "session = ?1 AND created_ms = ?2"));
    select.Bind(owner.session).Bind(owner.created_ms);
    ASSIGN_OR_RETURN(first, impl_->IntFor(std::move(select), 0));
  }
  if (first > 0) return first - 1;
  return NotFoundError("no files were restored for session '" + owner.session + "'");
}

Result<std::vector<FileChange>> FileHistory::ChangesAfter(const FileOwner& owner, int64_t key) {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  ASSIGN_OR_RETURN(Sqlite * database, impl_->Database(false));
  std::vector<FileChange> changes;
  if (database == nullptr) return changes;
  ASSIGN_OR_RETURN(
      Query select,
      database->Prepare("SELECT key, path, before, after, mode, new_mode, settled FROM changes "
                        "WHERE session = ?1 AND created_ms = ?2 AND key > ?3 AND "
                        "path != '' ORDER BY key"));
  select.Bind(owner.session).Bind(owner.created_ms).Bind(key);
  while (true) {
    ASSIGN_OR_RETURN(const bool row, select.Step());
    if (!row) return changes;
    if (std::ssize(changes) >= kChangesMax) {
      return ResourceExhaustedError("session '" + owner.session + "' changed files more than " +
                                    std::to_string(kChangesMax) +
                                    " times since; rewind in smaller steps");
    }
    changes.push_back({select.Int(0), select.Text(1), select.Text(2), select.Text(3),
                       static_cast<uint32_t>(select.Int(4)), static_cast<uint32_t>(select.Int(5)),
                       select.Int(6) != 0});
  }
}

Result<bool> FileHistory::Keeps(const std::string& digest) {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  ASSIGN_OR_RETURN(Sqlite * database, impl_->Database(false));
  if (database == nullptr) return false;
  ASSIGN_OR_RETURN(Query select, database->Prepare("SELECT 1 FROM contents WHERE digest = ?1"));
  select.Bind(digest);
  return select.Step();
}

Result<std::string> FileHistory::Content(const std::string& digest) {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  ASSIGN_OR_RETURN(Sqlite * database, impl_->Database(false));
  const Status gone = NotFoundError("the content " + digest + " isn't kept");
  if (database == nullptr) return gone;
  ASSIGN_OR_RETURN(Query select, database->Prepare("SELECT bytes FROM contents WHERE digest = ?1"));
  select.Bind(digest);
  ASSIGN_OR_RETURN(const bool row, select.Step());
  if (!row) return gone;
  const auto bytes = select.Blob(0);
  std::string content(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (FileDigest(content) == digest) return content;
  return DataLossError("the kept content " + digest + " is damaged");
}

Result<std::vector<FileOwner>> FileHistory::Owners() {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  ASSIGN_OR_RETURN(Sqlite * database, impl_->Database(false));
  std::vector<FileOwner> owners;
  if (database == nullptr) return owners;
  ASSIGN_OR_RETURN(Query select,
                   database->Prepare("SELECT DISTINCT session, created_ms FROM changes"));
  while (true) {
    ASSIGN_OR_RETURN(const bool row, select.Step());
    if (!row) return owners;
    owners.push_back({select.Text(0), select.Int(1)});
  }
}

Status FileHistory::Forget(const FileOwner& owner) {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  ASSIGN_OR_RETURN(Sqlite * database, impl_->Database(false));
  if (database == nullptr) return OkStatus();
  RETURN_IF_ERROR(RunInTransaction(*database, [&]() -> Status {
    {
      ASSIGN_OR_RETURN(Query erase, database->Prepare("DELETE FROM changes WHERE session = ?1 AND "
                                                      "created_ms = ?2"));
      RETURN_IF_ERROR(erase.Bind(owner.session).Bind(owner.created_ms).Run());
    }
    return database->Exec(
        "DELETE FROM contents WHERE NOT EXISTS "
        "(SELECT 1 FROM changes WHERE before = contents.digest)");
  }));
  ASSIGN_OR_RETURN(impl_->kept_bytes,
                   database->IntOf("SELECT coalesce(sum(size), 0) FROM contents"));
  return database->Exec("PRAGMA incremental_vacuum");
}

Result<FileHistoryReport> FileHistory::Verify() {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  FileHistoryReport report;
  auto opened = impl_->Database(false);
  RETURN_IF_ERROR(opened.status());
  Sqlite* const database = *opened;
  if (database == nullptr) return report;
  const auto walk = [&]() -> Status {
    ASSIGN_OR_RETURN(Query check, database->Prepare("PRAGMA integrity_check(20)"));
    while (true) {
      ASSIGN_OR_RETURN(const bool row, check.Step());
      if (!row) break;
      if (check.Text(0) != "ok") report.problems.push_back("history of files: " + check.Text(0));
    }
    ASSIGN_OR_RETURN(report.changes,
                     database->IntOf("SELECT count(*) FROM changes WHERE path != ''"));
    ASSIGN_OR_RETURN(Query select, database->Prepare("SELECT digest, size, bytes FROM contents"));
    while (true) {
      ASSIGN_OR_RETURN(const bool row, select.Step());
      if (!row) return OkStatus();
      const auto bytes = select.Blob(2);
      ++report.contents;
      report.content_bytes += select.Int(1);
      const std::string_view content(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      if (FileDigest(content) != select.Text(0)) {
        report.problems.push_back("history of files: the content " + select.Text(0) +
                                  " is damaged; it can't be restored");
      }
    }
  };
  if (const Status status = walk(); !status.ok()) {
    report.problems.push_back("history of files: " + status.message());
  }
  return report;
}

Status FileHistory::Backup(const std::string& path) {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  ASSIGN_OR_RETURN(Sqlite * database, impl_->Database(false));
  return database == nullptr ? OkStatus() : database->CopyTo(path);
}

std::vector<std::string> FileHistory::Notes() {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  return impl_->notes;
}

}  // namespace baleen
