// Export: trained parameters as a model folder that Model::Open loads.
#pragma once

#include <string>

#include "model/training/parameters.h"
#include "tools_sdk/status.h"

namespace baleen::training {

/// kOfficial: the released formats (FP4 or FP8 experts, FP8, BF16, F32). kFloat32: the master.
enum class ExportFormat { kOfficial, kFloat32 };

struct ExportOptions {
  ExportFormat format = ExportFormat::kOfficial;
  std::string tokenizer;  ///< Path of a tokenizer.json to put beside the weights; empty: none.
};

/// Creates the folder if needed; each file is replaced as a whole, config.json last.
/// Errors: UNAVAILABLE (disk), NOT_FOUND (tokenizer), ABORTED (a value that isn't finite),
/// FAILED_PRECONDITION (FP4 weights that FP8 couldn't hold exactly).
Status ExportModel(const ParameterSet& parameters, const std::string& folder,
                   const ExportOptions& options);

/// Bytes of the weights in that format, without headers.
int64_t ExportBytes(const ModelConfig& config, ExportFormat format);

}  // namespace baleen::training
