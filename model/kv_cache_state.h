// KvCacheState: what is inside a KvCache, for the forward pass and for checkpoints.
//
// Per layer: a ring of window rows, the fp32 partials of unfinished compression windows, and a
// block table over the sealed blocks plus one private block that is being filled. The open block
// already has the layout of a sealed one, so that sealing moves it and copies nothing. No
// arithmetic here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/backend.h"
#include "model/config.h"
#include "model/kv_cache.h"
#include "model/kv_rows.h"

namespace baleen {

/// Unfinished windows of one compressor. c = x Wkv^T, g = x Wgate^T + ape, both fp32.
/// Source: spec sections 2.5.7 and 5.1.
struct CompressorState {
  int64_t ratio = 0;  ///< Tokens per entry: 4 or 128.
  int64_t dim = 0;    ///< Channels of an entry.
  int64_t width = 0;  ///< Channels of c and g: 2*dim where windows overlap (ratio 4), else dim.
  std::vector<float> pending_value;   ///< [position mod ratio, width], tokens of the open window.
  std::vector<float> pending_gate;    ///< [position mod ratio, width]
  std::vector<float> previous_value;  ///< [ratio, dim] low half of the last full window; overlap
                                      ///< only, empty until there is one.
  std::vector<float> previous_gate;   ///< [ratio, dim]

  bool overlaps() const { return width == 2 * dim; }
};

/// Where one kind of row of one layer lives: in every sealed block and in the open one.
struct BlockRows {
  RowShape shape;
  PlaneOffsets offsets;                    ///< In a block.
  int64_t rows_per_block = 0;              ///< 0: the layer has no such rows.
  std::vector<kernels::RowPlanes> tables;  ///< [sealed blocks + 1], the last is the open block.
};

struct LayerKv {
  LayerKind kind = LayerKind::kWindow;
  RowBuffer window;                  ///< [config.window] ring, slot = position mod window.
  BlockRows entries;                 ///< CSA, HCA.
  BlockRows index_keys;              ///< CSA.
  CompressorState compressor;        ///< CSA, HCA.
  CompressorState index_compressor;  ///< CSA.
};

/// Threads: one at a time.
class KvCacheState {
 public:
  KvCacheState(const ModelConfig& config, kernels::RowFormat format);
  KvCacheState& operator=(const KvCacheState&) = delete;

  /// Copies the private tail, shares the blocks.
  std::unique_ptr<KvCacheState> Clone() const;

  const ModelConfig& config() const { return config_; }
  const KvLayout& layout() const { return *layout_; }
  int64_t position() const { return position_; }
  std::span<const std::shared_ptr<const KvBlock>> blocks() const { return blocks_; }
  std::vector<LayerKv>& layers() { return layers_; }
  const std::vector<LayerKv>& layers() const { return layers_; }

  /// Rows of the block being filled. `row` counts from the block's start.
  kernels::MutableRowPlanes OpenRows(const BlockRows& rows, int64_t row) {
    return MutablePlanesAt(open_.data(), rows.offsets, rows.shape, row);
  }
  /// The first `rows` rows of the sequence, behind the block table.
  static kernels::PagedRows Paged(const BlockRows& rows, int64_t count);

  std::span<const std::byte> open_block() const { return open_; }
  std::span<std::byte> mutable_open_block() { return open_; }

  /// Counts `tokens` as held; seals the open block on reaching its end.
  /// Requires: no block border strictly inside the step.
  void Advance(int64_t tokens);

  /// For Restore: puts the state at `position` over `blocks`.
  /// Requires: blocks of layout().block_bytes each, position / kBlockTokens of them.
  void Adopt(std::vector<std::shared_ptr<const KvBlock>> blocks, int64_t position);

 private:
  KvCacheState(const KvCacheState&) = default;
  void RebuildTables();
  void PushOpenTables();

  ModelConfig config_;
  std::shared_ptr<const KvLayout> layout_;  ///< Owners: this state and its forks.
  int64_t position_ = 0;
  std::vector<std::shared_ptr<const KvBlock>> blocks_;  ///< Owners: see KvBlock.
  std::vector<std::byte> open_;                         ///< [layout.block_bytes]
  std::vector<LayerKv> layers_;                         ///< [config.layers]
};

}  // namespace baleen
