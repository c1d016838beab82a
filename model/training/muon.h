// Muon as the DeepSeek-V4 report adapts it: one step of one matrix.
//
// Nesterov momentum, hybrid Newton-Schulz, an update whose size fits AdamW's learning rates, and
// decoupled decay. Knows nothing of names, schedules or threads. Called by optimiser.
#pragma once

#include <cstdint>
#include <span>

#include "model/training/orthogonalise.h"

namespace baleen::training {

struct MuonOptions {
  float momentum = 0.95F;
  float weight_decay = 0.1F;
  /// Root mean square of an update at rate 1: the orthogonal matrix of n x m has 1 / sqrt(max(n,
  /// m)).
  float update_rms = 0.18F;
  NewtonSchulzSteps steps;
};

/// weights [count, rows, cols]: `count` logically independent matrices, each updated on its own.
struct MuonMatrices {
  int64_t count = 1;
  int64_t rows = 0;
  int64_t cols = 0;
};

/// momentum <- mu momentum + g;  O <- NewtonSchulz(mu momentum + g);
/// weights <- (1 - rate decay) weights - rate update_rms sqrt(max(rows, cols)) O.
/// `gradient_scale` multiplies every gradient first (clipping). Matrix `index` of `shape` only.
/// Shapes: weights, gradient, momentum [count, rows, cols].
/// Source: DeepSeek-V4 report, section 2.4, algorithm 1.
void MuonStep(const MuonMatrices& shape, int64_t index, std::span<const float> gradient,
              float gradient_scale, float rate, const MuonOptions& options,
              Orthogonaliser& orthogonaliser, std::span<float> momentum, std::span<float> weights);

}  // namespace baleen::training
