// KvStore: blocks and checkpoints of KV, content-addressed, in RocksDB. A cache: losing it costs
// time.
//
// Keys are chains of hashes over the token prefix, so that sessions share prefixes and a wrong
// model can't match. A block is stored in units that are read one by one; each carries an xxh3
// checksum that is verified while copying. Called by the KV thread and, for loads, by the engine.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/store/kv_records.h"
#include "tools_sdk/status.h"

namespace baleen {

struct KvFileSystem;  // runtime/store/kv_file_system.h: the seam for injected faults.

struct KvStoreOptions {
  std::string path;  ///< Directory; created with mode 0700 if absent (its parent must exist).
  bool read_only = false;
  /// Puts gather in memory up to this, then are written in the background; twice as much may be
  /// held while the disk is slower than the puts.
  int64_t write_buffer_bytes = 32 << 20;
  int reader_threads = 4;  ///< For LoadUnits and StartUnits.
  /// Borrows: for the life of the store. Null: the machine's.
  const KvFileSystem* file_system = nullptr;
  std::function<int64_t()> now_ms = {};  ///< Wall clock; empty: the system's.
};

/// One unit of one block, to be copied to `out`.
struct UnitRead {
  BlockKey key{};
  int32_t unit = 0;
  std::span<std::byte> out;  ///< Exactly the unit's extent. Untouched if damaged, or late.
  /// Compared for unit 0, beside which the ids are stored; ignored for others.
  std::span<const int32_t> tokens;
  /// The block's number, if an earlier read of it told; saves the look-up. 0: unknown. Set by a
  /// read that succeeds.
  uint64_t number = 0;
  Status status;  ///< Set by the read; see KvStore::LoadUnits.
};

/// Foreground reads are served before all background ones.
enum class UnitPriority { kForeground, kBackground };

/// Reads under way. Threads: any; the destructor not from its own `done`.
class UnitLoad {
 public:
  virtual ~UnitLoad() = default;  ///< Cancels.
  /// Ends all reads that are not finished, with CANCELLED. After it returns nothing is written to
  /// any `out`, and `done` has run or will not.
  virtual void Cancel() = 0;
};

/// Nothing is logged, printed or done periodically.
/// Threads: all methods may be called from any thread.
class KvStore {
 public:
  /// Errors: FAILED_PRECONDITION (newer format; held by another process), DATA_LOSS,
  /// PERMISSION_DENIED, RESOURCE_EXHAUSTED, INVALID_ARGUMENT (not a directory). An older format is
  /// dropped and `*dropped` (nullable) says so.
  static Result<std::unique_ptr<KvStore>> Open(const KvStoreOptions& options, bool* dropped);
  /// Deletes a store that nobody has open, e.g. after DATA_LOSS from Open: costs time, never
  /// correctness. Touches only the files that a store consists of.
  static Status Remove(const std::string& path);
  /// Flushes what was put, as far as the disk allows.
  ~KvStore();

  // --- Blocks ---------------------------------------------------------------------------------

  /// Writes once: a key that exists is left alone. Kept in memory until Flush, or until the write
  /// buffer is full: a process kill before loses it.
  /// Requires: bytes.size() == shape.block_bytes().
  /// Errors: INVALID_ARGUMENT (size; too many tokens), RESOURCE_EXHAUSTED (disk full, now or at an
  /// earlier flush: reopen once there is space), INTERNAL (input/output).
  Status PutBlock(const BlockKey& key, std::span<const int32_t> tokens, const BlockShape& shape,
                  std::span<const std::byte> bytes);
  /// Everything of a block, for tools and tests. Errors: as LoadUnits.
  Result<StoredBlock> GetBlock(const BlockKey& key, std::span<const int32_t> tokens);
  /// The bytes of a whole block. Errors: as LoadUnits; DATA_LOSS also for another shape.
  Result<std::vector<std::byte>> LoadBlock(const BlockKey& key, std::span<const int32_t> tokens,
                                           const BlockShape& shape);

