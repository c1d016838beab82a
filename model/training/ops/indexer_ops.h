// Index scores and their KL loss.  Source: spec sections 2.5.8 and 7.3.
#pragma once

#include "model/training/ops/op_table.h"
#include "model/training/ops/real_math.h"

namespace baleen::training {

template <class T, class Isa>
void IndexScore(const IndexScoreParams<T>& p) {
  for (int64_t q = 0; q < p.queries; ++q) {
    T* score = p.score + q * p.stride;
    for (int64_t j = 0; j < p.visible[q]; ++j) score[j] = 0;
    for (int64_t h = 0; h < p.heads; ++h) {
      const T* dots = p.dots + (q * p.heads + h) * p.stride;
      const T weight = p.weight[q * p.heads + h];
      for (int64_t j = 0; j < p.visible[q]; ++j) score[j] += MaxOf(dots[j], T(0)) * weight;
    }
  }
}

template <class T, class Isa>
void IndexScoreGrad(const IndexScoreGradParams<T>& p) {
  const IndexScoreParams<T>& f = p.forward;
  for (int64_t q = 0; q < f.queries; ++q) {
    const T* dscore = p.dscore + q * f.stride;
    for (int64_t h = 0; h < f.heads; ++h) {
      T* dots = p.dots + (q * f.heads + h) * f.stride;
      const T weight = f.weight[q * f.heads + h];
      T dweight = 0;
#pragma omp simd reduction(+ : dweight)
      for (int64_t j = 0; j < f.visible[q]; ++j) {
        dweight += dscore[j] * MaxOf(dots[j], T(0));
        dots[j] = dots[j] > 0 ? dscore[j] * weight : T(0);
      }
      for (int64_t j = f.visible[q]; j < f.stride; ++j) dots[j] = 0;
      p.dweight[q * f.heads + h] = dweight;
    }
  }
}

template <class T, class Isa>
void IndexKl(IndexKlParams<T>& p) {
  const AttentionSoftmaxParams<T>& a = p.attention;
  p.kl = 0;
  for (int64_t q = 0; q < a.queries; ++q) {
    T* score = p.score + q * p.score_stride;
    const uint8_t* mask = a.mask == nullptr ? nullptr : a.mask + q * a.mask_stride;
    const int64_t visible = a.visible[q];
    T top = T(-1e30);
    T mass = 0;
    for (int64_t j = 0; j < visible; ++j) {
      if (mask != nullptr && mask[j] == 0) continue;
      top = MaxOf(top, score[j]);
      for (int64_t h = 0; h < a.heads; ++h) {
        mass += a.scores[(q * a.heads + h) * a.stride + a.entries_at + j];
      }
    }
    T sum = 0;
    for (int64_t j = 0; j < visible; ++j) {
      if (mask == nullptr || mask[j] != 0) sum += ExpOf(score[j] - top);
    }
    const bool used = mass > T(1e-30);  // Entries without any attention teach nothing.
    const T log_sum = used ? top + LogOf(sum) : T(0);
    for (int64_t j = 0; j < visible; ++j) {
      if (!used || (mask != nullptr && mask[j] == 0)) {
        score[j] = 0;
        continue;
      }
      T target = 0;
      for (int64_t h = 0; h < a.heads; ++h) {
        target += a.scores[(q * a.heads + h) * a.stride + a.entries_at + j];
      }
      target /= mass;
      const T log_guess = score[j] - log_sum;
      if (target > 0) p.kl += static_cast<double>(target * (LogOf(target) - log_guess));
      score[j] = (ExpOf(log_guess) - target) * p.scale;
    }
  }
}

}  // namespace baleen::training
