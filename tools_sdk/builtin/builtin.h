// The tools that ship with Baleen.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "tools_sdk/tool.h"

namespace baleen {

/// read, list, grep: in the order in which the model is told of them. A session with a workspace
/// has them without asking.
std::vector<std::unique_ptr<Tool>> MakeBuiltinTools();

/// What a session has beside them if its settings name it: glob, write, edit, todo,
/// ask_user, remember, recall, find_tools.
std::vector<std::unique_ptr<Tool>> MakeOptionalTools();

/// Whether the optional tool of that name works on a folder.
bool NeedsWorkspace(std::string_view tool);

}  // namespace baleen
