#include "model/kv_cache.h"

#include <utility>

#include "kernels/integer_math.h"
#include "model/kv_cache_state.h"
#include "model/kv_checkpoint.h"
#include "model/kv_rows.h"

namespace baleen {
namespace {

/// Adds the planes of one kind of row to the layout.
void AddStreams(KvLayout& layout, int64_t layer, const char* kind, const RowShape& shape,
                int64_t rows) {
  for (int p = 0; p < kRowPlanes; ++p) {
    if (shape.plane_bytes[p] == 0) continue;
    KvStream stream;
    stream.name.append("L").append(std::to_string(layer)).append(".").append(kind).append(".");
    stream.name.append(RowPlaneName(static_cast<RowPlane>(p)));
    stream.layer = layer;
    stream.row_bytes = shape.plane_bytes[p];
    stream.rows = rows;
    stream.offset = CeilDivide(layout.block_bytes, kPlaneAlignment) * kPlaneAlignment;
    layout.block_bytes = stream.offset + rows * stream.row_bytes;
    layout.payload_bytes += rows * stream.row_bytes;
    layout.streams.push_back(std::move(stream));
  }
}

}  // namespace

KvLayout KvLayout::Make(const ModelConfig& config, kernels::RowFormat format) {
  KvLayout layout;
  layout.format = format;
  for (int64_t l = 0; l < config.layers; ++l) {
    const int64_t ratio = config.Ratio(l);
    if (ratio == 0) continue;
    AddStreams(layout, l, "kv", RowShape::Entry(config, format), kBlockTokens / ratio);
    if (ratio != kCsaRatio) continue;
    AddStreams(layout, l, "index", RowShape::IndexKey(config, format), kBlockTokens / ratio);
  }
  layout.block_bytes = CeilDivide(layout.block_bytes, kPlaneAlignment) * kPlaneAlignment;
  return layout;
}

KvCache::KvCache(const ModelConfig& config, kernels::RowFormat format)
    : state_(std::make_unique<KvCacheState>(config, format)) {}
KvCache::KvCache(std::unique_ptr<KvCacheState> state) : state_(std::move(state)) {}
KvCache::~KvCache() = default;
KvCache::KvCache(KvCache&&) noexcept = default;
KvCache& KvCache::operator=(KvCache&&) noexcept = default;

int64_t KvCache::tokens() const { return state_->position(); }
const KvLayout& KvCache::layout() const { return state_->layout(); }
std::span<const std::shared_ptr<const KvBlock>> KvCache::blocks() const { return state_->blocks(); }
KvCache KvCache::Fork() const { return KvCache(state_->Clone()); }

std::string KvCache::SaveCheckpoint() const { return SaveKvCheckpoint(*state_); }

Result<KvCache> KvCache::Restore(const ModelConfig& config, kernels::RowFormat format,
                                 std::vector<std::shared_ptr<const KvBlock>> blocks,
                                 std::string_view checkpoint) {
  ASSIGN_OR_RETURN(std::unique_ptr<KvCacheState> state,
                   LoadKvCheckpoint(config, format, std::move(blocks), checkpoint));
  return KvCache(std::move(state));
}

}  // namespace baleen
