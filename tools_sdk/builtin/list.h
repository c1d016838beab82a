// list: what is in a directory, some levels deep.
#pragma once

#include <memory>

#include "tools_sdk/tool.h"

namespace baleen {

std::unique_ptr<Tool> NewListTool();

}  // namespace baleen
