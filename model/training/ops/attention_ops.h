// Softmax of attention with a sink, and its gradient.  Source: spec section 2.5.5.
#pragma once

#include "model/training/ops/op_table.h"
#include "model/training/ops/real_math.h"

namespace baleen::training {

/// Zeroes what query `q` may not see in one head's row of probabilities.
template <class T>
BALEEN_OP_INLINE void ZeroHidden(const AttentionSoftmaxParams<T>& p, int64_t q, T* row) {
  for (int64_t i = 0; i < p.window_begin[q]; ++i) row[i] = 0;
  for (int64_t i = p.window_end[q]; i < p.entries_at; ++i) row[i] = 0;
  for (int64_t i = p.entries_at + p.visible[q]; i < p.columns; ++i) row[i] = 0;
}

/// Scores of entries that were not selected become so low that their probability is 0.
template <class T>
BALEEN_OP_INLINE void HideUnselected(const AttentionSoftmaxParams<T>& p, int64_t q, T* row) {
  if (p.mask == nullptr) return;
  const uint8_t* mask = p.mask + q * p.mask_stride;
  T* entries = row + p.entries_at;
  for (int64_t i = 0; i < p.visible[q]; ++i) entries[i] = mask[i] != 0 ? entries[i] : T(-1e30);
}

template <class T>
BALEEN_OP_INLINE T MaxOfRange(const T* x, int64_t n, T top) {
#pragma omp simd reduction(max : top)
  for (int64_t i = 0; i < n; ++i) top = x[i] > top ? x[i] : top;
  return top;
}

/// x = e^(x - top); returns the sum.
template <class T>
BALEEN_OP_INLINE T ExpOfRange(T* x, int64_t n, T top) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i) {
    x[i] = x[i] > T(-1e29) ? ExpOf(x[i] - top) : T(0);
    sum += x[i];
  }
  return sum;
}

template <class T, class Isa>
void AttentionSoftmax(const AttentionSoftmaxParams<T>& p) {
  for (int64_t q = 0; q < p.queries; ++q) {
    for (int64_t h = 0; h < p.heads; ++h) {
      T* row = p.scores + (q * p.heads + h) * p.stride;
      ZeroHidden(p, q, row);
      HideUnselected(p, q, row);
      T* window = row + p.window_begin[q];
      const int64_t window_count = p.window_end[q] - p.window_begin[q];
      T* entries = row + p.entries_at;
      T top = MaxOfRange(window, window_count, p.sink[h]);
      top = MaxOfRange(entries, p.visible[q], top);
      const T sum = ExpOfRange(window, window_count, top) + ExpOfRange(entries, p.visible[q], top) +
                    ExpOf(p.sink[h] - top);
      p.lse[q * p.heads + h] = top + LogOf(sum);
      const T factor = T(1) / sum;
      for (int64_t i = 0; i < window_count; ++i) window[i] *= factor;
      for (int64_t i = 0; i < p.visible[q]; ++i) entries[i] *= factor;
    }
  }
}

template <class T, class Isa>
void AttentionProbabilities(const AttentionSoftmaxParams<T>& p) {
  for (int64_t q = 0; q < p.queries; ++q) {
    for (int64_t h = 0; h < p.heads; ++h) {
      T* row = p.scores + (q * p.heads + h) * p.stride;
      ZeroHidden(p, q, row);
      HideUnselected(p, q, row);
      const T lse = p.lse[q * p.heads + h];
      ExpOfRange(row + p.window_begin[q], p.window_end[q] - p.window_begin[q], lse);
      ExpOfRange(row + p.entries_at, p.visible[q], lse);
    }
  }
}

template <class T, class Isa>
void AttentionSoftmaxGrad(const AttentionSoftmaxGradParams<T>& p) {
  const AttentionSoftmaxParams<T>& f = p.forward;
  for (int64_t q = 0; q < f.queries; ++q) {
    for (int64_t h = 0; h < f.heads; ++h) {
      const int64_t at = q * f.heads + h;
      const T delta = p.delta[at];
      const T* probability = f.scores + at * f.stride;
      T* d = p.dprobabilities + at * f.stride;
      for (int64_t i = 0; i < f.columns; ++i) d[i] = probability[i] * (d[i] - delta);
      p.dsink[h] -= ExpOf(f.sink[h] - f.lse[at]) * delta;
    }
  }
}

template <class T, class Isa>
void RowDot(const RowDotParams<T>& p) {
  for (int64_t row = 0; row < p.rows; ++row) {
    const T* x = p.x + row * p.dim;
    const T* y = p.y + row * p.dim;
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < p.dim; ++i) sum += x[i] * y[i];
    p.out[row] = sum;
  }
}

}  // namespace baleen::training
