#include "runtime/store/sqlite.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <utility>

#include "runtime/store/files.h"

namespace baleen {
namespace {

/// What SQLite and the system said, for the end of a message.
std::string Cause(int code, sqlite3* handle, int system_errno) {
  std::string cause = " (SQLite code " + std::to_string(code) + ": ";
  cause += handle != nullptr ? sqlite3_errmsg(handle) : sqlite3_errstr(code);
  if (system_errno != 0) cause += std::string(", ") + std::strerror(system_errno);
  return cause + ")";
}

Status CannotOpen(int system_errno, const std::string& where, const std::string& cause) {
  if (system_errno == EACCES || system_errno == EPERM || system_errno == EROFS) {
    return PermissionDeniedError(where +
                                 " cannot be opened: permission denied; give this user read "
                                 "and write access to the file and its directory" +
                                 cause);
  }
  if (system_errno == ENOENT) {
    return NotFoundError(where + " does not exist; check the path" + cause);
  }
  return FailedPreconditionError(where +
                                 " cannot be opened; expected a regular file in a writable "
                                 "directory" +
                                 cause);
}

/// As SQLite reads names with parameters: whatever could mean something there is escaped.
std::string ImmutableUri(const std::string& path) {
  std::string uri = "file:";
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || c == '/' || c == '.' || c == '_' || c == '-') {
      uri += c;
      continue;
    }
    constexpr std::string_view kDigits = "0123456789abcdef";
    uri += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
  }
  return uri + "?immutable=1";
}

/// Pages of one step of a copy: 4 MiB.
constexpr int kCopyStepPages = 1024;

/// Requires: `source` is in a transaction, so that all steps see one state.
Status CopyPages(sqlite3* source, sqlite3* target, const std::string& path) {
  sqlite3_backup* backup = sqlite3_backup_init(target, "main", source, "main");
  if (backup == nullptr) return SqliteError(sqlite3_extended_errcode(target), target, path);
  int rc = SQLITE_OK;
  while (rc == SQLITE_OK) rc = sqlite3_backup_step(backup, kCopyStepPages);
  const int finish_rc = sqlite3_backup_finish(backup);
  if (rc == SQLITE_DONE) rc = finish_rc;
  return rc == SQLITE_OK ? OkStatus() : SqliteError(rc, target, path);
}

}  // namespace

Status SqliteError(int code, sqlite3* handle, const std::string& path) {
  const int system_errno = handle != nullptr ? sqlite3_system_errno(handle) : 0;
  const std::string where = "journal '" + path + "'";
  const std::string cause = Cause(code, handle, system_errno);
  const Status disk_full = ResourceExhaustedError(
      where + ": the disk is full; free space on its file system, then retry" + cause, "DISK_FULL");
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return FailedPreconditionError(
          where + " is locked by another process; stop the other writer, then retry" + cause,
          "LOCKED");
    case SQLITE_FULL: return disk_full;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return DataLossError(where + " is damaged or not a journal; restore it from a backup" +
                           cause);
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return PermissionDeniedError(
          where + " is not writable; give this user write access to the file and its directory" +
          cause);
    case SQLITE_CANTOPEN: return CannotOpen(system_errno, where, cause);
    case SQLITE_NOMEM:
    case SQLITE_TOOBIG:
      return ResourceExhaustedError(where + ": out of memory or a value is too large" + cause);
    case SQLITE_IOERR:
      if (system_errno == ENOSPC || system_errno == EDQUOT) return disk_full;
      return InternalError(where + ": input/output error; check the disk, then reopen" + cause,
                           "DISK_ERROR");
    default: return InternalError(where + ": unexpected result" + cause);
  }
}

Query::Query(Query&& other) noexcept
    : statement_(std::exchange(other.statement_, nullptr)),
      path_(other.path_),
      next_(other.next_),
      bind_rc_(other.bind_rc_) {}

Query::~Query() {
  if (statement_ == nullptr) return;
  sqlite3_reset(statement_);  // Repeats the last Step's error, which was reported then.
  sqlite3_clear_bindings(statement_);
}

