// Training checkpoints: everything that the next step depends on, in one file that is whole or
// absent.
//
// Not the model's format: that is export_checkpoint's. Each buffer and the header carry a SHA-256;
// the file is written beside its name, synced and renamed. Called by the trainer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/training/optimiser.h"
#include "model/training/parameters.h"
#include "model/training/sample_packer.h"
#include "tools_sdk/status.h"

namespace baleen::training {

/// Where a run stands, besides weights and moments.
struct RunState {
  int64_t step = 0;             ///< Steps done.
  int64_t tokens = 0;           ///< Seen, padding excluded.
  double seconds = 0;           ///< Spent in steps, over all resumptions; not part of the course.
  PackerState packer;           ///< Of the stage that step `step` belongs to; empty at its border.
  std::string canonical;        ///< TrainConfig::canonical of the run.
  std::string source_identity;  ///< Of that stage's sources; empty at a border.
};

/// "FOLDER/step-000000000200.train"
std::string TrainingCheckpointPath(const std::string& folder, int64_t step);

/// Steps of the checkpoints in `folder`, ascending; empty if there is no folder.
std::vector<int64_t> ListTrainingCheckpoints(const std::string& folder);

/// Creates the folder if needed; then keeps the newest `kept` checkpoints and removes what
/// interrupted saves have left.
/// Errors: UNAVAILABLE (disk full, no access): the older checkpoints are all still there. ABORTED
/// if a parameter isn't finite: such a state is not worth keeping.
Status SaveTrainingCheckpoint(const std::string& folder, const RunState& state,
                              const ParameterSet& parameters, const Optimiser& optimiser,
                              int64_t kept);

/// Reads weights and moments into objects made from the same config.
/// Errors: NOT_FOUND; DATA_LOSS (truncated, altered: nothing was read into the objects);
/// FAILED_PRECONDITION (another format version, or buffers of another model).
Result<RunState> LoadTrainingCheckpoint(const std::string& path, ParameterSet* parameters,
                                        Optimiser* optimiser);

/// The state alone, of the bytes of a whole file. Safe on any bytes.
Result<RunState> ParseRunState(std::span<const std::byte> file, const std::string& path);

}  // namespace baleen::training
