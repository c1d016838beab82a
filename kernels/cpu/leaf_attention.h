// Leaf of SparseAttention: some heads of one token. Scores lie [key][head], so that max, exp and
// the sum run over keys in order with heads as lanes. Included by the leaf_*.cc files.
#pragma once

#include "kernels/cpu/lane_math.h"
#include "kernels/cpu/leaf.h"
#include "kernels/cpu/leaf_access.h"
#include "kernels/cpu/leaf_rows.h"

namespace baleen::kernels::cpu {

// Scores of kHeads heads x kKeys keys; per pair the row sum of DotLeaf.
template <class V, int kHeads, int kKeys>
inline void ScoreBlock(const AttendTile& tile, int64_t head, int64_t key, int64_t stride) {
  using F = typename V::F;
  F sum[kHeads][kKeys];
#pragma GCC unroll 8
  for (int h = 0; h < kHeads; ++h) {
#pragma GCC unroll 8
    for (int k = 0; k < kKeys; ++k) sum[h][k] = V::Zero();
  }
  const float* q = tile.q + head * tile.dim;
  const auto step = [&](int64_t i, int64_t width) {
    F keys[kKeys];
#pragma GCC unroll 8
    for (int k = 0; k < kKeys; ++k) keys[k] = LoadUpTo<V>(tile.keys[key + k] + i, width);
#pragma GCC unroll 8
    for (int h = 0; h < kHeads; ++h) {
      const F query = LoadUpTo<V>(q + h * tile.dim + i, width);
#pragma GCC unroll 8
      for (int k = 0; k < kKeys; ++k) sum[h][k] = V::Fma(query, keys[k], sum[h][k]);
    }
  };
  ForEachVector(tile.dim, step);
#pragma GCC unroll 8
  for (int k = 0; k < kKeys; ++k) {
#pragma GCC unroll 8
    for (int h = 0; h < kHeads; ++h) {
      tile.scores[(key + k) * stride + head + h] = V::ReduceAdd(sum[h][k]) * tile.scale;
    }
  }
}

template <class V, int kHeads>
inline void ScoreHeads(const AttendTile& tile, int64_t head, int64_t stride) {
  int64_t key = 0;
  for (; key + V::kDotBlock <= tile.count; key += V::kDotBlock) {
    ScoreBlock<V, kHeads, V::kDotBlock>(tile, head, key, stride);
  }
  for (; key < tile.count; ++key) ScoreBlock<V, kHeads, 1>(tile, head, key, stride);
}

// Scores to weights, in place; row `count` of the scores receives the denominators.
template <class V>
inline void SoftmaxHeads(const AttendTile& tile, int64_t stride) {
  using F = typename V::F;
  ForEachVector(tile.heads, [&](int64_t head, int64_t width) {
    float* column = tile.scores + head;
    F max = LoadUpTo<V>(column, width);
    for (int64_t k = 1; k < tile.count; ++k) {
      max = V::Max(max, LoadUpTo<V>(column + k * stride, width));
    }
    F sum = V::Zero();
    for (int64_t k = 0; k < tile.count; ++k) {
      const F weight = Exp<V>(V::Sub(LoadUpTo<V>(column + k * stride, width), max));
      StoreUpTo<V>(column + k * stride, width, weight);
      sum = V::Add(sum, weight);
    }
    if (tile.sink != nullptr) {
      sum = V::Add(sum, Exp<V>(V::Sub(LoadUpTo<V>(tile.sink + head, width), max)));
    }
    StoreUpTo<V>(column + tile.count * stride, width, sum);
  });
}

// Weighted sums of kHeads heads x kVectors vectors of channels, keys in order.
template <class V, int kHeads, int kVectors>
inline void ValueBlock(const AttendTile& tile, int64_t head, int64_t channel, int64_t width,
                       int64_t stride) {
  using F = typename V::F;
  F sum[kHeads][kVectors];
#pragma GCC unroll 8
  for (int h = 0; h < kHeads; ++h) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sum[h][v] = V::Zero();
  }
  const float* weights = tile.scores + head;
  for (int64_t k = 0; k < tile.count; ++k) {
    F values[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      values[v] = LoadUpTo<V>(tile.keys[k] + channel + v * kLaneCount, width);
    }
#pragma GCC unroll 8
    for (int h = 0; h < kHeads; ++h) {
      const F weight = V::Set(weights[k * stride + h]);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) sum[h][v] = V::Fma(weight, values[v], sum[h][v]);
    }
  }
#pragma GCC unroll 8
  for (int h = 0; h < kHeads; ++h) {
    const F denominator = V::Set(weights[tile.count * stride + h]);
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      StoreUpTo<V>(tile.out + (head + h) * tile.dim + channel + v * kLaneCount, width,
                   V::Div(sum[h][v], denominator));
    }
  }
}

template <class V, int kHeads>
inline void ValueHeads(const AttendTile& tile, int64_t head, int64_t stride) {
  constexpr int kVectors = V::kDotBlock;
  int64_t channel = 0;
  for (; channel + kVectors * kLaneCount <= tile.dim; channel += kVectors * kLaneCount) {
    ValueBlock<V, kHeads, kVectors>(tile, head, channel, kLaneCount, stride);
  }
  ForEachVector(tile.dim - channel, [&](int64_t i, int64_t width) {
    ValueBlock<V, kHeads, 1>(tile, head, channel + i, width, stride);
  });
}

template <class V>
void AttendLeaf(const AttendTile& tile) {
  if (tile.count == 0) {
    for (int64_t i = 0; i < tile.heads * tile.dim; ++i) tile.out[i] = 0;
    return;
  }
  const int64_t stride = (tile.heads + kLaneCount - 1) / kLaneCount * kLaneCount;
  const int64_t blocked = tile.heads - tile.heads % V::kDotBlock;
  for (int64_t h = 0; h < blocked; h += V::kDotBlock) ScoreHeads<V, V::kDotBlock>(tile, h, stride);
  for (int64_t h = blocked; h < tile.heads; ++h) ScoreHeads<V, 1>(tile, h, stride);
  SoftmaxHeads<V>(tile, stride);
  for (int64_t h = 0; h < blocked; h += V::kDotBlock) ValueHeads<V, V::kDotBlock>(tile, h, stride);
  for (int64_t h = blocked; h < tile.heads; ++h) ValueHeads<V, 1>(tile, h, stride);
}

}  // namespace baleen::kernels::cpu
