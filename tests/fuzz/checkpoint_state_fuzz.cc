// KV checkpoints from a damaged store: refused, or taken in and written out as the same bytes.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "model/kv_cache.h"

namespace {

using baleen::KvBlock;
using baleen::KvCache;
using baleen::KvLayout;
using baleen::LayerKind;
using baleen::kernels::RowFormat;

baleen::ModelConfig Config() {
  baleen::ModelConfig config;
  config.layers = 3;
  config.head_dim = 6;
  config.rope_dim = 2;
  config.window = 3;
  config.index_dim = 4;
  config.positions_max = 2048;
  config.layer_kinds = {LayerKind::kWindow, LayerKind::kCsa, LayerKind::kHca};
  return config;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* input, size_t size) {
  if (size < 2) return 0;
  const baleen::ModelConfig config = Config();
  const RowFormat format = (input[0] & 1) != 0 ? RowFormat::kPacked : RowFormat::kFloat;
  const KvLayout layout = KvLayout::Make(config, format);
  KvBlock::Bytes resident(static_cast<size_t>(layout.units.front().bytes));
  const std::vector<std::shared_ptr<KvBlock>> blocks(
      input[1] % 4, std::make_shared<KvBlock>(baleen::KvBlockId{}, resident, layout.units.size()));
  std::string bytes(reinterpret_cast<const char*>(input + 2), size - 2);
  if ((input[0] & 2) != 0) {
    // From a good one: the input is laid over it, so that the search starts behind the header.
    std::string good = KvCache(config, format).SaveCheckpoint();
    if (good.size() < bytes.size()) good.resize(bytes.size());
    for (size_t i = 0; i < bytes.size(); ++i) good[i] = static_cast<char>(good[i] ^ bytes[i]);
    bytes = good;
  }
  const auto cache = KvCache::Restore(config, format, blocks, bytes);
  if (cache.ok() && cache->SaveCheckpoint() != bytes) std::abort();
  return 0;
}
