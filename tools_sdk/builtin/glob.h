// glob: the files whose names fit a pattern, the newest first.
#pragma once

#include <memory>

#include "tools_sdk/tool.h"

namespace baleen {

std::unique_ptr<Tool> NewGlobTool();

}  // namespace baleen
