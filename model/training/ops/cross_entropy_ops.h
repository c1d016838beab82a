// Cross entropy of rows of logits, with its gradient in place.
#pragma once

#include "model/training/ops/op_table.h"
#include "model/training/ops/real_math.h"

namespace baleen::training {

template <class T, class Isa>
void CrossEntropy(const CrossEntropyParams<T>& p) {
  for (int64_t row = 0; row < p.rows; ++row) {
    T* logits = p.logits + row * p.vocab;
    T top = logits[0];
#pragma omp simd reduction(max : top)
    for (int64_t i = 1; i < p.vocab; ++i) top = logits[i] > top ? logits[i] : top;
    int32_t argmax = 0;
    while (argmax < p.vocab && logits[argmax] != top) ++argmax;
    p.argmax[row] = argmax < p.vocab ? argmax : 0;  // Only NaN equals nothing; the loss shows it.
    p.loss[row] = 0;
    const int32_t target = p.target[row];
    if (target < 0) continue;
    T sum = 0;
    const T target_logit = logits[target];
    if (p.weight == nullptr) {
#pragma omp simd reduction(+ : sum)
      for (int64_t i = 0; i < p.vocab; ++i) sum += ExpOf(logits[i] - top);
    } else {
#pragma omp simd reduction(+ : sum)
      for (int64_t i = 0; i < p.vocab; ++i) {
        logits[i] = ExpOf(logits[i] - top);
        sum += logits[i];
      }
      const T factor = p.weight[row] / sum;
      for (int64_t i = 0; i < p.vocab; ++i) logits[i] *= factor;
      logits[target] -= p.weight[row];
    }
    p.loss[row] = top + LogOf(sum) - target_logit;
  }
}

}  // namespace baleen::training
