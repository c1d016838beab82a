#include "model/training/orthogonalise.h"

#include <cmath>
#include <cstddef>
#include <utility>

namespace baleen::training {
namespace {

// out [rows, cols] = x [rows, inner] . y [inner, cols]
void Multiply(const float* x, const float* y, int64_t rows, int64_t inner, int64_t cols,
              float* out) {
  for (int64_t r = 0; r < rows; ++r) {
    float* to = out + r * cols;
    for (int64_t c = 0; c < cols; ++c) to[c] = 0;
    for (int64_t k = 0; k < inner; ++k) {
      const float factor = x[r * inner + k];
      const float* from = y + k * cols;
      for (int64_t c = 0; c < cols; ++c) to[c] += factor * from[c];
    }
  }
}

// out [rows, rows] = x . x'
void Gram(const float* x, int64_t rows, int64_t inner, float* out) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t s = 0; s <= r; ++s) {
      float sum = 0;
      for (int64_t k = 0; k < inner; ++k) sum += x[r * inner + k] * x[s * inner + k];
      out[r * rows + s] = out[s * rows + r] = sum;
    }
  }
}

}  // namespace

void Orthogonaliser::Step(int64_t n, int64_t m, float a, float b, float c) {
  Gram(x_.data(), n, m, gram_.data());
  Multiply(gram_.data(), gram_.data(), n, n, n, squared_.data());
  for (int64_t i = 0; i < n * n; ++i) {
    const auto at = static_cast<size_t>(i);
    gram_[at] = b * gram_[at] + c * squared_[at];
  }
  Multiply(gram_.data(), x_.data(), n, n, m, next_.data());
  for (int64_t i = 0; i < n * m; ++i) {
    const auto at = static_cast<size_t>(i);
    next_[at] += a * x_[at];
  }
  std::swap(x_, next_);
}

void Orthogonaliser::Run(const float* in, int64_t rows, int64_t cols,
                         const NewtonSchulzSteps& steps, float* out) {
  const bool tall = rows > cols;
  const int64_t n = tall ? cols : rows;
  const int64_t m = tall ? rows : cols;
  x_.resize(static_cast<size_t>(n * m));
  next_.resize(static_cast<size_t>(n * m));
  gram_.resize(static_cast<size_t>(n * n));
  squared_.resize(static_cast<size_t>(n * n));
  double squares = 0;
  for (int64_t i = 0; i < n * m; ++i) squares += static_cast<double>(in[i]) * in[i];
  const auto scale = static_cast<float>(squares > 0 ? 1.0 / std::sqrt(squares) : 0.0);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) {
      x_[static_cast<size_t>(tall ? c * m + r : r * m + c)] = in[r * cols + c] * scale;
    }
  }
  for (int i = 0; i < steps.fast; ++i) Step(n, m, 3.4445F, -4.7750F, 2.0315F);
  for (int i = 0; i < steps.stable; ++i) Step(n, m, 2.0F, -1.5F, 0.5F);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) {
      out[r * cols + c] = x_[static_cast<size_t>(tall ? c * m + r : r * m + c)];
    }
  }
}

}  // namespace baleen::training
