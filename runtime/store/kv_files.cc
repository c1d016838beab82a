#include "runtime/store/kv_files.h"

#include <rocksdb/db.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <filesystem>

#include "runtime/store/files.h"
#include "runtime/store/kv_records.h"

namespace baleen {
namespace {

constexpr std::string_view kFormatPrefix = "baleen kv ";

std::string FormatPath(const std::string& path) { return path + "/FORMAT"; }

Status WriteFormat(const std::string& path) {
  return WriteFileDurably(FormatPath(path),
                          std::string(kFormatPrefix) + std::to_string(kKvFormatVersion) + "\n");
}

/// The number in a FORMAT file, or DATA_LOSS.
Result<uint32_t> ParseFormat(std::string_view text, const std::string& path) {
  uint32_t version = 0;
  const bool prefixed = text.starts_with(kFormatPrefix) && text.ends_with('\n');
  if (prefixed) {
    text = text.substr(kFormatPrefix.size(), text.size() - kFormatPrefix.size() - 1);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), version);
    if (error == std::errc() && end == text.data() + text.size()) return version;
  }
  return DataLossError("file '" + path + "/FORMAT' is damaged, expected '" +
                       std::string(kFormatPrefix) + "<number>'; delete the KV directory '" + path +
                       "': it is a cache, only time is lost");
}

Status DestroyDatabase(const std::string& path) {
  const std::string database = KvDatabasePath(path);
  if (access(database.c_str(), F_OK) != 0) return OkStatus();
  rocksdb::Options options;
  const std::vector<rocksdb::ColumnFamilyDescriptor> families;
  const rocksdb::Status status = rocksdb::DestroyDB(database, options, families);
  return status.ok() ? OkStatus() : RocksError(status, path);
}

Status MakeDirectory(const std::string& path) {
  if (mkdir(path.c_str(), 0700) != 0) {
    return errno == EEXIST ? OkStatus() : FileError(errno, "create directory", path);
  }
  return SyncDirectory(DirectoryOf(path));
}

}  // namespace

std::string KvDatabasePath(const std::string& path) { return path + "/db"; }

Result<bool> PrepareKvDirectory(const std::string& path, bool read_only) {
  struct stat entry = {};
  if (path.empty()) return InvalidArgumentError("KV store path is empty; name a directory");
  if (stat(path.c_str(), &entry) == 0 && !S_ISDIR(entry.st_mode)) {
    return InvalidArgumentError("KV store path '" + path + "' is not a directory; name another");
  }
  if (!read_only) {
    RETURN_IF_ERROR(MakeDirectory(path));
  }
  const auto text = ReadSmallFile(FormatPath(path), 64);
  if (!text.ok()) {
    if (text.status().code() != StatusCode::kNotFound || read_only) return text.status();
    if (access(KvDatabasePath(path).c_str(), F_OK) == 0) {
      return DataLossError("KV store '" + path +
                           "' has a database but no FORMAT file; delete the "
                           "directory: it is a cache, only time is lost");
    }
    // Before the database, so that a crash in between leaves a stamp without one, which is fine.
    RETURN_IF_ERROR(WriteFormat(path));
    return false;
  }
  ASSIGN_OR_RETURN(const uint32_t version, ParseFormat(*text, path));
  if (version == kKvFormatVersion) return false;
  if (version > kKvFormatVersion) {
    return FailedPreconditionError(
        "KV store '" + path + "' has format " + std::to_string(version) +
            ", this build knows formats up to " + std::to_string(kKvFormatVersion) +
            "; use a newer build, or delete the directory: it is a cache, only time is lost",
        "NEWER_VERSION");
  }
  if (read_only) {
    return FailedPreconditionError("KV store '" + path + "' has the older format " +
                                   std::to_string(version) + "; open it for writing once");
  }
  RETURN_IF_ERROR(DestroyDatabase(path));
  RETURN_IF_ERROR(WriteFormat(path));
  return true;
}

Status RemoveKvDirectory(const std::string& path) {
  RETURN_IF_ERROR(DestroyDatabase(path));
  for (const std::string& file : {FormatPath(path), FormatPath(path) + ".new"}) {
    if (unlink(file.c_str()) != 0 && errno != ENOENT) return FileError(errno, "delete", file);
  }
  if (rmdir(path.c_str()) != 0 && errno != ENOENT && errno != ENOTEMPTY) {
    return FileError(errno, "delete", path);
  }
  return OkStatus();
}

Result<int64_t> KvBytesOnDisk(const std::string& path) {
  std::error_code error;
  int64_t bytes = 0;
  for (auto file = std::filesystem::recursive_directory_iterator(path, error);
       !error && file != std::filesystem::recursive_directory_iterator(); file.increment(error)) {
    // A file that a compaction deletes meanwhile counts nothing.
    std::error_code gone;
    if (!file->is_regular_file(gone)) continue;
    const auto size = file->file_size(gone);
    if (!gone) bytes += static_cast<int64_t>(size);
  }
  if (error) return FileError(error.value(), "list", path);
  return bytes;
}

Status RocksError(const rocksdb::Status& status, const std::string& path) {
  const std::string text = status.ToString();
  const std::string where = "KV store '" + path + "'";
  const auto says = [&](std::string_view words) { return text.find(words) != std::string::npos; };
  // A file that the database names and that isn't there is damage as much as a wrong byte.
  if (status.IsCorruption() || says("No such file or directory")) {
    return DataLossError(where +
                         " is damaged; delete the directory: it is a cache, only time is lost (" +
                         text + ")");
  }
  if (status.IsNoSpace() || says("No space left on device")) {
    return ResourceExhaustedError(
        where + ": the disk is full; free space on its file system, then reopen (" + text + ")",
        "DISK_FULL");
  }
  if (says("lock hold by current process") || says("While lock file")) {
    return FailedPreconditionError(
        where + " is held by another process or already open here; close that one first (" + text +
            ")",
        "LOCKED");
  }
  if (says("Permission denied") || says("Read-only file system")) {
    return PermissionDeniedError(
        where + " is not accessible; give this user read and write access (" + text + ")");
  }
  if (status.IsInvalidArgument()) {
    return DataLossError(where +
                         " was not written by this build's format; delete the directory: it is "
                         "a cache, only time is lost (" +
                         text + ")");
  }
  return InternalError(where + ": " + text + "; check the disk, then reopen", "DISK_ERROR");
}

}  // namespace baleen
