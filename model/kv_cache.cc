#include "model/kv_cache.h"

#include <utility>

#include "model/kv_cache_state.h"
#include "model/kv_checkpoint.h"

namespace baleen {
KvCache::KvCache(const ModelConfig& config, kernels::RowFormat format)
    : state_(std::make_unique<KvCacheState>(config, format)) {}
KvCache::KvCache(std::unique_ptr<KvCacheState> state) : state_(std::move(state)) {}
KvCache::~KvCache() = default;
KvCache::KvCache(KvCache&&) noexcept = default;
KvCache& KvCache::operator=(KvCache&&) noexcept = default;

int64_t KvCache::tokens() const { return state_->position(); }
const KvLayout& KvCache::layout() const { return state_->layout(); }
std::span<const std::shared_ptr<KvBlock>> KvCache::blocks() const { return state_->blocks(); }
bool KvCache::replaying() const { return state_->replaying(); }
void KvCache::set_row_source(KvRowSource* source) { state_->set_row_source(source); }
KvCache KvCache::Fork() const { return KvCache(state_->Clone()); }

std::string KvCache::SaveCheckpoint() const { return SaveKvCheckpoint(*state_); }

Result<KvCache> KvCache::Restore(const ModelConfig& config, kernels::RowFormat format,
                                 std::vector<std::shared_ptr<KvBlock>> blocks,
                                 std::string_view checkpoint) {
  ASSIGN_OR_RETURN(std::unique_ptr<KvCacheState> state,
                   LoadKvCheckpoint(config, format, std::move(blocks), checkpoint));
  return KvCache(std::move(state));
}

KvCache KvCache::Replay(const ModelConfig& config, kernels::RowFormat format,
                        std::vector<std::shared_ptr<KvBlock>> blocks, int64_t position) {
  auto state = std::make_unique<KvCacheState>(config, format);
  state->Adopt(std::move(blocks), position);
  return KvCache(std::move(state));
}

int64_t KvCache::ReplayTokens(const ModelConfig& config) { return config.window * config.layers; }

std::vector<KvUnitRef> KvCache::AbsentUnits(KvUnits which) const {
  std::vector<KvUnitRef> absent;
  const auto add = [&](int64_t index, int32_t unit) {
    const std::shared_ptr<KvBlock>& block = blocks()[static_cast<size_t>(index)];
    if (!block->present(unit)) absent.push_back({block, index, unit});
  };
  if (which == KvUnits::kAll) {
    for (int64_t i = 0; i < std::ssize(blocks()); ++i) {
      for (int32_t u = 0; u < blocks()[static_cast<size_t>(i)]->units(); ++u) add(i, u);
    }
    return absent;
  }
  for (const LayerKv& layer : state_->layers()) {
    for (const int32_t index : layer.selected_blocks) add(index, layer.entries.unit);
  }
  return absent;
}

}  // namespace baleen
