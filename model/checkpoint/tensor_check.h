// Do the tensors of a source fit its config? Called once when a checkpoint is opened.
#pragma once

#include "model/weight_source.h"
#include "tools_sdk/status.h"

namespace baleen {

/// Every backbone tensor is there with the shape that the config implies and a type and block
/// scales the engine can read, and hash tables hold distinct expert ids that exist. Draft blocks
/// ("mtp.*") are not needed and not looked at. Errors: NOT_FOUND or INVALID_ARGUMENT naming the
/// tensor, what was expected and what was found.
Status CheckTensors(const WeightSource& source);

}  // namespace baleen
