// Optimiser: Muon for matrices, AdamW for the rest, over a whole parameter set.
//
// Owns the moments and decides which rows of a fused tensor are one logical matrix. Knows no
// schedule and no files; the trainer tells it the rates and saves its state.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/cpu/thread_pool.h"
#include "model/training/adamw.h"
#include "model/training/muon.h"
#include "model/training/parameters.h"

namespace baleen::training {

struct OptimiserOptions {
  /// False: AdamW for the matrices, too (for comparisons), at the rate for matrices.
  bool muon_for_matrices = true;
  MuonOptions muon;
  AdamWOptions adamw;
  Arithmetic arithmetic = Arithmetic::kFloat32;  ///< Of the orthogonalisation.
};

struct StepRates {
  float matrices = 0;
  float rest = 0;
  float gradient_scale = 1;  ///< Multiplies every gradient first (clipping).
};

/// What a parameter's updates so far have left.
struct ParameterMoments {
  int64_t steps = 0;
  std::vector<float> first;   ///< Muon's momentum, AdamW's first moment; [elements].
  std::vector<float> second;  ///< AdamW's second moment; else empty.
};

/// The logically independent matrices of a parameter: groups of wo_a and the two halves of a CSA
/// compressor's projections are orthogonalised on their own.
MuonMatrices LogicalMatrices(const Parameter& parameter, const ModelConfig& config);

class Optimiser {
 public:
  Optimiser(const ParameterSet& parameters, const OptimiserOptions& options);

  /// One update of every parameter that isn't frozen; routing biases are left alone. The result
  /// doesn't depend on the number of threads.
  /// Shapes: frozen [parameters].
  void Step(const Gradients& gradients, const StepRates& rates, const std::vector<bool>& frozen,
            kernels::cpu::ThreadPool& pool, ParameterSet* parameters);

  std::span<ParameterMoments> moments() { return moments_; }
  std::span<const ParameterMoments> moments() const { return moments_; }

 private:
  struct Job {
    size_t parameter = 0;
    int64_t matrix = -1;  // -1: AdamW over the whole parameter.
    double cost = 0;
  };

  bool UsesMuon(const Parameter& parameter) const;

  OptimiserOptions options_;
  std::vector<MuonMatrices> matrices_;     // [parameters]
  std::vector<ParameterMoments> moments_;  // [parameters]
  std::vector<Job> jobs_;                  // The costly ones first.
  std::vector<Orthogonaliser> scratch_;    // [threads]
};

}  // namespace baleen::training
