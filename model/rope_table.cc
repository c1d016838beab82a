#include "model/rope_table.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace baleen {
namespace {

/// The pair index whose wavelength makes `rotations` turns over the original context, as a real.
double CorrectionDim(const RopeSpec& spec, double rotations) {
  return static_cast<double>(spec.dim) *
         std::log(static_cast<double>(spec.original_positions) /
                  (rotations * 2 * std::numbers::pi)) /
         (2 * std::log(spec.theta));
}

/// Slow pairs are interpolated (divided by the factor), fast ones kept, those between blended.
void ApplyYarn(const RopeSpec& spec, std::vector<float>& frequencies) {
  const double low = std::max(std::floor(CorrectionDim(spec, spec.beta_fast)), 0.0);
  double high =
      std::min(std::ceil(CorrectionDim(spec, spec.beta_slow)), static_cast<double>(spec.dim - 1));
  if (low == high) high += 0.001;  // the reference's guard against a division by zero
  const auto factor = static_cast<float>(spec.yarn_factor);
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const float ramp = std::clamp(
        (static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low), 0.0F,
        1.0F);
    const float keep = 1.0F - ramp;
    const float f = frequencies[i];
    frequencies[i] = f / factor * (1.0F - keep) + f * keep;
  }
}

}  // namespace

RopeSpec WindowRope(const ModelConfig& config) {
  RopeSpec spec;
  spec.theta = config.rope_theta;
  spec.dim = config.rope_dim;
  return spec;
}

RopeSpec CompressRope(const ModelConfig& config) {
  RopeSpec spec;
  spec.theta = config.compress_rope_theta;
  spec.dim = config.rope_dim;
  spec.yarn_factor = config.yarn_factor;
  spec.original_positions = config.yarn_original_positions;
  spec.beta_fast = config.yarn_beta_fast;
  spec.beta_slow = config.yarn_beta_slow;
  return spec;
}

std::vector<float> InverseFrequencies(const RopeSpec& spec) {
  std::vector<float> frequencies(static_cast<size_t>(spec.dim / 2));
  for (size_t i = 0; i < frequencies.size(); ++i) {
    // Exponent, power and reciprocal are each rounded to fp32, as the reference's tensors do.
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(spec.dim);
    const auto power = static_cast<float>(std::pow(spec.theta, static_cast<double>(exponent)));
    frequencies[i] = 1.0F / power;
  }
  if (spec.yarn_factor != 1.0 && spec.original_positions > 0) ApplyYarn(spec, frequencies);
  return frequencies;
}

}  // namespace baleen
