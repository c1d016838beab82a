// grep: where a text occurs in the workspace's files. Literal only: a regular expression engine
// without a time bound has no place on the tool pool.
#pragma once

#include <memory>

#include "tools_sdk/tool.h"

namespace baleen {

std::unique_ptr<Tool> NewGrepTool();

}  // namespace baleen
