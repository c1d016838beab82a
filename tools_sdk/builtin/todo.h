// todo: the plan of what is being done, for whoever watches.
#pragma once

#include <memory>

#include "tools_sdk/tool.h"

namespace baleen {

/// Keeps nothing: each call holds the whole plan, so that a fork or a rewind has the right one.
std::unique_ptr<Tool> NewTodoTool();

}  // namespace baleen
