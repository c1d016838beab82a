// The tools that ship with Baleen.
#pragma once

#include <memory>
#include <vector>

#include "tools_sdk/tool.h"

namespace baleen {

/// read, list, grep: in the order in which the model is told of them.
std::vector<std::unique_ptr<Tool>> MakeBuiltinTools();

}  // namespace baleen
