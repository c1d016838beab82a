// Plan: what a run will take, before it takes it.
//
// Counts parameters, bytes and operations, and measures a few real steps of every stage on this
// machine. Writes nothing. Called by `baleen train --plan`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/training/train_config.h"
#include "tools_sdk/status.h"

namespace baleen::training {

struct StagePlan {
  std::string name;
  int64_t steps = 0;
  int64_t tokens_per_step = 0;
  double flops_per_token = 0;    ///< Matrix products, forward and backward.
  double seconds_per_step = 0;   ///< Measured now; optimiser included.
  double tokens_per_second = 0;  ///< Padding counted as it will be.
  double hours = 0;
};

struct TrainingPlan {
  int64_t parameters = 0;  ///< Backbone.
  int64_t active_parameters = 0;
  int64_t draft_parameters = 0;
  int64_t official_bytes = 0;
  int64_t float32_bytes = 0;
  int64_t checkpoint_bytes = 0;  ///< Of one training checkpoint.
  int64_t memory_bytes = 0;      ///< Weights, moments, and per thread gradients and activations.
  int threads = 0;
  double optimiser_seconds = 0;  ///< Per step, measured now.
  std::vector<StagePlan> stages;
  int64_t tokens = 0;
  double flops = 0;
  double hours = 0;
};

/// Errors: those of the sources and the graph.
Result<TrainingPlan> PlanTraining(const TrainConfig& config, int threads);

}  // namespace baleen::training
