// GradientWorkers: the gradients and losses of one step, micro-batch by micro-batch.
//
// One Graph per thread; threads meet once per wave of micro-batches. Sums run over micro-batches in
// their order, so that the result depends on the micro-batches and not on the threads. Knows no
// optimiser. Called by the trainer, the gate and the plan.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/cpu/thread_pool.h"
#include "model/training/graph.h"
#include "model/training/parameters.h"
#include "model/training/train_batch.h"
#include "tools_sdk/status.h"

namespace baleen::training {

/// What an evaluation says about a model; means over positions with a target and a weight above 0.
struct Score {
  double loss = 0;      ///< Weighted cross entropy.
  double accuracy = 0;  ///< Share of those positions whose argmax is the target.
  int64_t targets = 0;
};

class GradientWorkers {
 public:
  /// `threads` <= 0: one per core. Borrows: nothing; `parameters` gives the shapes only.
  static Result<std::unique_ptr<GradientWorkers>> Make(const ParameterSet& parameters,
                                                       Arithmetic arithmetic, int threads);

  /// Means over the whole step: every loss weight of every micro-batch counts the same.
  /// Errors: INVALID_ARGUMENT if no target has a weight; the graph's, naming the micro-batch.
  Result<LossReport> Run(const ParameterSet& parameters, std::span<const TrainBatch> batches,
                         const GraphOptions& options);

  /// Errors: the graph's.
  Result<Score> Evaluate(const ParameterSet& parameters, std::span<const TrainBatch> batches,
                         const GraphOptions& options);

  /// Of the last Run.
  const Gradients& gradients() const { return total_; }
  /// Euclidean norm of the last Run's gradients; infinite or NaN if one of them is.
  double GradientNorm();

  kernels::cpu::ThreadPool& pool() { return pool_; }

 private:
  struct Slot {
    std::unique_ptr<Graph> graph;
    Gradients gradients;
    LossReport report;
    Evaluation evaluation;
    Status status;
  };

  GradientWorkers(const ParameterSet& parameters, int threads);

  void AddWave(size_t slots);

  kernels::cpu::ThreadPool pool_;
  std::vector<Slot> slots_;  // [threads]
  Gradients total_;
};

}  // namespace baleen::training