Query& Query::Bind(int64_t value) {
  const int rc = sqlite3_bind_int64(statement_, next_++, value);
  if (bind_rc_ == SQLITE_OK) bind_rc_ = rc;
  return *this;
}

Query& Query::Bind(std::string_view text) {
  // A null pointer would bind NULL instead of the empty text.
  const char* begin = text.data() != nullptr ? text.data() : "";
  const int rc =
      sqlite3_bind_text64(statement_, next_++, begin, text.size(), SQLITE_STATIC, SQLITE_UTF8);
  if (bind_rc_ == SQLITE_OK) bind_rc_ = rc;
  return *this;
}

Query& Query::BindBlob(std::span<const std::byte> bytes) {
  const void* begin = bytes.data() != nullptr ? static_cast<const void*>(bytes.data()) : "";
  const int rc = sqlite3_bind_blob64(statement_, next_++, begin, bytes.size(), SQLITE_STATIC);
  if (bind_rc_ == SQLITE_OK) bind_rc_ = rc;
  return *this;
}

Query& Query::BindNull() {
  const int rc = sqlite3_bind_null(statement_, next_++);
  if (bind_rc_ == SQLITE_OK) bind_rc_ = rc;
  return *this;
}

Result<bool> Query::Step() {
  sqlite3* handle = sqlite3_db_handle(statement_);
  if (bind_rc_ != SQLITE_OK) return SqliteError(bind_rc_, handle, *path_);
  const int rc = sqlite3_step(statement_);
  if (rc == SQLITE_ROW) return true;
  if (rc == SQLITE_DONE) return false;
  return SqliteError(rc, handle, *path_);
}

Status Query::Run() {
  while (true) {
    ASSIGN_OR_RETURN(const bool row, Step());
    if (!row) return OkStatus();
  }
}

int64_t Query::Int(int column) const { return sqlite3_column_int64(statement_, column); }

std::string Query::Text(int column) const {
  const auto* text = sqlite3_column_text(statement_, column);
  if (text == nullptr) return {};
  const int size_bytes = sqlite3_column_bytes(statement_, column);
  return std::string(reinterpret_cast<const char*>(text), static_cast<size_t>(size_bytes));
}

std::span<const std::byte> Query::Blob(int column) const {
  const void* bytes = sqlite3_column_blob(statement_, column);
  if (bytes == nullptr) return {};
  const int size_bytes = sqlite3_column_bytes(statement_, column);
  return {static_cast<const std::byte*>(bytes), static_cast<size_t>(size_bytes)};
}

Result<std::unique_ptr<Sqlite>> Sqlite::Open(const Options& options) {
  sqlite3* handle = nullptr;
  // The file is created by the caller with its mode; NOMUTEX: one thread at a time per object.
  int flags = options.read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
  if (options.immutable) flags |= SQLITE_OPEN_URI;
  const std::string name = options.immutable ? ImmutableUri(options.path) : options.path;
  const int rc =
      sqlite3_open_v2(name.c_str(), &handle, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
                      options.vfs.empty() ? nullptr : options.vfs.c_str());
  std::unique_ptr<Sqlite> connection(new Sqlite(handle, options.path));
  if (rc != SQLITE_OK) return SqliteError(rc, handle, options.path);
  sqlite3_busy_timeout(handle, options.busy_timeout_ms);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  return connection;
}

Sqlite::~Sqlite() {
  for (auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close_v2(handle_);
}

Status Sqlite::Exec(const char* sql) {
  const int rc = sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr);
  return rc == SQLITE_OK ? OkStatus() : SqliteError(rc, handle_, path_);
}

