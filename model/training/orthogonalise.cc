#include "model/training/orthogonalise.h"

#include <cmath>
#include <cstddef>
#include <utility>

namespace baleen::training {

// x_ <- a x + (b xx' + c (xx')^2) x
void Orthogonaliser::Step(int64_t n, int64_t m, float a, float b, float c) {
  GemmParams<float> gram{.m = n, .n = n, .k = m, .pack = pack_.data()};
  gram.a = gram.b = x_.data();
  gram.a_row = gram.b_col = m;
  gram.a_col = gram.b_row = 1;
  gram.c = gram_.data();
  gram.c_row = n;
  ops_->gemm(gram);

  GemmParams<float> square{.m = n, .n = n, .k = n, .pack = pack_.data()};
  square.a = square.b = gram_.data();
  square.a_row = square.b_row = n;
  square.a_col = square.b_col = 1;
  square.c = polynomial_.data();
  square.c_row = n;
  square.alpha = c;
  ops_->gemm(square);
  for (int64_t i = 0; i < n * n; ++i) {
    polynomial_[static_cast<size_t>(i)] += b * gram_[static_cast<size_t>(i)];
  }

  for (int64_t i = 0; i < n * m; ++i) {
    next_[static_cast<size_t>(i)] = a * x_[static_cast<size_t>(i)];
  }
  GemmParams<float> product{.m = n, .n = m, .k = n, .pack = pack_.data()};
  product.a = polynomial_.data();
  product.a_row = n;
  product.a_col = 1;
  product.b = x_.data();
  product.b_row = m;
  product.b_col = 1;
  product.c = next_.data();
  product.c_row = m;
  product.accumulate = true;
  ops_->gemm(product);
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
  polynomial_.resize(static_cast<size_t>(n * n));
  pack_.resize(kGemmPackElements);
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
