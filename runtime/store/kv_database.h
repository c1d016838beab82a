// KvDatabase: the ordered key-value families that a KvStore keeps its bytes in.
//
// Internal to runtime/store. kv_database.cc is RocksDB; memory/memory_kv_database.cc stands in for
// it under ThreadSanitizer. Knows keys and bytes, but neither blocks nor checkpoints. Called by
// kv_store*.cc.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/store/kv_store.h"
#include "runtime/store/live_numbers.h"
#include "tools_sdk/status.h"

namespace baleen {

/// kIndex is small and maps content keys to numbers; the others map numbers, which only grow, to
/// values. Content keys are random, so values sorted by them would overlap in every file and be
/// rewritten by each merge; sorted by number they never overlap, files only move down a level, and
/// each value is written once.
enum class KvFamily { kIndex, kBlocks, kRows, kCheckpoints };
inline constexpr int kKvFamilies = 4;

struct KvWrite {
  KvFamily family = KvFamily::kIndex;
  std::string key;
  std::optional<std::string> value;  ///< Nothing: delete.
};

struct ReclaimLimits {
  double dead_fraction_min = 0.5;
  bool join_small_files = false;
  int64_t files_max = INT64_MAX;
};

struct ReclaimStep {
  bool done = true;   ///< Nothing was left to do.
  int64_t files = 0;  ///< Rewritten or deleted.
  int64_t bytes_freed = 0;
  /// Numbers of a damaged file, which was left alone; 0: none.
  uint64_t damaged_first = 0;
  uint64_t damaged_last = 0;
};

/// Threads: all methods from any thread.
class KvDatabase {
 public:
  /// Errors: as KvStore::Open.
  static Result<std::unique_ptr<KvDatabase>> Open(const KvStoreOptions& options, bool* dropped);
  static Status Remove(const std::string& path);
  ~KvDatabase();

  /// Nothing: not there.
  Result<std::optional<std::string>> Get(KvFamily family, const std::string& key) const;

  /// Given the value while it lies in the database's memory; null: not there. false: enough.
  using Sink =
      std::function<bool(size_t index, const Status& status, const std::string_view* value)>;
  /// Hands every key's value to `sink`; `keys` ascend. Runs of neighbours are read ahead.
  void Visit(KvFamily family, std::span<const std::string> keys, const Sink& sink) const;

  /// Entries whose key starts with `prefix`, in order, until `visit` returns false.
  using Visitor = std::function<bool(std::string_view key, std::string_view value)>;
  Status Scan(KvFamily family, const std::string& prefix, const Visitor& visit) const;
  /// Of the last key; 0 if the family is empty.
  Result<uint64_t> LastNumber(KvFamily family) const;

  /// All or none. Kept in memory until Flush, or a full write buffer.
  Status Apply(std::span<const KvWrite> writes);
  /// Of all families at once, so that the index never names a value that isn't there.
  Status Flush();

  /// Rewrites the file of a value family with the largest part dead, or joins a run of small ones.
  /// Values that `live` doesn't contain vanish; the index must not name them, not even after a
  /// crash. Others read and write meanwhile. One at a time.
  Result<ReclaimStep> ReclaimOnce(KvFamily family, std::shared_ptr<const LiveNumbers> live,
                                  const ReclaimLimits& limits);
  /// Rewrites the index.
  Status CompactIndex();
  /// A copy at `path`, which must not exist, made of hard links where the file system has them.
  Status Backup(const std::string& path);

  Result<int64_t> BytesOnDisk() const;
  /// By flushes and merges since Open.
  int64_t FileBytesWritten() const;

 private:
  class Impl;
  explicit KvDatabase(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace baleen
