// AdamW: one step of one tensor, element by element.
#pragma once

#include <cstdint>
#include <span>

namespace baleen::training {

/// Source of the defaults: DeepSeek-V4 report, section 2.4.
struct AdamWOptions {
  float beta1 = 0.9F;
  float beta2 = 0.95F;
  float epsilon = 1e-20F;
  float weight_decay = 0.1F;
};

struct AdamWMoments {
  std::span<float> first;   ///< [elements]
  std::span<float> second;  ///< [elements]
};

/// `step` counts from 1: the number of updates of this tensor with this one, for the bias
/// correction. `gradient_scale` multiplies every gradient first (clipping). Shapes: gradient,
/// moments, weights [elements].
void AdamWStep(std::span<const float> gradient, float gradient_scale, float rate, int64_t step,
               const AdamWOptions& options, const AdamWMoments& moments, std::span<float> weights);

}  // namespace baleen::training
