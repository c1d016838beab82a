// What an author's tools know of a script without running its turn.
//
// Threads: any.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tools_sdk/status.h"

namespace baleen {

struct ScriptFinding {
  int line = 0;  ///< From 1.
  std::string message;
  bool operator==(const ScriptFinding&) const = default;
};

/// Globals that a script reads and nobody sets, that it sets, and members that the libraries lack,
/// by line. Not seen: members under names that are computed, and in a function with over 255
/// different constants those of the last.
/// Errors: INVALID_ARGUMENT with file and line for a script that doesn't compile.
Result<std::vector<ScriptFinding>> LintScript(std::string_view script, std::string_view name);

/// Definition file for lua-language-server ("---@meta"), of what scripts get beside Lua's own.
std::string ScriptTypes();

}  // namespace baleen
