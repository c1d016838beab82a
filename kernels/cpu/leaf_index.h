// Leaves of IndexTopK: keys to a channel-major panel, and scores of a panel. Lanes are keys.
// Included by the leaf_*.cc files.
#pragma once

#include "kernels/cpu/leaf.h"
#include "kernels/cpu/leaf_access.h"

namespace baleen::kernels::cpu {

template <class V>
void UnpackIndexKeysLeaf(const UnpackTile& tile) {
  const int64_t row_bytes = tile.dim / 2;
  const int64_t row_scales = (tile.dim + 31) / 32;
  for (int64_t block = 0; block < row_scales; ++block) {
    float lane_scales[kLaneCount];
    for (int64_t i = 0; i < kLaneCount; ++i) {
      lane_scales[i] = tile.scale_values[tile.scales[i * row_scales + block]];
    }
    const typename V::F scale = V::Load(lane_scales);
    const int64_t end = tile.dim < (block + 1) * 32 ? tile.dim : (block + 1) * 32;
    for (int64_t k = block * 32; k < end; k += 8) {
      typename V::I words = V::GatherWords(tile.codes + k / 2, static_cast<int32_t>(row_bytes));
      for (int64_t i = 0; i < 8; ++i) {
        V::Store(tile.panel + (k + i) * kPanelRows, V::Mul(V::DecodeE2M1(words), scale));
        words = V::ShiftRight(words, 4);
      }
    }
  }
}

// Scores of the token whose heads are being walked; survives from one block of rows to the next.
template <class V>
struct ScoreSum {
  typename V::F low;
  typename V::F high;
};

// Dot products of kRows consecutive q rows, then relu and the weighted sum over heads in order.
template <class V, int kRows>
inline void IndexBlock(const IndexTile& tile, int64_t row, ScoreSum<V>& sum) {
  using F = typename V::F;
  F low[kRows];
  F high[kRows];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) low[r] = high[r] = V::Zero();
  const float* q = tile.q + row * tile.dim;
  for (int64_t k = 0; k < tile.dim; ++k) {
    const F key_low = V::Load(tile.panel + k * kPanelRows);
    const F key_high = V::Load(tile.panel + k * kPanelRows + kLaneCount);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const F value = V::Set(q[r * tile.dim + k]);
      low[r] = V::Fma(value, key_low, low[r]);
      high[r] = V::Fma(value, key_high, high[r]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    const int64_t head = (row + r) % tile.heads;
    if (head == 0) sum.low = sum.high = V::Zero();
    const F weight = V::Set(tile.weights[row + r]);
    sum.low = V::Fma(V::Max(V::Zero(), low[r]), weight, sum.low);
    sum.high = V::Fma(V::Max(V::Zero(), high[r]), weight, sum.high);
    if (head + 1 == tile.heads) {
      float* out = tile.scores + (row + r) / tile.heads * tile.scores_stride;
      StoreLanes<V>(out, tile.keys, sum.low);
      StoreLanes<V>(out + kLaneCount, tile.keys - kLaneCount, sum.high);
    }
  }
}

template <class V>
void IndexScoresLeaf(const IndexTile& tile) {
  ScoreSum<V> sum = {V::Zero(), V::Zero()};
  const int64_t rows = tile.tokens * tile.heads;
  int64_t row = 0;
  for (; row + V::kLinearTokens <= rows; row += V::kLinearTokens) {
    IndexBlock<V, V::kLinearTokens>(tile, row, sum);
  }
  if constexpr (V::kLinearTokens > 4) {
    for (; row + 4 <= rows; row += 4) IndexBlock<V, 4>(tile, row, sum);
  }
  for (; row < rows; ++row) IndexBlock<V, 1>(tile, row, sum);
}

}  // namespace baleen::kernels::cpu
