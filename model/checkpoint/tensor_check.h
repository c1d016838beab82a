// Do the tensors of a source fit its config? Asked when a checkpoint is opened, and again before
// any source's weights are packed. Reads shapes, types and hash tables; no other values.
#pragma once

#include <cstdint>

#include "model/weight_source.h"
#include "tools_sdk/status.h"

namespace baleen {

/// Every backbone tensor is there with the shape that the config implies, a type and block scales
/// that the engine can read and as many bytes as they take; hash tables hold distinct expert ids
/// that exist. Draft blocks ("mtp.*") may be absent, but what is there has to fit as well.
/// Returns the bytes of the backbone, scales included.
/// Errors: NOT_FOUND (all that is wrong is missing) or INVALID_ARGUMENT, with the number of
/// problems and the first ten of them: tensor, what was expected, what was found.
Result<int64_t> CheckTensors(const WeightSource& source);

}  // namespace baleen
