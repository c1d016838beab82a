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

/// Where the rows of one kind of one layer lie in a block.
BlockRows FindStreams(const KvLayout& layout, int64_t layer, KvRowKind kind,
                      const RowShape& shape) {
  BlockRows rows;
  rows.shape = shape;
  auto stream = layout.streams.begin();
  while (stream->layer != layer || stream->kind != kind) ++stream;
  for (int p = 0; p < kRowPlanes; ++p) {
    if (shape.plane_bytes[p] == 0) continue;
    DCHECK(stream->layer == layer && stream->row_bytes == shape.plane_bytes[p]);
    rows.offsets.offset[p] = stream->offset;
    rows.rows_per_block = stream->rows;
    rows.unit = stream->unit;
    ++stream;
  }
  return rows;
}

}  // namespace

KvCacheState::KvCacheState(const ModelConfig& config, kernels::RowFormat format)
    : config_(config), layout_(std::make_shared<const KvLayout>(KvLayout::Make(config, format))) {
  const RowShape entry = RowShape::Entry(config, format);
  const RowShape index_key = RowShape::IndexKey(config, format);
  layers_.resize(static_cast<size_t>(config.layers));
  for (int64_t l = 0; l < config.layers; ++l) {
    LayerKv& layer = layers_[static_cast<size_t>(l)];
    const int64_t ratio = config.Ratio(l);
    layer.kind = config.layer_kinds[static_cast<size_t>(l)];
    layer.window = RowBuffer(entry, config.window);
    if (ratio == 0) continue;
    layer.entries = FindStreams(*layout_, l, KvRowKind::kEntry, entry);
    layer.compressor = MakeCompressor(ratio, config.head_dim);
    if (layer.kind != LayerKind::kCsa) continue;
    layer.index_keys = FindStreams(*layout_, l, KvRowKind::kIndexKey, index_key);
    layer.index_compressor = MakeCompressor(ratio, config.index_dim);
  }
  OpenBlock();
  RebuildTables();
}

void LayerUndo::Save(const LayerKv& layer) {
  window = layer.window;
  compressor = layer.compressor;
  index_compressor = layer.index_compressor;
  selected_blocks = layer.selected_blocks;
}

void LayerUndo::Restore(LayerKv& layer) const {
  layer.window = window;
  layer.compressor = compressor;
  layer.index_compressor = index_compressor;
  layer.selected_blocks = selected_blocks;
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

bool KvCacheState::lazy() const {
  for (const LayerKv& layer : layers_) {
    if (layer.entries.absent > 0) return true;
  }
  return false;
}

void KvCacheState::RefreshTables(BlockRows& rows) {
  for (size_t i = 0; i < blocks_.size() && rows.absent > 0; ++i) {
    kernels::RowPlanes& table = rows.tables[i];
    if (table.codes != nullptr || table.values != nullptr) continue;
    if (!blocks_[i]->present(rows.unit)) continue;
    table = PlanesAt(blocks_[i]->unit(rows.unit).data(), rows.offsets, rows.shape, 0);
    --rows.absent;
  }
}

void KvCacheState::Advance(int64_t tokens) {
  DCHECK(position_ % kBlockTokens + tokens <= kBlockTokens);
  const bool replayed = replaying();
  position_ += tokens;
  if (position_ % kBlockTokens != 0 || tokens == 0 || replayed) return;
  // The block takes over the very bytes that the tables already point at.
  blocks_.push_back(std::make_shared<KvBlock>(std::move(open_)));
  OpenBlock();
  PushOpenTables();
}

void KvCacheState::Adopt(std::vector<std::shared_ptr<KvBlock>> blocks, int64_t position) {
  DCHECK(std::ssize(blocks) >= position / kBlockTokens);
  blocks_ = std::move(blocks);
  position_ = position;
  RebuildTables();
  if (!replaying()) return;
  // What came before is not known, and not needed: see KvCache::Replay.
  for (LayerKv& layer : layers_) {
    for (CompressorState* c : {&layer.compressor, &layer.index_compressor}) {
      if (c->ratio == 0) continue;
      c->pending_value.assign(static_cast<size_t>(position % c->ratio * c->width), 0.0F);
      c->pending_gate.assign(static_cast<size_t>(position % c->ratio * c->width), 0.0F);
    }
  }
}

void KvCacheState::OpenBlock() {
  open_.clear();
  for (const KvUnit& unit : layout_->units) {
    open_.emplace_back(static_cast<size_t>(unit.bytes), std::byte{0});
  }
}

void KvCacheState::RebuildTables() {
  for (LayerKv& layer : layers_) {
    for (BlockRows* rows : {&layer.entries, &layer.index_keys}) {
      rows->tables.clear();
      rows->absent = 0;
      if (rows->rows_per_block == 0) continue;
      rows->tables.resize(blocks_.size());
      rows->absent = std::ssize(blocks_);
      RefreshTables(*rows);
    }
  }
  PushOpenTables();
}

void KvCacheState::PushOpenTables() {
  for (LayerKv& layer : layers_) {
    for (BlockRows* rows : {&layer.entries, &layer.index_keys}) {
      if (rows->rows_per_block == 0) continue;
      rows->tables.push_back(
          PlanesAt(open_[static_cast<size_t>(rows->unit)].data(), rows->offsets, rows->shape, 0));
    }
  }
}

}  // namespace baleen
