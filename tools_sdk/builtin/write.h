// write: a file's whole content, new or in place of one that the session has seen.
#pragma once

#include <memory>

#include "tools_sdk/tool.h"

namespace baleen {

std::unique_ptr<Tool> NewWriteTool();

}  // namespace baleen
