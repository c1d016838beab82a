// KvStore: blocks and checkpoints of KV, content-addressed, in RocksDB. A cache: losing it costs
// time.
//
// Keys are chains of hashes over the token prefix, so that sessions share prefixes and a wrong
// model can't match. Values carry a header (format version, stream table, token ids) and an xxh3
// checksum that is verified while copying. Called by the KV thread and, for loads, by the
// engine.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tools_sdk/status.h"

namespace baleen {

/// Version of everything under KvStoreOptions::path. On-disk: a change of any layout raises it, and
/// stores with an older one are dropped.
inline constexpr uint32_t kKvFormatVersion = 1;

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

/// Name and shape of one plane, stored in every block so that the store assumes nothing of V4.
struct StoredStream {
  std::string name;
  int64_t row_bytes = 0;
  int64_t rows = 0;
  int64_t offset = 0;
};

struct StoredBlock {
  std::vector<int32_t> tokens;
  std::vector<StoredStream> streams;
  std::vector<std::byte> bytes;
};

struct StoredCheckpoint {
  int64_t position = 0;
  std::vector<int32_t> tail_tokens;  ///< Ids since the last block border.
  std::string state;                 ///< KvCache::SaveCheckpoint.
};

struct KvStoreOptions {
  std::string path;  ///< Directory; created with mode 0700 if absent (its parent must exist).
  bool read_only = false;
  /// Puts gather in memory up to this, then are written in the background; twice as much may be
  /// held while the disk is slower than the puts.
  int64_t write_buffer_bytes = 32 << 20;
};

struct KvStoreReport {
  int64_t blocks = 0;
  int64_t block_bytes = 0;
  int64_t checkpoints = 0;
  int64_t checkpoint_bytes = 0;
  std::vector<std::string> problems;
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

  /// Writes once: a key that exists is left alone. Kept in memory until Flush, or until the write
  /// buffer is full: a process kill before loses it.
  /// Errors: INVALID_ARGUMENT (limits of block_codec.h; a stream outside `bytes`),
  /// RESOURCE_EXHAUSTED (disk full, now or at an earlier flush: reopen once there is space),
  /// INTERNAL (input/output).
  Status PutBlock(const BlockKey& key, std::span<const int32_t> tokens,
                  std::span<const StoredStream> streams, std::span<const std::byte> bytes);
  /// Errors: NOT_FOUND; DATA_LOSS (checksum, header, or `expected_tokens` differ): the caller
  /// recomputes.
  Result<StoredBlock> GetBlock(const BlockKey& key, std::span<const int32_t> expected_tokens);
  /// The payload alone of a block whose shape the caller knows: `payload_bytes` laid out as
  /// `streams`. The way of a resume. Errors: as GetBlock.
  Result<std::vector<std::byte>> LoadBlock(const BlockKey& key,
                                           std::span<const int32_t> expected_tokens,
                                           std::span<const StoredStream> expected_streams,
                                           int64_t payload_bytes);
  bool HasBlock(const BlockKey& key);
  /// Removes a damaged block so that its recomputation can be stored.
  Status DropBlock(const BlockKey& key);

  /// `parent` is the key of the last full block before the position (zeros if none). Like PutBlock:
  /// a key that exists is left alone.
  Status PutCheckpoint(const BlockKey& parent, const StoredCheckpoint& checkpoint);
  /// The checkpoints after `parent` whose tail is a prefix of `tail`, longest first; damaged ones
  /// are dropped and counted in `*damaged` (nullable).
  Result<std::vector<StoredCheckpoint>> FindCheckpoints(const BlockKey& parent,
                                                        std::span<const int32_t> tail,
                                                        int64_t* damaged);
  Status DropCheckpoint(const BlockKey& parent, std::span<const int32_t> tail);

  /// Makes everything put so far power-safe. Cost: writes the buffered values once, and one
  /// fdatasync per touched file (README.md has figures).
  Status Flush();
  /// Walks everything and verifies every checksum.
  Result<KvStoreReport> Verify();
  /// Live bytes on disk, all overheads included.
  Result<int64_t> BytesOnDisk();

 private:
  class Impl;
  explicit KvStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace baleen