  /// Reads units in parallel, in the order in which they lie on the disk: a whole chain of blocks
  /// comes in at the speed of a sequential read, a selection at that of the disk's queue. Verified
  /// while copying. Every read's `status` is set: OK; NOT_FOUND (MissReason says why); DATA_LOSS
  /// (checksum, size, shape or token ids differ: the caller recomputes); DEADLINE_EXCEEDED
  /// (`deadline` passed: the rest is given up). Returns the first that isn't OK.
  Status LoadUnits(std::span<UnitRead> reads, const BlockShape& shape,
                   std::optional<std::chrono::steady_clock::time_point> deadline = {});
  /// Called on a reader thread, once all reads have their status; must not block.
  using UnitsDone = std::function<void(std::span<const UnitRead> reads)>;
  /// The same behind the caller's back. Borrows: every `out` and `tokens` until `done` has run or
  /// the load is cancelled; the store for the life of the load.
  std::unique_ptr<UnitLoad> StartUnits(std::vector<UnitRead> reads, const BlockShape& shape,
                                       UnitPriority priority, UnitsDone done);

  bool HasBlock(const BlockKey& key);
  /// Removes blocks, and notes why for MissReason. Their space is freed by Reclaim. A damaged block
  /// must be dropped before its recomputation can be stored.
  Status DropBlocks(std::span<const BlockKey> keys, DropReason reason, int64_t detail = 0);
  /// A sweep that begins now drops only what nobody uses from now on.
  SweepStart BeginSweep();
  /// DropBlocks, but for those that were put or read since `start`; returns how many went. Holds up
  /// puts for at most one small batch. Errors: ABORTED (too much was used meanwhile: begin anew).
  Result<int64_t> SweepBlocks(std::span<const BlockKey> keys, const SweepStart& start,
                              DropReason reason, int64_t detail);
  /// Why a block isn't there, in words; "never stored" for one that the store doesn't know of.
  std::string MissReason(const BlockKey& key);

  // --- Checkpoints ----------------------------------------------------------------------------

  /// `parent` is the key of the last full block before the position (zeros if none). A key that
  /// exists is left alone, but gets the new kinds besides its own.
  Status PutCheckpoint(const BlockKey& parent, const StoredCheckpoint& checkpoint);
  /// The checkpoints after `parent` whose tail is a prefix of `tail`, longest first; damaged ones
  /// are dropped and counted in `*damaged` (nullable).
  Result<std::vector<StoredCheckpoint>> FindCheckpoints(const BlockKey& parent,
                                                        std::span<const int32_t> tail,
                                                        int64_t* damaged);
  /// Those after any of `parents` (zeros: before the first block), by position; states not read.
  Result<std::vector<CheckpointEntry>> ListCheckpoints(std::span<const BlockKey> parents);
  /// Those after every block, in no order.
  Result<std::vector<CheckpointEntry>> ListAllCheckpoints();
  /// Takes the bits `remove` from the kinds of a checkpoint and adds `add`. Errors: NOT_FOUND.
  Status SetCheckpointKinds(const CheckpointEntry& name, uint32_t add, uint32_t remove);
  /// Checkpoints that were new since Open. Threads: any.
  int64_t checkpoints_put() const;
  Status DropCheckpoint(const BlockKey& parent, std::span<const int32_t> tail);
  Status DropCheckpoints(std::span<const CheckpointEntry> entries);

  // --- Upkeep ---------------------------------------------------------------------------------

  /// Makes everything put so far power-safe. Cost: writes the buffered values once, and one
  /// fdatasync per touched file (README.md has figures).
  Status Flush();
  /// Walks everything and verifies every checksum.
  Result<KvStoreReport> Verify();
  /// All blocks, by number.
  Result<std::vector<BlockUsage>> ListBlocks();
  /// Gives back the space of dropped blocks and checkpoints, file by file, those first of which at
  /// least `dead_fraction_min` is dead; at most `files_max`. Reads and writes go on meanwhile.
  /// Blocks in files that turn out damaged are dropped. Cost: rewrites what lives in those files.
  Result<ReclaimReport> Reclaim(double dead_fraction_min, int64_t files_max);
  /// All of Reclaim down to the last twentieth; joins small files; rewrites the index.
  Result<ReclaimReport> Compact();
  /// A copy of the store as it is now, at `directory`, which must not exist (its parent must), by
  /// hard links where the file system has them. Errors: ALREADY_EXISTS; as Flush.
  Status Backup(const std::string& directory);
  /// Live bytes on disk, all overheads included.
  Result<int64_t> BytesOnDisk();
  Result<KvStoreCounters> Counters();

 private:
  class Impl;
  explicit KvStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace baleen
