// Documents: a TrainBatch checked and without its padding, as the pass works on it.
#pragma once

#include <cstdint>
#include <vector>

#include "model/config.h"
#include "model/training/train_batch.h"
#include "tools_sdk/status.h"

namespace baleen::training {

/// Consecutive tokens that see each other.
struct Document {
  int64_t begin = 0;  ///< First token, among the batch's tokens without padding.
  int64_t count = 0;
};

struct Documents {
  std::vector<Document> all;
  std::vector<int32_t> tokens;
  std::vector<int32_t> targets;
  std::vector<float> weights;
  std::vector<int32_t> position;
  std::vector<int64_t> source;  ///< Place in the batch.
  std::vector<int32_t> next;    ///< The document's next token; -1 at its end.

  int64_t count() const { return static_cast<int64_t>(tokens.size()); }

  /// Errors: INVALID_ARGUMENT naming field, row and place.
  static Result<Documents> From(const TrainBatch& batch, const ModelConfig& config);
};

}  // namespace baleen::training
