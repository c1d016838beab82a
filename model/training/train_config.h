// TrainConfig: one training run as its JSON file states it. README.md lists the fields.
//
// Strict: unknown fields, impossible dimensions and impossible combinations are refused before any
// work. Opens no sources and no checkpoints. Read by the trainer, the plan and `baleen train`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/config.h"
#include "model/training/graph.h"
#include "model/training/optimiser.h"
#include "model/training/sample_packer.h"
#include "model/training/schedule.h"
#include "model/training/source_registry.h"
#include "model/training/structured_start.h"
#include "tools_sdk/status.h"

namespace baleen::training {

/// Which parameters a stage changes.
enum class Trained { kAll, kIndexer };

/// A test that the run must pass to go on: random repeats beyond the window.
struct GateSpec {
  int64_t after_step = 0;  ///< Of the stage.
  double accuracy = 0.5;   ///< Of the predicted tokens, at least.
  int64_t distance_windows = 3;
  int64_t samples = 32;
  int64_t token_low = 0;
  int64_t token_high = 0;  ///< From [token_low, token_high); default: the whole vocabulary.
};

struct StageSpec {
  std::string name;
  int64_t steps = 0;
  int64_t micro_batches = 1;
  int64_t rows = 1;    ///< Of a micro-batch.
  int64_t length = 0;  ///< Tokens of a row.
  GraphOptions graph;
  bool quantise_weights = false;  ///< Weights as the export will round them; gradients straight on.
  Trained trained = Trained::kAll;
  LongSamples long_samples = LongSamples::kSkip;
  int64_t pool = 60;
  std::vector<SourceSpec> sources;
  std::optional<GateSpec> gate;

  int64_t tokens_per_step() const { return micro_batches * rows * length; }
};

struct ValidationSpec {
  int64_t every_steps = 0;  ///< 0: never.
  int64_t batches = 4;
  int64_t rows = 4;
  int64_t length = 256;
  std::vector<SourceSpec> sources;
};

/// Beyond these, a run stops and leaves its last checkpoint as it is.
struct Guards {
  double gradient_norm_max = 1e4;
  double loss_max = 100;
};

enum class StartKind { kPlain, kStructured, kCheckpoint };

struct TrainConfig {
  ModelConfig model;
  std::string tokenizer;  ///< Path of a tokenizer.json for the exports; empty: none.
  std::string folder;     ///< Of the config file: what relative paths start from.
  uint64_t seed = 1;
  StartKind start = StartKind::kPlain;
  StructuredStartOptions structured;
  std::string start_checkpoint;  ///< A model folder, with kCheckpoint.
  Arithmetic arithmetic = Arithmetic::kFloat32;
  OptimiserOptions optimiser;
  double matrix_rate = 1e-2;
  double rest_rate = 4e-3;
  double clip_norm = 0;  ///< 0: gradients are not clipped.
  float routing_bias_rate = 1e-3F;
  double mtp_decay_factor = 1.0 / 3;  ///< Of mtp_weight, from the start of the rate's decay.
  Schedule schedule;                  ///< Its steps are the sum of the stages'.
  std::vector<StageSpec> stages;
  ValidationSpec validation;
  Guards guards;
  int64_t checkpoint_every_steps = 200;
  int64_t checkpoints_kept = 2;
  std::vector<std::string> exports;  ///< "official", "float32"
  /// Sorted JSON of all that decides the course of a run (not: guards, checkpoint, export).
  std::string canonical;

  int64_t total_tokens() const;

  /// Errors: INVALID_ARGUMENT naming the field, what was expected and what was found.
  static Result<TrainConfig> FromJson(std::string_view json, const std::string& folder);
  /// Errors: also those of reading the file.
  static Result<TrainConfig> FromFile(const std::string& path);
};

/// Path of a field in which two canonical texts differ, or empty.
std::string FirstDifference(const std::string& canonical, const std::string& other);

}  // namespace baleen::training
