#include "model/kv_cache_state.h"

#include <utility>

#include "kernels/check.h"

namespace baleen {
namespace {

CompressorState MakeCompressor(int64_t ratio, int64_t dim) {
  CompressorState state;
  state.ratio = ratio;
  state.dim = dim;
  state.width = ratio == kCsaRatio ? 2 * dim : dim;
  return state;
}

/// Takes the next streams of the layout for rows of `shape`. Relies on KvLayout::Make's order.
BlockRows TakeStreams(const KvLayout& layout, size_t& next, const RowShape& shape) {
  BlockRows rows;
  rows.shape = shape;
  for (int p = 0; p < kRowPlanes; ++p) {
    if (shape.plane_bytes[p] == 0) continue;
    const KvStream& stream = layout.streams[next++];
    DCHECK(stream.row_bytes == shape.plane_bytes[p]);
    rows.offsets.offset[p] = stream.offset;
    rows.rows_per_block = stream.rows;
  }
  return rows;
}

}  // namespace

KvCacheState::KvCacheState(const ModelConfig& config, kernels::RowFormat format)
    : config_(config), layout_(std::make_shared<const KvLayout>(KvLayout::Make(config, format))) {
  const RowShape entry = RowShape::Entry(config, format);
  const RowShape index_key = RowShape::IndexKey(config, format);
  size_t next = 0;
  layers_.resize(static_cast<size_t>(config.layers));
  for (int64_t l = 0; l < config.layers; ++l) {
    LayerKv& layer = layers_[static_cast<size_t>(l)];
    const int64_t ratio = config.Ratio(l);
    layer.kind = config.layer_kinds[static_cast<size_t>(l)];
    layer.window = RowBuffer(entry, config.window);
    if (ratio == 0) continue;
    layer.entries = TakeStreams(*layout_, next, entry);
    layer.compressor = MakeCompressor(ratio, config.head_dim);
    if (layer.kind != LayerKind::kCsa) continue;
    layer.index_keys = TakeStreams(*layout_, next, index_key);
    layer.index_compressor = MakeCompressor(ratio, config.index_dim);
  }
  open_.assign(static_cast<size_t>(layout_->block_bytes), std::byte{0});
  RebuildTables();
}

std::unique_ptr<KvCacheState> KvCacheState::Clone() const {
  std::unique_ptr<KvCacheState> copy(new KvCacheState(*this));
  copy->RebuildTables();
  return copy;
}

kernels::PagedRows KvCacheState::Paged(const BlockRows& rows, int64_t count) {
  kernels::PagedRows paged;
  paged.format = rows.shape.format;
  paged.tables = rows.tables;
  paged.rows_per_block = rows.rows_per_block;
  paged.rows = count;
  paged.dim = rows.shape.dim;
  paged.rope = rows.shape.rope;
  return paged;
}

void KvCacheState::Advance(int64_t tokens) {
  DCHECK(position_ % kBlockTokens + tokens <= kBlockTokens);
  position_ += tokens;
  if (position_ % kBlockTokens != 0 || tokens == 0) return;
  // The block takes over the very bytes that the tables already point at.
  blocks_.push_back(std::make_shared<const KvBlock>(std::move(open_)));
  open_.assign(static_cast<size_t>(layout_->block_bytes), std::byte{0});
  PushOpenTables();
}

void KvCacheState::Adopt(std::vector<std::shared_ptr<const KvBlock>> blocks, int64_t position) {
  DCHECK(static_cast<int64_t>(blocks.size()) == position / kBlockTokens);
  blocks_ = std::move(blocks);
  position_ = position;
  RebuildTables();
}

void KvCacheState::RebuildTables() {
  for (LayerKv& layer : layers_) {
    for (BlockRows* rows : {&layer.entries, &layer.index_keys}) {
      rows->tables.clear();
      if (rows->rows_per_block == 0) continue;
      for (const auto& block : blocks_) {
        rows->tables.push_back(PlanesAt(block->bytes().data(), rows->offsets, rows->shape, 0));
      }
    }
  }
  PushOpenTables();
}

void KvCacheState::PushOpenTables() {
  for (LayerKv& layer : layers_) {
    for (BlockRows* rows : {&layer.entries, &layer.index_keys}) {
      if (rows->rows_per_block == 0) continue;
      rows->tables.push_back(PlanesAt(open_.data(), rows->offsets, rows->shape, 0));
    }
  }
}

}  // namespace baleen
