// Oracle of RmsNorm.  Source: spec section 2.2.
#include <cmath>

#include "kernels/ref/ops.h"

namespace baleen::kernels::ref {

void RmsNorm(const RmsNormParams& p) {
  for (int64_t r = 0; r < p.rows; ++r) {
    const float* x = p.x + r * p.dim;
    double squares = 0;
    for (int64_t i = 0; i < p.dim; ++i) squares += static_cast<double>(x[i]) * x[i];
    const double factor = 1.0 / std::sqrt(squares / static_cast<double>(p.dim) + p.eps);
    for (int64_t i = 0; i < p.dim; ++i) {
      const double weight = p.weight != nullptr ? p.weight[i] : 1.0;
      p.out[r * p.dim + i] = static_cast<float>(weight * (x[i] * factor));
    }
  }
}

}  // namespace baleen::kernels::ref
