#include "model/training/muon.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace baleen::training {

void MuonStep(const MuonMatrices& shape, int64_t index, std::span<const float> gradient,
              float gradient_scale, float rate, const MuonOptions& options,
              Orthogonaliser& orthogonaliser, std::span<float> momentum, std::span<float> weights) {
  const auto elements = static_cast<size_t>(shape.rows * shape.cols);
  const size_t begin = static_cast<size_t>(index) * elements;
  const float* g = gradient.data() + begin;
  float* m = momentum.data() + begin;
  float* w = weights.data() + begin;
  std::vector<float> update(elements);
  for (size_t i = 0; i < elements; ++i) {
    const float scaled = gradient_scale * g[i];
    m[i] = options.momentum * m[i] + scaled;
    update[i] = options.momentum * m[i] + scaled;
  }
  orthogonaliser.Run(update.data(), shape.rows, shape.cols, options.steps, update.data());
  const float keep = 1.0F - rate * options.weight_decay;
  const float size =
      rate * options.update_rms * std::sqrt(static_cast<float>(std::max(shape.rows, shape.cols)));
  for (size_t i = 0; i < elements; ++i) w[i] = keep * w[i] - size * update[i];
}

}  // namespace baleen::training
