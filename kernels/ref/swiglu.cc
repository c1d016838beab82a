// Oracle of SwiGlu: the gate is clamped from above only, up on both sides, both before silu.
// Source: spec section 2.6.
#include <algorithm>
#include <cmath>

#include "kernels/ref/ops.h"

namespace baleen::kernels::ref {

double Sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }
double Silu(double x) { return x * Sigmoid(x); }

void SwiGlu(const SwiGluParams& p) {
  for (int64_t r = 0; r < p.rows; ++r) {
    const double weight = p.weight != nullptr ? p.weight[r] : 1.0;
    for (int64_t i = 0; i < p.dim; ++i) {
      double gate = p.gate[r * p.dim + i];
      double up = p.up[r * p.dim + i];
      if (p.limit > 0) {
        const double limit = p.limit;
        gate = std::min(gate, limit);
        up = std::clamp(up, -limit, limit);
      }
      p.out[r * p.dim + i] = static_cast<float>(weight * Silu(gate) * up);
    }
  }
}

}  // namespace baleen::kernels::ref
