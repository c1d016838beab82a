// DataDirectory: the folder in which one Baleen keeps everything, and the right to use it.
//
// Creates and checks the folder, holds its lock, names the files in it. Opens no store itself.
// Called by the runtime before Journal::Open and KvStore::Open.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "tools_sdk/status.h"

namespace baleen {

/// Version of the folder's arrangement (the VERSION file). On-disk; the stores have their own.
inline constexpr uint32_t kDataDirectoryVersion = 1;

/// Threads: one at a time. The lock is held until destruction, and by the kernel no longer than the
/// process lives.
class DataDirectory {
 public:
  /// Creates `path` (mode 0700; its parent must exist) or checks it, and takes the lock.
  /// Errors: FAILED_PRECONDITION (reason LOCKED: held by another process, named by pid; reason
  /// NEWER_VERSION), PERMISSION_DENIED (not owned by this user, writable by others, not
  /// accessible), INVALID_ARGUMENT (not a directory), NOT_FOUND (no parent), DATA_LOSS (VERSION
  /// unreadable).
  static Result<std::unique_ptr<DataDirectory>> Open(const std::string& path);
  /// Makes the new data directory `path` in one step: `fill` writes its files into a draft beside
  /// it, which then takes its name. After an error nothing is left.
  /// Errors: ALREADY_EXISTS (`path`, or a draft of it), as Open, and those of `fill`.
  static Status Build(const std::string& path,
                      const std::function<Status(const DataDirectory& draft)>& fill);
  ~DataDirectory();
  DataDirectory(const DataDirectory&) = delete;
  DataDirectory& operator=(const DataDirectory&) = delete;

  const std::string& path() const { return path_; }
  /// For JournalOptions::path.
  std::string journal_path() const { return path_ + "/journal.db"; }
  /// For SearchIndex::Open.
  std::string search_path() const { return path_ + "/search.db"; }
  /// For FileHistory.
  std::string file_history_path() const { return path_ + "/files.db"; }
  /// For NoteStore.
  std::string notes_path() const { return path_ + "/notes.db"; }
  /// For KvStoreOptions::path.
  std::string kv_path() const { return path_ + "/kv"; }
  /// For ScriptShelf.
  std::string scripts_path() const { return path_ + "/scripts"; }
  /// For Worktrees.
  std::string worktrees_path() const { return path_ + "/worktrees"; }
  /// For ArchiveKey::OpenOrMake.
  std::string archive_key_path() const { return path_ + "/archive.key"; }

 private:
  DataDirectory(std::string path, int lock_fd) : path_(std::move(path)), lock_fd_(lock_fd) {}

  std::string path_;
  int lock_fd_;
};

}  // namespace baleen
