// The routing bias: pushes tokens from crowded experts to idle ones, without a gradient.
#pragma once

#include <cstdint>
#include <span>

namespace baleen::training {

/// bias[e] += rate * sign(mean load - load[e]); used for selection only, never in a weight.
/// Shapes: load and bias [experts]. Nothing changes if no token was routed.
/// Source: DeepSeek-V3 report, auxiliary-loss-free balancing; speed from the V4 report.
void UpdateRoutingBias(std::span<const int64_t> load, float rate, std::span<float> bias);

}  // namespace baleen::training
