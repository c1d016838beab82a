// KvStore's inside, shared by kv_store.cc (blocks, checkpoints) and kv_store_upkeep.cc.
//
// Internal to runtime/store.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "runtime/store/index_codec.h"
#include "runtime/store/kv_database.h"
#include "runtime/store/kv_store.h"
#include "runtime/store/unit_reader.h"

namespace baleen {

class KvStore::Impl {
 public:
  explicit Impl(const KvStoreOptions& store_options) : options(store_options) {}

  Status Open(bool* dropped);
  Status CheckWritable() const;
  int64_t NowMs() const;

  /// Nothing: not there. Errors: DATA_LOSS for an entry that doesn't decode.
  Result<std::optional<BlockEntry>> FindBlock(const BlockKey& key) const;
  Result<std::optional<NumberedCheckpoint>> FindCheckpoint(const CheckpointEntry& name) const;
  /// The shape that a block names. Errors: DATA_LOSS.
  Result<const BlockShape*> FindShape(const std::array<uint8_t, 16>& hash);
  /// Errors: DATA_LOSS for a value that is indexed but missing.
  Result<std::string> ReadValue(KvFamily family, const std::string& key) const;

  /// Notes that a block was read, for the next Flush.
  void NoteUse(const BlockKey& key);
  /// The writes that record the uses noted so far. Requires: write_mutex held.
  Result<std::vector<KvWrite>> TakeUses();
  Status LoadTombstones();
  /// Adds a tombstone, and forgets the oldest beyond kTombstonesMax. Requires: write_mutex held.
  Status AddTombstone(const BlockKey& key, const Tombstone& tombstone,
                      std::vector<KvWrite>& writes);
  Status DropEntries(std::span<const CheckpointEntry> entries);
  /// Deletes blocks from the index with their reason, in one write; returns how many there were.
  /// Requires: write_mutex held.
  Result<int64_t> DropPart(std::span<const BlockKey> keys, const Tombstone& tombstone);

  struct LiveSets {
    std::shared_ptr<const LiveNumbers> blocks;  ///< Owners: this and the database's filters.
    std::shared_ptr<const LiveNumbers> rows;
    std::shared_ptr<const LiveNumbers> checkpoints;
  };
  Result<LiveSets> ListLive();
  /// Drops what the index names in a damaged file; returns how many.
  Result<int64_t> DropDamaged(KvFamily family, uint64_t first, uint64_t last);
  Result<ReclaimReport> ReclaimFiles(ReclaimLimits limits);
  Status VerifyBlock(const BlockKey& key, const BlockEntry& entry);

  const KvStoreOptions options;
  std::unique_ptr<KvDatabase> database;
  std::unique_ptr<UnitReader> reader;  ///< Freed before the database.

  std::mutex write_mutex;  ///< Guards numbers, tombstones, and every check-then-write.
  uint64_t next_block = 1;
  uint64_t next_checkpoint = 1;
  bool tombstones_known = false;
  std::set<std::pair<int64_t, BlockKey>> tombstones;  ///< By time.

  std::mutex shape_mutex;
  std::map<std::array<uint8_t, 16>, BlockShape> shapes;  // guarded by shape_mutex; never erased

  struct Use {
    int64_t ms = 0;       ///< When it was last put on the list to be written.
    uint64_t sweeps = 0;  ///< How many sweeps had begun at the last use.
  };
  std::mutex use_mutex;
  std::map<BlockKey, Use> noted_uses;  // guarded by use_mutex
  std::vector<BlockKey> new_uses;      // guarded by use_mutex; not yet written
  uint64_t sweeps = 0;                 // guarded by use_mutex
  uint64_t sweeps_forgotten = 0;       // guarded by use_mutex; when noted_uses was last cleared

  std::atomic<int64_t> payload_bytes_put{0};
  std::atomic<int64_t> checkpoints_put{0};
};

}  // namespace baleen
