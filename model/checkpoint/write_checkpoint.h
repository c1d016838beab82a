// Writes a checkpoint folder from any source of tensors, for tests and `baleen make-tiny`.
#pragma once

#include <cstdint>
#include <string>

#include "model/weight_source.h"
#include "tools_sdk/status.h"

namespace baleen {

enum class NameStyle { kOfficial, kTransformers };

struct WriteCheckpointOptions {
  /// Largest tensor bytes per file; a tensor larger than that gets a file of its own. 0: one file,
  /// model.safetensors.
  int64_t shard_bytes = 0;
  /// kTransformers: fuses expert matrices and leaves the draft blocks out, as transformers does;
  /// the config is written in the official form all the same.
  NameStyle names = NameStyle::kOfficial;
};

/// Creates the folder if needed and writes each file atomically, config.json last: a folder without
/// one is unfinished. Files of the same names are replaced; a checkpoint of the other layout
/// (single or sharded) in the folder is refused. Errors: UNAVAILABLE (disk), ALREADY_EXISTS (other
/// layout), INVALID_ARGUMENT (packed FP4 experts cannot be fused).
Status WriteCheckpoint(const WeightSource& source, const std::string& folder,
                       const WriteCheckpointOptions& options);

}  // namespace baleen
