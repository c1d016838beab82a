// Leaves that work on one row or one token: norms, elementwise functions, mHC, pooling, SwiGLU.
// Included by the leaf_*.cc files.
#pragma once

#include "kernels/cpu/lane_math.h"
#include "kernels/cpu/leaf.h"
#include "kernels/cpu/leaf_access.h"

namespace baleen::kernels::cpu {

template <class V>
float DotLeaf(const float* a, const float* b, int64_t n) {
  typename V::F sum = V::Zero();
  ForEachVector(n, [&](int64_t i, int64_t width) {
    sum = V::Fma(LoadUpTo<V>(a + i, width), LoadUpTo<V>(b + i, width), sum);
  });
  return V::ReduceAdd(sum);
}

/// 1 / sqrt(mean_square + eps), on lanes so that no scalar library function is involved.
template <class V>
inline typename V::F InverseRoot(float mean_square, float eps) {
  return V::Div(V::Set(1.0f), V::Sqrt(V::Set(mean_square + eps)));
}

template <class V>
void RmsNormLeaf(const float* x, const float* weight, float* out, int64_t dim, float eps) {
  const float mean = DotLeaf<V>(x, x, dim) / static_cast<float>(dim);
  const typename V::F factor = InverseRoot<V>(mean, eps);
  ForEachVector(dim, [&](int64_t i, int64_t width) {
    typename V::F y = V::Mul(LoadUpTo<V>(x + i, width), factor);
    if (weight != nullptr) y = V::Mul(LoadUpTo<V>(weight + i, width), y);
    StoreUpTo<V>(out + i, width, y);
  });
}

template <class V, typename V::F (*kFunction)(typename V::F)>
void MapLeaf(const float* x, float* out, int64_t n) {
  ForEachVector(n, [&](int64_t i, int64_t width) {
    StoreUpTo<V>(out + i, width, kFunction(LoadUpTo<V>(x + i, width)));
  });
}

template <class V>
void HcCollapseLeaf(const float* streams, const float* pre, int64_t mult, int64_t dim, float* out) {
  ForEachVector(dim, [&](int64_t i, int64_t width) {
    typename V::F sum = V::Mul(V::Set(pre[0]), LoadUpTo<V>(streams + i, width));
    for (int64_t s = 1; s < mult; ++s) {
      sum = V::Fma(V::Set(pre[s]), LoadUpTo<V>(streams + s * dim + i, width), sum);
    }
    StoreUpTo<V>(out + i, width, sum);
  });
}

template <class V>
void HcExpandLeaf(float* streams, const float* y, const float* post, const float* comb,
                  int64_t mult, int64_t dim) {
  ForEachVector(dim, [&](int64_t i, int64_t width) {
    constexpr int64_t kMultMax = 8;
    typename V::F old[kMultMax];
    for (int64_t j = 0; j < mult; ++j) old[j] = LoadUpTo<V>(streams + j * dim + i, width);
    const typename V::F added = LoadUpTo<V>(y + i, width);
    for (int64_t k = 0; k < mult; ++k) {
      typename V::F sum = V::Mul(V::Set(post[k]), added);
      for (int64_t j = 0; j < mult; ++j) sum = V::Fma(V::Set(comb[j * mult + k]), old[j], sum);
      StoreUpTo<V>(streams + k * dim + i, width, sum);
    }
  });
}

template <class V>
void GatedPoolLeaf(const float* value, const float* gate, int64_t slots, int64_t dim, float* out) {
  using F = typename V::F;
  const F lowest = V::Set(-__builtin_inff());
  ForEachVector(dim, [&](int64_t i, int64_t width) {
    F max = lowest;
    for (int64_t s = 0; s < slots; ++s) max = V::Max(max, LoadUpTo<V>(gate + s * dim + i, width));
    F sum = V::Zero();
    F weighted = V::Zero();
    for (int64_t s = 0; s < slots; ++s) {
      const F g = LoadUpTo<V>(gate + s * dim + i, width);
      const F v = LoadUpTo<V>(value + s * dim + i, width);
      // Skips -inf rather than multiplying by zero: the value may be anything, max may be -inf.
      const typename V::Mask absent = V::Less(g, V::Set(-3.4028234e38f));
      const F weight = V::Select(absent, V::Zero(), Exp<V>(V::Sub(g, max)));
      sum = V::Add(sum, weight);
      weighted = V::Fma(weight, V::Select(absent, V::Zero(), v), weighted);
    }
    const typename V::Mask empty = V::Less(max, V::Set(-3.4028234e38f));
    StoreUpTo<V>(out + i, width, V::Select(empty, V::Zero(), V::Div(weighted, sum)));
  });
}

template <class V>
void SwiGluLeaf(const float* gate, const float* up, float weight, float limit, int64_t dim,
                float* out) {
  using F = typename V::F;
  ForEachVector(dim, [&](int64_t i, int64_t width) {
    F g = LoadUpTo<V>(gate + i, width);
    F u = LoadUpTo<V>(up + i, width);
    if (limit > 0) {
      g = V::Min(V::Set(limit), g);
      u = V::Max(V::Set(-limit), V::Min(V::Set(limit), u));
    }
    StoreUpTo<V>(out + i, width, V::Mul(V::Mul(V::Set(weight), Silu<V>(g)), u));
  });
}

}  // namespace baleen::kernels::cpu
