// Oracle of Rope: the angle is rounded to fp32 as in training, everything after it is double.
#include <cmath>

#include "kernels/ref/ops.h"

namespace baleen::kernels::ref {

void Rope(const RopeParams& p) {
  for (int64_t t = 0; t < p.tokens; ++t) {
    for (int64_t h = 0; h < p.heads; ++h) {
      float* last = p.x + (t * p.heads + h) * p.dim + (p.dim - 2 * p.pairs);
      for (int64_t i = 0; i < p.pairs; ++i) {
        const float angle = static_cast<float>(p.positions[t]) * p.inv_freq[i];
        const double cosine = std::cos(static_cast<double>(angle));
        const double sine = p.direction == RopeDirection::kForward
                                ? std::sin(static_cast<double>(angle))
                                : -std::sin(static_cast<double>(angle));
        const double a = last[2 * i];
        const double b = last[2 * i + 1];
        last[2 * i] = static_cast<float>(a * cosine - b * sine);
        last[2 * i + 1] = static_cast<float>(a * sine + b * cosine);
      }
    }
  }
}

}  // namespace baleen::kernels::ref
