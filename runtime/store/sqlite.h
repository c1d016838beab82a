// Sqlite and Query: RAII over one SQLite connection and its prepared statements, with errors as
// Status.
//
// Internal to runtime/store. Knows no schema. Used by journal*.cc.
#pragma once

#include <sqlite3.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "tools_sdk/status.h"

namespace baleen {

/// One use of a prepared statement; resets it when it goes out of scope.
/// Bound texts and blobs are borrowed until then. Bind errors are reported by the next Step or Run.
class Query {
 public:
  Query(sqlite3_stmt* statement, const std::string* path) : statement_(statement), path_(path) {}
  ~Query();
  Query(Query&& other) noexcept;
  Query& operator=(Query&&) = delete;

  Query& Bind(int64_t value);
  Query& Bind(std::string_view text);
  Query& BindBlob(std::span<const std::byte> bytes);
  Query& BindNull();

  /// True: a row is there. False: done.
  Result<bool> Step();
  /// Steps to the end; for statements that return no rows.
  Status Run();

  int64_t Int(int column) const;
  std::string Text(int column) const;
  /// Borrows: until the next Step.
  std::span<const std::byte> Blob(int column) const;

 private:
  sqlite3_stmt* statement_;
  const std::string* path_;
  int next_ = 1;
  int bind_rc_ = SQLITE_OK;
};

/// What tells one filling of a write-ahead log from the next: the first counts up by one each time
/// that the log is begun anew in place.
struct LogSalts {
  uint32_t first = 0;
  uint32_t second = 0;
  bool operator==(const LogSalts&) const = default;
};

/// Threads: one at a time.
class Sqlite {
 public:
  struct Options {
    std::string path;
    bool read_only = false;
    int busy_timeout_ms = 5000;
    std::string vfs = {};  ///< Name of a registered VFS; empty: the system's.
    /// The file alone, without its log and without locks: nobody else may have it open.
    bool immutable = false;
  };
  static Result<std::unique_ptr<Sqlite>> Open(const Options& options);
  ~Sqlite();
  Sqlite(const Sqlite&) = delete;
  Sqlite& operator=(const Sqlite&) = delete;

  /// Runs statements that return nothing of interest.
  Status Exec(const char* sql);
  /// A statement by its text, prepared once per connection. `sql` must be a literal.
  Result<Query> Prepare(const char* sql);
  /// First column of the first row, e.g. of a PRAGMA. Errors: INTERNAL if there is no row.
  Result<int64_t> IntOf(const char* sql);
  /// fsync of the write-ahead log through SQLite's own file descriptor (and of its directory entry
  /// if it was not synced before).
  Status SyncLog();
  /// From now on the log isn't copied into the file by itself, and TakeLogFrames tells its length.
  void CountLogFrames();
  /// Pages in the log after the newest commit of this connection since the last call; 0: it wrote
  /// none.
  int64_t TakeLogFrames() { return std::exchange(log_frames_, 0); }
  /// Copies into the file what nobody who reads an older state needs in the log.
  Status CopyReadLog();
  /// Of the log as it is filled now. Errors: INTERNAL (nothing in it).
  Result<LogSalts> ReadLogSalts();
  /// Copies all of the log into the file, both synced, and says how many pages it holds; -1: not
  /// all, since somebody reads an older state or writes.
  Result<int64_t> CopyLog();
  enum class LogOnClose { kRemove, kKeep };
  /// What the last connection that is closed does to the log; SQLite's default is kRemove.
  void SetLogOnClose(LogOnClose what);
  /// A complete, synced copy as of now in the new file `path`; other connections may write
  /// meanwhile. Errors: ALREADY_EXISTS; a failed copy leaves no file.
  Status CopyTo(const std::string& path);
  /// True while a transaction is open.
  bool InTransaction() const;
  sqlite3* handle() { return handle_; }
  const std::string& path() const { return path_; }

 private:
  /// The write-ahead log's, while it is open.
  Result<sqlite3_file*> LogFile();

  Sqlite(sqlite3* handle, std::string path) : handle_(handle), path_(std::move(path)) {}
  sqlite3* handle_;
  std::string path_;
  int64_t log_frames_ = 0;
  std::map<const char*, sqlite3_stmt*> statements_;
};

/// Maps an SQLite result code to a status that says what to do.
/// `handle` may be null (then `code` alone is described).
Status SqliteError(int code, sqlite3* handle, const std::string& path);

}  // namespace baleen
