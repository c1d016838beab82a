// The gate: can the model copy random tokens from beyond its window yet?
//
// Repeats of random tokens have no other clue than the earlier occurrence, and beyond the window
// that is seen through compressed entries only. A run whose start or config is at fault fails here
// within minutes instead of after hours. Called by the trainer.
#pragma once

#include <cstdint>

#include "model/training/gradient_workers.h"
#include "tools_sdk/status.h"

namespace baleen::training {

struct GateOptions {
  uint64_t seed = 1;  ///< Samples differ from every training source's.
  int64_t samples = 32;
  int64_t distance = 48;  ///< Tokens between an occurrence and its repeat.
  int32_t token_low = 0;
  int32_t token_high = 0;
};

/// Accuracy over the repeated tokens, the first of each repeat left out.
/// Errors: INVALID_ARGUMENT (token range); the graph's.
Result<Score> CopyAccuracy(const ParameterSet& parameters, const GraphOptions& graph,
                           const GateOptions& options, GradientWorkers& workers);

}  // namespace baleen::training
