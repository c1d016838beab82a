// Hyper-connections: gates with their Sinkhorn iterations, collapse and expand.
//
// Sinkhorn runs on kLanes tokens at a time, lanes being tokens; its backward pass repeats the
// forward one, keeps every step, and walks back through them.  Source: spec section 2.4.
#pragma once

#include "model/training/ops/op_table.h"
#include "model/training/ops/real_math.h"

namespace baleen::training {

inline constexpr int64_t kHcLanes = 16;
inline constexpr int64_t kHcMultMax = 8;
inline constexpr int64_t kHcCells = kHcMultMax * kHcMultMax;

/// One matrix entry of kHcLanes tokens.
template <class T>
struct HcLane {
  T v[kHcLanes];
};

/// Divides groups of `m` by their sum + eps; a group is a row (stride 1) or a column (stride mult).
/// `inverse` gets 1 / (sum + eps) per group.
template <class T>
BALEEN_OP_INLINE void SinkhornStep(HcLane<T>* m, int64_t mult, bool rows, T eps,
                                   HcLane<T>* inverse) {
  for (int64_t g = 0; g < mult; ++g) {
    const int64_t first = rows ? g * mult : g;
    const int64_t step = rows ? 1 : mult;
    HcLane<T> sum = {};
    for (int64_t i = 0; i < mult; ++i) {
      for (int64_t l = 0; l < kHcLanes; ++l) sum.v[l] += m[first + i * step].v[l];
    }
    for (int64_t l = 0; l < kHcLanes; ++l) inverse[g].v[l] = T(1) / (sum.v[l] + eps);
    for (int64_t i = 0; i < mult; ++i) {
      for (int64_t l = 0; l < kHcLanes; ++l) m[first + i * step].v[l] *= inverse[g].v[l];
    }
  }
}

/// d of a step's input from d of its output `m`: (d - sum(d * m)) / (sum + eps).
template <class T>
BALEEN_OP_INLINE void SinkhornStepGrad(const HcLane<T>* m, const HcLane<T>* inverse, int64_t mult,
                                       bool rows, HcLane<T>* d) {
  for (int64_t g = 0; g < mult; ++g) {
    const int64_t first = rows ? g * mult : g;
    const int64_t step = rows ? 1 : mult;
    HcLane<T> dot = {};
    for (int64_t i = 0; i < mult; ++i) {
      const int64_t at = first + i * step;
      for (int64_t l = 0; l < kHcLanes; ++l) dot.v[l] += d[at].v[l] * m[at].v[l];
    }
    for (int64_t i = 0; i < mult; ++i) {
      const int64_t at = first + i * step;
      for (int64_t l = 0; l < kHcLanes; ++l) {
        d[at].v[l] = (d[at].v[l] - dot.v[l]) * inverse[g].v[l];
      }
    }
  }
}

/// Softmax along rows, in place. The quotient gets eps added afterwards.
template <class T>
BALEEN_OP_INLINE void RowSoftmax(HcLane<T>* m, int64_t mult) {
  for (int64_t j = 0; j < mult; ++j) {
    HcLane<T> top = m[j * mult];
    for (int64_t k = 1; k < mult; ++k) {
      for (int64_t l = 0; l < kHcLanes; ++l) top.v[l] = MaxOf(top.v[l], m[j * mult + k].v[l]);
    }
    HcLane<T> sum = {};
    for (int64_t k = 0; k < mult; ++k) {
      HcLane<T>& cell = m[j * mult + k];
      for (int64_t l = 0; l < kHcLanes; ++l) {
        cell.v[l] = ExpOf(cell.v[l] - top.v[l]);
        sum.v[l] += cell.v[l];
      }
    }
    for (int64_t k = 0; k < mult; ++k) {
      for (int64_t l = 0; l < kHcLanes; ++l) m[j * mult + k].v[l] /= sum.v[l];
    }
  }
}

/// Logits of the comb of `count` tokens from `token` on; unused lanes are zero.
template <class T>
BALEEN_OP_INLINE void LoadCombLogits(const HcGatesParams<T>& p, int64_t token, int64_t count,
                                     HcLane<T>* m) {
  const int64_t gates = p.mult * (2 + p.mult);
  const int64_t first = 2 * p.mult;
  for (int64_t i = 0; i < p.mult * p.mult; ++i) {
    for (int64_t l = 0; l < kHcLanes; ++l) {
      m[i].v[l] = l < count
                      ? p.mix[(token + l) * gates + first + i] * p.rho[token + l] * p.scale[2] +
                            p.base[first + i]
                      : T(0);
    }
  }
}

template <class T, class Isa>
void HcGates(const HcGatesParams<T>& p) {
  const int64_t width = p.mult * p.dim;
  const bool head = p.comb == nullptr;
  const int64_t gates = head ? p.mult : p.mult * (2 + p.mult);
  for (int64_t t = 0; t < p.tokens; ++t) {
    const T* z = p.streams + t * width;
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < width; ++i) sum += z[i] * z[i];
    const T rho = T(1) / SqrtOf(sum / static_cast<T>(width) + p.norm_eps);
    p.rho[t] = rho;
    const T* mix = p.mix + t * gates;
    for (int64_t j = 0; j < p.mult; ++j) {
      p.pre[t * p.mult + j] = SigmoidOf(mix[j] * rho * p.scale[0] + p.base[j]) + p.hc_eps;
      if (head) continue;
      const int64_t at = p.mult + j;
      p.post[t * p.mult + j] = T(2) * SigmoidOf(mix[at] * rho * p.scale[1] + p.base[at]);
    }
  }
  if (head) return;
  HcLane<T> m[kHcCells];
  HcLane<T> inverse[kHcMultMax];
  const int64_t cells = p.mult * p.mult;
  for (int64_t t = 0; t < p.tokens; t += kHcLanes) {
    const int64_t count = MinOf(kHcLanes, p.tokens - t);
    LoadCombLogits(p, t, count, m);
    RowSoftmax(m, p.mult);
    for (int64_t i = 0; i < cells; ++i) {
      for (int64_t l = 0; l < kHcLanes; ++l) m[i].v[l] += p.hc_eps;
    }
    SinkhornStep(m, p.mult, /*rows=*/false, p.hc_eps, inverse);
    for (int64_t n = 1; n < p.iterations; ++n) {
      SinkhornStep(m, p.mult, /*rows=*/true, p.hc_eps, inverse);
      SinkhornStep(m, p.mult, /*rows=*/false, p.hc_eps, inverse);
    }
    for (int64_t l = 0; l < count; ++l) {
      for (int64_t i = 0; i < cells; ++i) p.comb[(t + l) * cells + i] = m[i].v[l];
    }
  }
}

}  // namespace baleen::training
