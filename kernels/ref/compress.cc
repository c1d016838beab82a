// Oracle of GatedPool.  Source: spec section 2.5.7.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/ref/ops.h"

namespace baleen::kernels::ref {

void GatedPool(const GatedPoolParams& p) {
  for (int64_t e = 0; e < p.entries; ++e) {
    for (int64_t c = 0; c < p.dim; ++c) {
      const int64_t first = e * p.slots * p.dim + c;
      double max = -std::numeric_limits<double>::infinity();
      for (int64_t s = 0; s < p.slots; ++s) {
        max = std::max(max, static_cast<double>(p.gate[first + s * p.dim]));
      }
      double sum = 0;
      double weighted = 0;
      for (int64_t s = 0; s < p.slots; ++s) {
        const float gate = p.gate[first + s * p.dim];
        if (std::isinf(gate) && gate < 0) continue;
        const double weight = std::exp(gate - max);
        sum += weight;
        weighted += weight * p.value[first + s * p.dim];
      }
      p.out[e * p.dim + c] = sum == 0 ? 0.0f : static_cast<float>(weighted / sum);
    }
  }
}

}  // namespace baleen::kernels::ref
