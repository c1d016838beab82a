#include "model/training/routing_bias.h"

#include <numeric>

namespace baleen::training {

void UpdateRoutingBias(std::span<const int64_t> load, float rate, std::span<float> bias) {
  const auto experts = static_cast<int64_t>(load.size());
  const int64_t total = std::accumulate(load.begin(), load.end(), int64_t{0});
  for (size_t e = 0; e < load.size(); ++e) {
    const int64_t short_of_mean = total - experts * load[e];  // Times experts: no rounding.
    if (short_of_mean > 0) bias[e] += rate;
    if (short_of_mean < 0) bias[e] -= rate;
  }
}

}  // namespace baleen::training
