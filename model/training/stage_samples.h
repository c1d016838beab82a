// StageSamples: the packed samples of a run, in the order in which its steps take them.
//
// What the trainer learns from, and what `baleen train --write-samples` writes for a trainer
// elsewhere. Called by the trainer and the CLI.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "model/training/sample_packer.h"
#include "model/training/sample_source.h"
#include "model/training/train_batch.h"
#include "model/training/train_config.h"
#include "tools_sdk/status.h"

namespace baleen::training {

/// Source and packer of one stage. Threads: one at a time.
class StageSamples {
 public:
  /// At the stage's first sample. Errors: the sources', naming the stage.
  static Result<std::unique_ptr<StageSamples>> Open(const TrainConfig& config, size_t stage);

  /// The micro-batches of the next step. Errors: the packer's, naming the stage.
  Result<std::vector<TrainBatch>> NextStep();

  const SampleSource& source() const { return *source_; }
  SamplePacker& packer() { return *packer_; }

 private:
  StageSamples() = default;

  std::string name_;
  int64_t micro_batches_ = 1;
  std::unique_ptr<SampleSource> source_;
  std::unique_ptr<SamplePacker> packer_;
};

/// The batches that a run's validation scores; the same at every step.
Result<std::vector<TrainBatch>> ValidationBatches(const TrainConfig& config);

/// Writes the documents of the validation as step 0, then those of steps 1, 2, ... `steps` of the
/// run, a line each: {"step":1,"tokens":[...],"weights":[...]}; JsonlSource reads such a file.
/// `steps` <= 0 or more than there are: the whole run. The file appears when it is whole.
/// Errors: the sources'; UNAVAILABLE naming the file. Cost: the generators'; no model is made.
Status WriteSamples(const TrainConfig& config, int64_t steps, const std::string& path,
                    const std::function<void(int64_t step)>& on_step);

}  // namespace baleen::training
