// Trainer: one run from its config, step by step, to a model that the engine loads.
//
// Owns the run's folder: checkpoints/, curves.csv and the exported models. Same config, same
// weights, whatever the number of threads and interruptions. Prints nothing: a callback hears of
// each step. Called by `baleen train` and by embedders.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/training/curves.h"
#include "model/training/gradient_workers.h"
#include "model/training/optimiser.h"
#include "model/training/parameters.h"
#include "model/training/stage_samples.h"
#include "model/training/train_config.h"
#include "model/training/training_checkpoint.h"
#include "tools_sdk/file_descriptor.h"
#include "tools_sdk/status.h"

namespace baleen::training {

enum class RunMode { kFresh, kResume };

struct RunOptions {
  std::string folder;
  int threads = 0;  ///< <= 0: one per core.
  RunMode mode = RunMode::kFresh;
  int64_t steps_max = 0;  ///< Steps of this call; 0: to the end of the run.
  std::function<void(const StepReport&)> on_step;
  /// Set from elsewhere to stop after the step in progress. Borrows; may be null.
  const std::atomic<bool>* cancelled = nullptr;
};

/// Threads: one at a time; runs its own workers.
class Trainer {
 public:
  /// Locks the folder, makes or loads the state.
  /// Errors: ALREADY_EXISTS (kFresh in a folder with checkpoints), NOT_FOUND (kResume without any),
  /// FAILED_PRECONDITION (another run holds the folder; resumed with another config or other
  /// samples: names the field), DATA_LOSS (damaged checkpoint), INVALID_ARGUMENT (sources).
  static Result<std::unique_ptr<Trainer>> Open(TrainConfig config, RunOptions options);

  /// Trains, saves a checkpoint and exports the model. Stopped by steps_max or `cancelled`, it
  /// saves and exports all the same and returns OK: step() tells. Errors: ABORTED with reason
  /// NOT_FINITE, GRADIENT_NORM or LOSS (guards) or GATE: the checkpoint on disk is that of an
  /// earlier step; the sources'; UNAVAILABLE (disk).
  Status Run();

  int64_t step() const { return state_.step; }
  const ParameterSet& parameters() const { return parameters_; }

 private:
  Trainer(TrainConfig config, RunOptions options, ParameterSet parameters);

  Status Lock();
  Status Start();
  Status Resume();
  Status Loop(int64_t end);
  Status EnterStage();
  Status Step(StepReport* report);
  Status CheckGuards(const StepReport& report) const;
  Status UpdateParameters(const StepReport& report);
  Status AskGate(StepReport* report);
  Status CheckGate(const StepReport& report) const;
  Status Validate(StepReport* report);
  Status Save();
  Status Export();

  const StageSpec& stage() const { return config_.stages[stage_]; }
  /// What the forward pass sees: the master, or its rounded copy in a stage that quantises.
  const ParameterSet& seen() const;
  GraphOptions StepGraphOptions() const;
  int64_t StageBegin(size_t stage) const;
  std::string checkpoint_folder() const { return options_.folder + "/checkpoints"; }
  std::string LastCheckpoint() const;

  TrainConfig config_;
  RunOptions options_;
  std::optional<FileDescriptor> lock_;
  ParameterSet parameters_;
  std::unique_ptr<ParameterSet> rounded_;  // Null unless the stage quantises.
  Optimiser optimiser_;
  std::unique_ptr<GradientWorkers> workers_;
  std::unique_ptr<Curves> curves_;
  RunState state_;
  int64_t saved_step_ = -1;  // Of the newest checkpoint; -1: none.

  size_t stage_ = 0;
  std::unique_ptr<StageSamples> samples_;  // Null before EnterStage.
  std::vector<bool> frozen_;               // [parameters] in this stage.
  std::vector<TrainBatch> validation_;
};

}  // namespace baleen::training