Result<Query> Sqlite::Prepare(const char* sql) {
  sqlite3_stmt*& statement = statements_[sql];
  if (statement == nullptr) {
    const int rc =
        sqlite3_prepare_v3(handle_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
    if (rc != SQLITE_OK) return SqliteError(rc, handle_, path_);
  }
  return Query(statement, &path_);
}

Result<int64_t> Sqlite::IntOf(const char* sql) {
  ASSIGN_OR_RETURN(Query query, Prepare(sql));
  ASSIGN_OR_RETURN(const bool row, query.Step());
  if (!row) return InternalError("journal '" + path_ + "': no row from: " + sql);
  return query.Int(0);
}

Status Sqlite::SyncLog() {
  // The log's own file object: its xSync is what a FULL commit calls.
  ASSIGN_OR_RETURN(sqlite3_file* const log, LogFile());
  const int sync_rc = log->pMethods->xSync(log, SQLITE_SYNC_NORMAL);
  return sync_rc == SQLITE_OK ? OkStatus() : SqliteError(sync_rc, nullptr, path_);
}

void Sqlite::CountLogFrames() {
  // In place of SQLite's own hook, which copies.
  sqlite3_wal_hook(
      handle_,
      [](void* self, sqlite3*, const char*, int frames) {
        static_cast<Sqlite*>(self)->log_frames_ = frames;
        return SQLITE_OK;
      },
      this);
}

Status Sqlite::CopyReadLog() {
  const int rc =
      sqlite3_wal_checkpoint_v2(handle_, "main", SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
  return rc == SQLITE_OK ? OkStatus() : SqliteError(rc, handle_, path_);
}

Result<sqlite3_file*> Sqlite::LogFile() {
  sqlite3_file* log = nullptr;
  const int rc = sqlite3_file_control(handle_, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
  if (rc != SQLITE_OK) return SqliteError(rc, handle_, path_);
  if (log == nullptr || log->pMethods == nullptr) {
    return InternalError("journal '" + path_ + "': the write-ahead log is not open");
  }
  return log;
}

Result<LogSalts> Sqlite::ReadLogSalts() {
  ASSIGN_OR_RETURN(sqlite3_file* const log, LogFile());
  unsigned char salts[8] = {};
  const int rc = log->pMethods->xRead(log, salts, sizeof(salts), 16);  // in the log's header
  if (rc != SQLITE_OK) return SqliteError(rc, nullptr, path_);
  const auto big = [&](int at) {
    return static_cast<uint32_t>(salts[at]) << 24 | static_cast<uint32_t>(salts[at + 1]) << 16 |
           static_cast<uint32_t>(salts[at + 2]) << 8 | static_cast<uint32_t>(salts[at + 3]);
  };
  return LogSalts{big(0), big(4)};
}

Result<int64_t> Sqlite::CopyLog() {
  ASSIGN_OR_RETURN(Query copy, Prepare("PRAGMA wal_checkpoint(FULL)"));
  ASSIGN_OR_RETURN(const bool row, copy.Step());
  if (!row) return InternalError("journal '" + path_ + "': the log could not be copied");
  const bool whole = copy.Int(0) == 0 && copy.Int(1) == copy.Int(2);
  const int64_t frames = copy.Int(1);
  RETURN_IF_ERROR(copy.Run());
  return whole ? std::max<int64_t>(frames, 0) : -1;
}

void Sqlite::SetLogOnClose(LogOnClose what) {
  const int keep = what == LogOnClose::kKeep ? 1 : 0;
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep, nullptr);
}

Status Sqlite::CopyTo(const std::string& path) {
  struct stat file = {};
  if (lstat(path.c_str(), &file) == 0) {
    return AlreadyExistsError("'" + path + "' exists already; name a new file for the copy");
  }
  RETURN_IF_ERROR(EnsureFile(path));
  Status status;
  {
    auto target = Open({.path = path});
    status = target.status();
    if (status.ok()) status = Exec("BEGIN");
    if (status.ok()) status = IntOf("SELECT count(*) FROM sqlite_schema").status();  // a snapshot
    if (status.ok()) status = CopyPages(handle_, (*target)->handle_, path);
    if (InTransaction()) Exec("ROLLBACK").IgnoreError("nothing was written");
  }
  if (status.ok()) status = SyncFile(path);
  if (status.ok()) return SyncDirectory(DirectoryOf(path));
  unlink(path.c_str());
  return status;
}

bool Sqlite::InTransaction() const { return sqlite3_get_autocommit(handle_) == 0; }

}  // namespace baleen
