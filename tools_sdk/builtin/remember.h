// remember and recall: notes for later sessions of the same workspace.
#pragma once

#include <memory>

#include "tools_sdk/tool.h"

namespace baleen {

std::unique_ptr<Tool> NewRememberTool();
std::unique_ptr<Tool> NewRecallTool();

}  // namespace baleen
