// Sampling: logits -> token. Stateless: the random number depends on (seed, position) only, so a
// resumed session draws what an uninterrupted one draws.
#pragma once

#include <cstdint>
#include <span>

#include "model/token_mask.h"
#include "tools_sdk/status.h"

namespace baleen {

struct SamplingOptions {
  float temperature = 1.0F;  ///< 0: greedy, ties to the lower id.
  float top_p = 1.0F;        ///< (0, 1]
  float min_p = 0.0F;        ///< [0, 1]: relative to the best token.
  int32_t top_k = 0;         ///< 0: all.
  uint64_t seed = 0;

  /// Errors: INVALID_ARGUMENT naming the field.
  Status Validate() const;
};

/// Applies temperature, min_p, top_k, top_p in this order and draws the token for `position` (the
/// absolute position it will take). -inf masks a token, NaN counts as masked; all masked gives 0.
/// Only tokens of `mask`, if given, take part; if all of them are -inf, the lowest id is drawn.
/// Shapes: logits [vocab]. Requires: a given mask allows a token below vocab.
/// Cost: O(vocab log vocab) at worst, one allocation.
int32_t SampleToken(std::span<const float> logits, const SamplingOptions& options, int64_t position,
                    const TokenMask* mask = nullptr);

}  // namespace baleen
