// KvRecords: the nouns of the KV store: keys, shapes, blocks, checkpoints, reports.
//
// Plain data, shared by the store, its planners and its callers. Knows no RocksDB.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tools_sdk/status.h"

namespace baleen {

/// Version of everything under KvStoreOptions::path. On-disk: a change of any layout raises it, and
/// stores with an older one are dropped.
inline constexpr uint32_t kKvFormatVersion = 2;

/// SHA-256(parent ‖ token ids ‖ fingerprint ‖ arithmetic id ‖ sharing scope); the first block's
/// parent is all zeros.
using BlockKey = std::array<uint8_t, 32>;

/// What every key of a sequence is bound to.
struct KvScope {
  std::string fingerprint;
  std::string arithmetic_id;
  std::string sharing;  ///< Tenant; blocks are shared only inside one.
};

BlockKey NextBlockKey(const BlockKey& parent, std::span<const int32_t> tokens,
                      const KvScope& scope);
std::string BlockKeyHex(const BlockKey& key);
/// NOT_FOUND for a block that was asked for.
Status BlockNotStored(const BlockKey& key);

/// Name and place of one plane of rows in a block.
struct StoredStream {
  std::string name;
  int64_t row_bytes = 0;
  int64_t rows = 0;
  int64_t offset = 0;  ///< In the block.
  /// What is read together. Unit 0 is what every resume needs; the others are read when wanted.
  int32_t unit = 0;

  friend bool operator==(const StoredStream&, const StoredStream&) = default;
};

/// Bytes [offset, offset + bytes) of a block.
struct BlockExtent {
  int64_t offset = 0;
  int64_t bytes = 0;
};

/// What all blocks of one model look like: their streams, grouped into units. Stored once, so that
/// the store assumes nothing of V4. Immutable; cheap to share by reference, made once per model.
class BlockShape {
 public:
  /// A shape without streams.
  BlockShape() = default;
  /// Errors: INVALID_ARGUMENT: more than the limits below, a negative size, a stream outside the
  /// block, units whose extents overlap.
  static Result<BlockShape> Make(std::vector<StoredStream> streams, int64_t block_bytes);

  std::span<const StoredStream> streams() const { return streams_; }
  int64_t block_bytes() const { return block_bytes_; }
  /// One more than the highest unit; at least 1.
  int32_t units() const { return static_cast<int32_t>(extents_.size()); }
  /// From the first to the last byte of the unit's streams; empty for a unit without any. What lies
  /// outside all extents is not stored and reads as zero.
  BlockExtent extent(int32_t unit) const { return extents_[static_cast<size_t>(unit)]; }
  /// xxh3-128 of the stream table: two shapes with one hash are the same.
  const std::array<uint8_t, 16>& hash() const { return hash_; }

 private:
  std::vector<StoredStream> streams_;
  int64_t block_bytes_ = 0;
  std::vector<BlockExtent> extents_ = {BlockExtent{}};  ///< [units]
  std::array<uint8_t, 16> hash_{};
};

/// What a block may hold at most; a header that says more is damage, not a reason to allocate.
inline constexpr int64_t kBlockTokensMax = 1 << 16;
inline constexpr int64_t kBlockStreamsMax = 1 << 14;
inline constexpr int32_t kBlockUnitsMax = 1 << 12;
inline constexpr int64_t kStreamNameBytesMax = 256;
inline constexpr int64_t kBlockBytesMax = int64_t{1} << 30;

struct StoredBlock {
  std::vector<int32_t> tokens;
  std::vector<StoredStream> streams;
  std::vector<std::byte> bytes;
};

/// Why a checkpoint exists, and so how long it is kept; several may hold. On-disk: don't renumber.
enum CheckpointKind : uint32_t {
  kPeriodicCheckpoint = 0,
  kTurnCheckpoint = 1,    ///< At the border of a turn.
  kForkCheckpoint = 2,    ///< A fork or rewind begins here; never thinned.
  kPinnedCheckpoint = 4,  ///< The newest of a timeline when its session was pinned; not thinned
                          ///< while it is.
};

struct StoredCheckpoint {
  int64_t position = 0;
  std::vector<int32_t> tail_tokens;      ///< Ids since the last block border.
  std::string state;                     ///< KvCache::SaveCheckpoint.
  uint32_t kinds = kPeriodicCheckpoint;  ///< CheckpointKind bits.
  int64_t created_ms = 0;                ///< Set by the store.
};

/// A checkpoint without its state: what thinning decides on.
struct CheckpointEntry {
  BlockKey parent{};
  int64_t position = 0;
  uint32_t tail_length = 0;
  std::array<uint8_t, 16> tail_hash{};  ///< xxh3-128 of the tail's ids.
  uint32_t kinds = kPeriodicCheckpoint;
  int64_t created_ms = 0;
  int64_t bytes = 0;  ///< Stored.
};

/// What the store knows of a block without reading it.
struct BlockUsage {
  BlockKey key{};
  uint64_t number = 0;  ///< Grows with every block put.
  int64_t bytes = 0;    ///< Stored, all units.
  int64_t created_ms = 0;
  int64_t used_ms = 0;  ///< Last load, to within an hour.
};

/// Why blocks were dropped; MissReason puts it in words. On-disk: don't renumber.
enum class DropReason : uint8_t {
  kDamaged = 1,    ///< Its bytes were wrong or missing.
  kQuota = 2,      ///< Evicted; `detail` is the quota in bytes.
  kCollected = 3,  ///< No session referred to it any more.
  kRequested = 4,  ///< Somebody asked for it.
};

/// The instant at which a sweep began; made by KvStore::BeginSweep.
struct SweepStart {
  uint64_t sweep = 0;
  uint64_t number = 0;  ///< Blocks put since have this number or a higher one.
  int64_t time_ms = 0;
};

struct ReclaimReport {
  int64_t files = 0;  ///< Rewritten or deleted.
  int64_t bytes_freed = 0;
  int64_t blocks_damaged = 0;  ///< Dropped, for they lay in a damaged file.
  bool more = false;           ///< files_max was reached.
};

struct KvStoreReport {
  int64_t blocks = 0;
  int64_t block_bytes = 0;
  int64_t checkpoints = 0;
  int64_t checkpoint_bytes = 0;
  std::vector<std::string> problems;
};

/// Since Open, but for the last three.
struct KvStoreCounters {
  int64_t payload_bytes_put = 0;   ///< Of blocks and checkpoint states that were new.
  int64_t file_bytes_written = 0;  ///< By flushes, merges and reclaiming; all of the store's files.
  int64_t units_read = 0;
  int64_t unit_bytes_read = 0;
  int64_t units_late = 0;     ///< Reads given up at their deadline.
  int64_t units_damaged = 0;  ///< Reads whose bytes were wrong or missing.
  int64_t blocks_found = 0;   ///< Of the blocks asked for by LoadBlock and LoadUnits.
  int64_t blocks_missed = 0;
  int64_t blocks = 0;  ///< Stored now.
  int64_t block_bytes = 0;
  int64_t bytes_on_disk = 0;

  /// Bytes written over bytes put; 0 before anything was put.
  double WriteAmplification() const {
    return payload_bytes_put == 0
               ? 0
               : static_cast<double>(file_bytes_written) / static_cast<double>(payload_bytes_put);
  }
};

}  // namespace baleen
