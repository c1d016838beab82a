// Where baleen-tool-host is: the program that plugins run in, and that opens a sandboxed process's
// way to our proxy before it becomes the command.
#pragma once

#include <string>

#include "tools_sdk/status.h"

namespace baleen {

/// baleen-tool-host in the folder of this program or library, or in the `bin` beside it.
/// Errors: NOT_FOUND.
Result<std::string> FindToolHost();

}  // namespace baleen
