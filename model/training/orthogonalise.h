// Orthogonaliser: the nearest matrix with orthonormal rows (or columns), nearly, by Newton-Schulz.
//
// What Muon makes of a momentum matrix: every singular value goes towards 1, singular vectors stay.
// Knows nothing of parameters or learning rates. Called by muon.
#pragma once

#include <cstdint>
#include <vector>

#include "model/training/best_ops.h"

namespace baleen::training {

/// Steps of the hybrid iteration X <- aX + b(XX')X + c(XX')^2 X.
struct NewtonSchulzSteps {
  int fast = 8;    ///< (3.4445, -4.7750, 2.0315): quickly into 0.7 .. 1.2, without settling.
  int stable = 2;  ///< (2, -1.5, 0.5): settles there towards 1.
};

/// Threads: one call at a time; owns its scratch.
class Orthogonaliser {
 public:
  /// kBfloat16: products of bf16 operands, which the iteration tolerates.
  explicit Orthogonaliser(Arithmetic arithmetic = Arithmetic::kFloat32)
      : ops_(&BestOps(arithmetic)) {}

  /// Shapes: in and out [rows, cols]; may be the same memory. A zero matrix stays zero.
  /// Cost: 2 n^2 (2 m + n) operations a step, n and m the smaller and the larger side; no
  /// allocation once the largest shape was seen.
  /// Source: DeepSeek-V4 report, algorithm 1.
  void Run(const float* in, int64_t rows, int64_t cols, const NewtonSchulzSteps& steps, float* out);

 private:
  void Step(int64_t n, int64_t m, float a, float b, float c);

  const OpTable<float>* ops_;
  std::vector<float> x_;           // [n, m], n <= m
  std::vector<float> next_;        // [n, m]
  std::vector<float> gram_;        // [n, n]
  std::vector<float> polynomial_;  // [n, n]
  std::vector<float> pack_;        // The product's scratch.
};

}  // namespace baleen::training
