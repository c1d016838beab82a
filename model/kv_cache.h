// KvCache: the live, paged KV of one sequence.
//
// A list of shared immutable blocks of kBlockTokens tokens each, plus a private tail: rows since
// the last block border, the sliding-window ring, compressor partials. Kernels read rows through a
// block table. Forks share blocks; only the tail is copied. Knows no files and no sessions: the
// runtime stores blocks and checkpoints.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/backend.h"
#include "model/config.h"
#include "tools_sdk/status.h"

namespace baleen {

/// Tokens per block; a multiple of 128 = lcm(4, 128), so that a block ends on a border of every
/// compressor.
inline constexpr int64_t kBlockTokens = 256;

/// One plane of rows inside a block, e.g. the E4M3 codes of layer 2's entries.
struct KvStream {
  std::string name;  ///< "L2.kv.codes", "L2.index.scales", ...
  int64_t layer = 0;
  int64_t row_bytes = 0;
  int64_t rows = 0;    ///< Rows per block.
  int64_t offset = 0;  ///< Byte offset in a block; multiple of 64.
};

/// Where every plane of a block lives. Derived from config and row format alone.
struct KvLayout {
  kernels::RowFormat format = kernels::RowFormat::kPacked;
  std::vector<KvStream> streams;
  int64_t block_bytes = 0;    ///< With alignment padding.
  int64_t payload_bytes = 0;  ///< Without.

  static KvLayout Make(const ModelConfig& config, kernels::RowFormat format);
};

/// kBlockTokens tokens of sealed rows. Immutable after construction.
/// shared_ptr owners: the sequences that share the prefix, and the store while it writes.
class KvBlock {
 public:
  explicit KvBlock(std::vector<std::byte> bytes) : bytes_(std::move(bytes)) {}
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

class KvCacheState;  // model/kv_cache_state.h: what the forward pass reads and writes.

/// Threads: one at a time. Move-only; Fork is the explicit copy.
class KvCache {
 public:
  /// An empty cache at position 0.
  KvCache(const ModelConfig& config, kernels::RowFormat format);
  ~KvCache();
  KvCache(KvCache&&) noexcept;
  KvCache& operator=(KvCache&&) noexcept;

  /// Tokens held; the position of the next token.
  int64_t tokens() const;
  const KvLayout& layout() const;

  /// Sealed blocks, oldest first: tokens()/kBlockTokens of them.
  std::span<const std::shared_ptr<const KvBlock>> blocks() const;

  /// Everything but the sealed blocks: window ring, compressor partials, rows of the open block.
  /// Self-describing, little-endian, no checksum (the store adds one).
  std::string SaveCheckpoint() const;

  /// The cache at the position of `checkpoint`, over `blocks` (exactly position/kBlockTokens of
  /// them). Errors: DATA_LOSS for bytes that don't decode, or a shape that isn't this model's.
  static Result<KvCache> Restore(const ModelConfig& config, kernels::RowFormat format,
                                 std::vector<std::shared_ptr<const KvBlock>> blocks,
                                 std::string_view checkpoint);

  /// A second timeline over the same blocks. Cost: copies the private tail.
  KvCache Fork() const;

  KvCacheState& state() { return *state_; }
  const KvCacheState& state() const { return *state_; }

 private:
  explicit KvCache(std::unique_ptr<KvCacheState> state);
  std::unique_ptr<KvCacheState> state_;
};

}  // namespace baleen
