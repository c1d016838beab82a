// The JSON header of a safetensors file as a stream of events: bounded memory and depth for any
// input, duplicates seen. Called by safetensors.cc only.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "model/checkpoint/safetensors.h"
#include "tools_sdk/status.h"

namespace baleen {

/// Declared tensors in header order; dtype, shape and offsets agree for each one. Where the tensors
/// lie relative to each other is not checked here.
Result<std::vector<SafetensorsEntry>> ReadSafetensorsJson(std::string_view json,
                                                          const std::string& file);

}  // namespace baleen
