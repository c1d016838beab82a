// Leaf of Linear. Lanes are outputs, so that each output is one accumulator with k ascending;
// several tokens share each loaded weight. Included by the leaf_*.cc files.
#pragma once

#include "kernels/cpu/leaf.h"
#include "kernels/cpu/leaf_access.h"

namespace baleen::kernels::cpu {

template <class V, bool kBf16>
inline void LoadWeights(const void* panel, int64_t k, typename V::F& low, typename V::F& high) {
  if constexpr (kBf16) {
    V::LoadBf16Pair(static_cast<const uint32_t*>(panel) + k * kLaneCount, low, high);
  } else {
    const float* at = static_cast<const float*>(panel) + k * kPanelRows;
    low = V::Load(at);
    high = V::Load(at + kLaneCount);
  }
}

// kTokens tokens x kPanels panels; `row` is the first output row within the run.
template <class V, bool kBf16, int kTokens, int kPanels>
inline void LinearBlock(const LinearTile& tile, int64_t panel, int64_t token) {
  using F = typename V::F;
  const int64_t panel_bytes = tile.cols * kPanelRows * (kBf16 ? 2 : 4);
  const char* w[kPanels];
  for (int p = 0; p < kPanels; ++p) {
    w[p] = static_cast<const char*>(tile.panels) + (panel + p) * panel_bytes;
  }
  const float* x[kTokens];
  for (int t = 0; t < kTokens; ++t) x[t] = tile.x + (token + t) * tile.x_stride;
  F low[kPanels][kTokens];
  F high[kPanels][kTokens];
#pragma GCC unroll 16
  for (int p = 0; p < kPanels; ++p) {
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) low[p][t] = high[p][t] = V::Zero();
  }
  for (int64_t k = 0; k < tile.cols; ++k) {
#pragma GCC unroll 16
    for (int p = 0; p < kPanels; ++p) {
      F w_low;
      F w_high;
      LoadWeights<V, kBf16>(w[p], k, w_low, w_high);
#pragma GCC unroll 16
      for (int t = 0; t < kTokens; ++t) {
        const F value = V::Set(x[t][k]);
        low[p][t] = V::Fma(value, w_low, low[p][t]);
        high[p][t] = V::Fma(value, w_high, high[p][t]);
      }
    }
  }
  for (int p = 0; p < kPanels; ++p) {
    const int64_t row = (panel + p) * kPanelRows;
    for (int t = 0; t < kTokens; ++t) {
      float* out = tile.out + (token + t) * tile.out_stride + row;
      StoreLanes<V>(out, tile.rows - row, low[p][t]);
      StoreLanes<V>(out + kLaneCount, tile.rows - row - kLaneCount, high[p][t]);
    }
  }
}

// All tokens against one panel, in blocks of kTokens and then smaller ones.
template <class V, bool kBf16, int kTokens>
inline int64_t LinearTokens(const LinearTile& tile, int64_t panel, int64_t token) {
  for (; token + kTokens <= tile.tokens; token += kTokens) {
    LinearBlock<V, kBf16, kTokens, 1>(tile, panel, token);
  }
  return token;
}

template <class V, bool kBf16>
inline void LinearRun(const LinearTile& tile) {
  int64_t panel = 0;
  if (tile.tokens == 1) {
    // One token: four panels at once hide the latency of the accumulator chains.
    for (; panel + 4 <= tile.panel_count; panel += 4) LinearBlock<V, kBf16, 1, 4>(tile, panel, 0);
  }
  for (; panel < tile.panel_count; ++panel) {
    int64_t token = LinearTokens<V, kBf16, V::kLinearTokens>(tile, panel, 0);
    if constexpr (V::kLinearTokens > 6) token = LinearTokens<V, kBf16, 6>(tile, panel, token);
    if constexpr (V::kLinearTokens > 3) token = LinearTokens<V, kBf16, 3>(tile, panel, token);
    LinearTokens<V, kBf16, 1>(tile, panel, token);
  }
}

template <class V>
void LinearLeaf(const LinearTile& tile) {
  if (tile.bf16) {
    LinearRun<V, true>(tile);
  } else {
    LinearRun<V, false>(tile);
  }
}

}  // namespace baleen::kernels::cpu
