// read: some lines of one text file, with their numbers.
#pragma once

#include <memory>

#include "tools_sdk/tool.h"

namespace baleen {

std::unique_ptr<Tool> NewReadTool();

}  // namespace baleen
