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
  int32_t unit = 0;
  PlaneOffsets offsets;        ///< In the unit.
  int64_t rows_per_block = 0;  ///< 0: the layer has no such rows.
  /// [sealed blocks + 1], the last is the open block. Null planes: absent when last looked at.
  std::vector<kernels::RowPlanes> tables;
  int64_t absent = 0;  ///< Tables with null planes.
};

struct LayerKv {
  LayerKind kind = LayerKind::kWindow;
  RowBuffer window;                  ///< [config.window] ring, slot = position mod window.
  BlockRows entries;                 ///< CSA, HCA.
  BlockRows index_keys;              ///< CSA.
  CompressorState compressor;        ///< CSA, HCA.
  CompressorState index_compressor;  ///< CSA.
  /// CSA: the sealed blocks whose entries the newest token attended to, ascending.
  std::vector<int32_t> selected_blocks;
};

/// What a step changes in a layer and can't be read back from the tokens.
struct LayerUndo {
  RowBuffer window;
  CompressorState compressor;
  CompressorState index_compressor;
  std::vector<int32_t> selected_blocks;

  void Save(const LayerKv& layer);
  void Restore(LayerKv& layer) const;
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
  std::span<const std::shared_ptr<KvBlock>> blocks() const { return blocks_; }
  std::vector<LayerKv>& layers() { return layers_; }
  const std::vector<LayerKv>& layers() const { return layers_; }

  /// Rows of the block being filled. `row` counts from the block's start.
  kernels::MutableRowPlanes OpenRows(const BlockRows& rows, int64_t row) {
    return MutablePlanesAt(open_[static_cast<size_t>(rows.unit)].data(), rows.offsets, rows.shape,
                           row);
  }
  /// The first `rows` rows of the sequence, behind the block table.
  static kernels::PagedRows Paged(const BlockRows& rows, int64_t count);

  /// One unit of the block being filled.
  std::span<const std::byte> open_unit(int32_t unit) const {
    return open_[static_cast<size_t>(unit)];
  }
  std::span<std::byte> mutable_open_unit(int32_t unit) { return open_[static_cast<size_t>(unit)]; }

  /// The rows of the tokens from position() on are sealed already: compute, but store nothing.
  bool replaying() const { return position_ < std::ssize(blocks_) * kBlockTokens; }

  void set_row_source(KvRowSource* source) { row_source_ = source; }
  KvRowSource* row_source() const { return row_source_; }
  /// Whether a step may find units absent, so that it must be prepared to be undone.
  bool lazy() const;
  /// Looks at the units that were absent, and enters those that came into the tables.
  void RefreshTables(BlockRows& rows);

  /// Counts `tokens` as held; seals the open block on reaching its end.
  /// Requires: no block border strictly inside the step.
  void Advance(int64_t tokens);

  /// Puts the state at `position` over `blocks`.
  /// Requires: blocks of this layout; position / kBlockTokens of them, or more for a replay.
  void Adopt(std::vector<std::shared_ptr<KvBlock>> blocks, int64_t position);

 private:
  KvCacheState(const KvCacheState&) = default;
  void OpenBlock();
  void RebuildTables();
  void PushOpenTables();

  ModelConfig config_;
  std::shared_ptr<const KvLayout> layout_;  ///< Owners: this state and its forks.
  int64_t position_ = 0;
  std::vector<std::shared_ptr<KvBlock>> blocks_;  ///< Owners: see KvBlock.
  std::vector<KvBlock::Bytes> open_;              ///< [layout.units], each of its unit's bytes.
  std::vector<LayerKv> layers_;                   ///< [config.layers]
  KvRowSource* row_source_ = nullptr;
};

}  // namespace baleen
