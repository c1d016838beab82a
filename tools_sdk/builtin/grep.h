// grep: the lines of the workspace's files that a regular expression fits.
#pragma once

#include <memory>

#include "tools_sdk/tool.h"

namespace baleen {

std::unique_ptr<Tool> NewGrepTool();

}  // namespace baleen
