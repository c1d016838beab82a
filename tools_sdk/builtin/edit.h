// edit: one literal text of a file in place of another. It succeeds, or says why it didn't.
#pragma once

#include <memory>

#include "tools_sdk/tool.h"

namespace baleen {

std::unique_ptr<Tool> NewEditTool();

}  // namespace baleen
