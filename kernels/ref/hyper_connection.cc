// Oracle of the mHC ops.  Source: spec section 2.4.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/ref/ops.h"

namespace baleen::kernels::ref {
namespace {

void NormaliseRows(std::vector<double>& m, int64_t n, double eps) {
  for (int64_t j = 0; j < n; ++j) {
    double sum = 0;
    for (int64_t k = 0; k < n; ++k) sum += m[j * n + k];
    for (int64_t k = 0; k < n; ++k) m[j * n + k] /= sum + eps;
  }
}

void NormaliseColumns(std::vector<double>& m, int64_t n, double eps) {
  for (int64_t k = 0; k < n; ++k) {
    double sum = 0;
    for (int64_t j = 0; j < n; ++j) sum += m[j * n + k];
    for (int64_t j = 0; j < n; ++j) m[j * n + k] /= sum + eps;
  }
}

// Row softmax, + eps, columns, then (iterations - 1) x (rows, columns).
void Sinkhorn(std::vector<double>& m, int64_t n, int iterations, double eps) {
  for (int64_t j = 0; j < n; ++j) {
    double max = m[j * n];
    for (int64_t k = 1; k < n; ++k) max = std::max(max, m[j * n + k]);
    double sum = 0;
    for (int64_t k = 0; k < n; ++k) sum += m[j * n + k] = std::exp(m[j * n + k] - max);
    for (int64_t k = 0; k < n; ++k) m[j * n + k] = m[j * n + k] / sum + eps;
  }
  NormaliseColumns(m, n, eps);
  for (int i = 1; i < iterations; ++i) {
    NormaliseRows(m, n, eps);
    NormaliseColumns(m, n, eps);
  }
}

}  // namespace

void HcGates(const HcGatesParams& p) {
  const int64_t n = p.mult;
  const int64_t width = n * p.dim;
  const int64_t rows = p.fn->rows();
  const float* fn = ValuesOf(*p.fn);
  std::vector<double> mix(static_cast<size_t>(rows));
  std::vector<double> comb(static_cast<size_t>(n * n));
  for (int64_t t = 0; t < p.tokens; ++t) {
    const float* z = p.streams + t * width;
    double squares = 0;
    for (int64_t i = 0; i < width; ++i) squares += static_cast<double>(z[i]) * z[i];
    const double factor = 1.0 / std::sqrt(squares / static_cast<double>(width) + p.norm_eps);
    for (int64_t r = 0; r < rows; ++r) {
      double sum = 0;
      for (int64_t i = 0; i < width; ++i) sum += static_cast<double>(z[i]) * fn[r * width + i];
      mix[r] = sum * factor;
    }
    for (int64_t j = 0; j < n; ++j) {
      p.pre[t * n + j] = static_cast<float>(Sigmoid(mix[j] * p.scale[0] + p.base[j]) + p.hc_eps);
    }
    if (p.post == nullptr) continue;
    for (int64_t j = 0; j < n; ++j) {
      p.post[t * n + j] =
          static_cast<float>(2.0 * Sigmoid(mix[n + j] * p.scale[1] + p.base[n + j]));
    }
    for (int64_t i = 0; i < n * n; ++i) comb[i] = mix[2 * n + i] * p.scale[2] + p.base[2 * n + i];
    Sinkhorn(comb, n, p.sinkhorn_iterations, p.hc_eps);
    for (int64_t i = 0; i < n * n; ++i) p.comb[t * n * n + i] = static_cast<float>(comb[i]);
  }
}

void HcCollapse(const HcCollapseParams& p) {
  for (int64_t t = 0; t < p.tokens; ++t) {
    for (int64_t d = 0; d < p.dim; ++d) {
      double sum = 0;
      for (int64_t i = 0; i < p.mult; ++i) {
        sum += static_cast<double>(p.pre[t * p.mult + i]) * p.streams[(t * p.mult + i) * p.dim + d];
      }
      p.out[t * p.dim + d] = static_cast<float>(sum);
    }
  }
}

void HcExpand(const HcExpandParams& p) {
  std::vector<double> next(static_cast<size_t>(p.mult));
  for (int64_t t = 0; t < p.tokens; ++t) {
    const float* comb = p.comb + t * p.mult * p.mult;
    for (int64_t d = 0; d < p.dim; ++d) {
      for (int64_t k = 0; k < p.mult; ++k) {
        next[k] = static_cast<double>(p.post[t * p.mult + k]) * p.y[t * p.dim + d];
        for (int64_t j = 0; j < p.mult; ++j) {
          next[k] +=
              static_cast<double>(comb[j * p.mult + k]) * p.streams[(t * p.mult + j) * p.dim + d];
        }
      }
      for (int64_t k = 0; k < p.mult; ++k) {
        p.streams[(t * p.mult + k) * p.dim + d] = static_cast<float>(next[k]);
      }
    }
  }
}

}  // namespace baleen::kernels::ref
