// KvCache: the live, paged KV of one sequence.
//
// A list of shared immutable blocks of kBlockTokens tokens each, plus a private tail: rows since
// the last block border, the sliding-window ring, compressor partials. Kernels read rows through a
// block table. Forks share blocks; only the tail is copied. Blocks may lack units
// (model/kv_block.h), which a step then gets from the row source. Knows no files and no sessions:
// the runtime stores blocks and checkpoints.
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
#include "model/kv_block.h"
#include "tools_sdk/status.h"

namespace baleen {

/// Which absent units of a cache are asked for.
enum class KvUnits {
  kSelected,  ///< Those that the newest token's selection points at: likely the next one's too.
  kAll,
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
  std::span<const std::shared_ptr<KvBlock>> blocks() const;

  /// Everything but the sealed blocks: window ring, compressor partials, rows of the open block.
  /// Self-describing, little-endian, no checksum (the store adds one).
  std::string SaveCheckpoint() const;

  /// The cache at the position of `checkpoint`, over `blocks` (exactly position/kBlockTokens of
  /// them). Errors: DATA_LOSS for bytes that don't decode, or a shape that isn't this model's.
  static Result<KvCache> Restore(const ModelConfig& config, kernels::RowFormat format,
                                 std::vector<std::shared_ptr<KvBlock>> blocks,
                                 std::string_view checkpoint);

  /// A cache at `position` over blocks that reach beyond it: the tokens from there to the blocks'
  /// end are computed again, over the stored rows, which stay as they are. Once that is done the
  /// cache is exact to the bit if ReplayTokens(config) tokens or more were replayed.
  /// Requires: position a multiple of 4, at most blocks.size() * kBlockTokens.
  /// Source: spec section 5.3 ("zero SWA caching").
  static KvCache Replay(const ModelConfig& config, kernels::RowFormat format,
                        std::vector<std::shared_ptr<KvBlock>> blocks, int64_t position);
  /// window x layers: what a token's window rows depend on in all layers, besides stored rows.
  static int64_t ReplayTokens(const ModelConfig& config);
  /// Still inside a replay: can't be saved as a checkpoint.
  bool replaying() const;

  /// A second timeline over the same blocks. Cost: copies the private tail.
  KvCache Fork() const;

  /// Asked for absent units from now on; forks inherit it. Borrows: while a forward pass runs.
  void set_row_source(KvRowSource* source);
  /// Absent units of the sealed blocks, by block and unit.
  std::vector<KvUnitRef> AbsentUnits(KvUnits which) const;

  KvCacheState& state() { return *state_; }
  const KvCacheState& state() const { return *state_; }

 private:
  explicit KvCache(std::unique_ptr<KvCacheState> state);
  std::unique_ptr<KvCacheState> state_;
};

}  // namespace baleen
