#include "model/training/adamw.h"

#include <cmath>
#include <cstddef>

namespace baleen::training {

void AdamWStep(std::span<const float> gradient, float gradient_scale, float rate, int64_t step,
               const AdamWOptions& options, const AdamWMoments& moments, std::span<float> weights) {
  const auto count = static_cast<double>(step);
  const auto correct1 =
      static_cast<float>(1.0 / (1.0 - std::pow(static_cast<double>(options.beta1), count)));
  const auto correct2 =
      static_cast<float>(1.0 / (1.0 - std::pow(static_cast<double>(options.beta2), count)));
  const float keep = 1.0F - rate * options.weight_decay;
  for (size_t i = 0; i < weights.size(); ++i) {
    const float g = gradient_scale * gradient[i];
    float& first = moments.first[i];
    float& second = moments.second[i];
    first = options.beta1 * first + (1.0F - options.beta1) * g;
    second = options.beta2 * second + (1.0F - options.beta2) * (g * g);
    const float update = first * correct1 / (std::sqrt(second * correct2) + options.epsilon);
    weights[i] = keep * weights[i] - rate * update;
  }
}

}  // namespace baleen::training
