// RMS norm and rotary ops.  Source: spec sections 2.2 and 2.5.1.
#pragma once

#include "model/training/ops/op_table.h"
#include "model/training/ops/real_math.h"

namespace baleen::training {

template <class T, class Isa>
void RmsNorm(const RmsNormParams<T>& p) {
  for (int64_t row = 0; row < p.rows; ++row) {
    const T* x = p.x + row * p.dim;
    T* y = p.y + row * p.dim;
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < p.dim; ++i) sum += x[i] * x[i];
    const T rstd = T(1) / SqrtOf(sum / static_cast<T>(p.dim) + p.eps);
    p.rstd[row] = rstd;
    if (p.weight != nullptr) {
      for (int64_t i = 0; i < p.dim; ++i) y[i] = p.weight[i] * (x[i] * rstd);
    } else {
      for (int64_t i = 0; i < p.dim; ++i) y[i] = x[i] * rstd;
    }
  }
}

template <class T, class Isa>
void RmsNormGrad(const RmsNormGradParams<T>& p) {
  for (int64_t row = 0; row < p.rows; ++row) {
    const T* x = p.x + row * p.dim;
    const T* dy = p.dy + row * p.dim;
    T* dx = p.dx + row * p.dim;
    const T rstd = p.rstd[row];
    T dot = 0;
#pragma omp simd reduction(+ : dot)
    for (int64_t i = 0; i < p.dim; ++i) dot += p.weight[i] * dy[i] * x[i];
    const T back = dot * rstd * rstd * rstd / static_cast<T>(p.dim);
    if (p.dweight != nullptr) {
#pragma omp simd
      for (int64_t i = 0; i < p.dim; ++i) p.dweight[i] += dy[i] * x[i] * rstd;
    }
#pragma omp simd
    for (int64_t i = 0; i < p.dim; ++i) dx[i] = p.weight[i] * dy[i] * rstd - back * x[i];
  }
}

template <class T, class Isa>
void Rope(const RopeParams<T>& p) {
  for (int64_t row = 0; row < p.rows; ++row) {
    const T* cosine = p.cosine + p.position[row] * p.pairs;
    const T* sine = p.sine + p.position[row] * p.pairs;
    const T sign = p.inverse ? T(-1) : T(1);
    for (int64_t h = 0; h < p.heads; ++h) {
      T* x = p.x + (row * p.heads + h + 1) * p.dim - 2 * p.pairs;
      for (int64_t i = 0; i < p.pairs; ++i) {
        const T a = x[2 * i];
        const T b = x[2 * i + 1];
        const T s = sign * sine[i];
        x[2 * i] = a * cosine[i] - b * s;
        x[2 * i + 1] = a * s + b * cosine[i];
      }
    }
  }
}

// A rotation keeps dot products, so the norm's gradient can be taken on rotated vectors.
template <class T, class Isa>
void HeadNormGrad(const HeadNormGradParams<T>& p) {
  for (int64_t row = 0; row < p.rows; ++row) {
    const T* q = p.q + row * p.dim;
    T* dq = p.dq + row * p.dim;
    T dot = 0;
#pragma omp simd reduction(+ : dot)
    for (int64_t i = 0; i < p.dim; ++i) dot += q[i] * dq[i];
    const T mean = dot / static_cast<T>(p.dim);
    const T rstd = p.rstd[row];
    for (int64_t i = 0; i < p.dim; ++i) dq[i] = rstd * (dq[i] - mean * q[i]);
  }
}

}  // namespace baleen::training
