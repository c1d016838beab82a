// FaultyDisk: a disk with a volatile cache, and the one operation on it that goes wrong.
//
// The wrappers around SQLite's and RocksDB's files (fault_vfs.h, fault_file_system.h) let every
// operation through to real files and tell this model of it: what a power cut now could leave
// behind is known at any instant, and the n-th write or sync can be made to fail. Syncs aren't
// passed on: the model is what remembers them.
//
// The model: a file's bytes are durable once it was synced after they were written; until then each
// 512-byte sector of each write may or may not be there, in any combination. Names (created,
// renamed, deleted) are durable once their directory was synced; until then a prefix of them, in
// order, is there, as on a file system that journals its metadata.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace baleen {

enum class DiskOp { kCreate, kWrite, kTruncate, kSync, kSyncDirectory, kRename, kDelete };
std::string DiskOpName(DiskOp op);

enum class Fault {
  kNone,
  kIoError,      ///< EIO; of a sync: and the kernel forgets what it could not write.
  kNoSpace,      ///< ENOSPC; of a sync: what was written stays in the cache.
  kShortWrite,   ///< Half of the bytes are written, then ENOSPC. Else as kNoSpace.
  kTornWrite,    ///< Reported as done, but the second half of the bytes is not there. Writes only.
  kSkippedSync,  ///< See SkipSync.
};

/// What a power cut keeps of that which was not synced.
enum class Cut { kNothing, kEverything, kSome };

/// Threads: any.
class FaultyDisk {
 public:
  struct Entry {
    DiskOp op = DiskOp::kWrite;
    std::string path;
    Fault fault = Fault::kNone;
  };

  /// What is in `folder` now is durable.
  explicit FaultyDisk(std::string folder);

  /// `path` as it is now is durable: a file that was written and synced past the wrappers.
  void Keep(const std::string& path);
  /// The `number`-th operation from now on, from 0, gets `fault`; `lasting`: and all after it. A
  /// fault that doesn't apply to the operation is none.
  void FailAt(int64_t number, Fault fault, bool lasting = false);
  /// The `number`-th sync from now on, from 0, of a file or a directory, does nothing and says that
  /// it did: what the code would do without it.
  void SkipSync(int64_t number);
  /// Operations so far, since construction.
  std::vector<Entry> log() const;

  /// For the wrappers: what to do about this operation. They tell of it below once it is done.
  Fault Next(DiskOp op, const std::string& path);
  void Created(const std::string& path);
  void Wrote(const std::string& path, int64_t offset, std::string_view bytes);
  void Truncated(const std::string& path, int64_t size_bytes);
  void Synced(const std::string& path);
  /// A sync failed with EIO: what was written since the last one will never be on the disk.
  void Forgot(const std::string& path);
  void SyncedDirectory(const std::string& path);
  void Renamed(const std::string& from, const std::string& to);
  void Linked(const std::string& from, const std::string& to);
  void Deleted(const std::string& path);

  /// Writes to the fresh folder `to` what `folder` would hold after a power cut now.
  void PowerCut(const std::string& to, Cut cut, std::mt19937_64& random) const;

 private:
  struct Change {
    int64_t offset = 0;
    std::string bytes;
    int64_t truncate_to = -1;  ///< >= 0: a truncation, not a write.
  };
  struct File {
    std::string durable;
    std::vector<Change> pending;
  };
  using Names = std::map<std::string, std::shared_ptr<File>>;  // Owners: names before and after.
  struct NameChange {
    std::string removed;  ///< Path, or empty.
    std::string added;
    std::shared_ptr<File> file;
  };

  std::shared_ptr<File>& FileAt(const std::string& path);
  static void ApplyName(const NameChange& change, Names& names);
  static void ApplyChange(const Change& change, std::string& bytes);
  static std::string AfterCut(const File& file, Cut cut, std::mt19937_64& random);

  mutable std::mutex mutex_;
  const std::string folder_;
  Names durable_names_;
  Names names_;
  std::vector<NameChange> pending_names_;
  std::vector<Entry> log_;
  int64_t syncs_ = 0;
  int64_t skip_sync_ = -1;
  int64_t fail_at_ = -1;
  Fault fault_ = Fault::kNone;
  bool lasting_ = false;
};

}  // namespace baleen
