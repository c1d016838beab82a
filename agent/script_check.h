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
  bool sure = true;  ///< Else it may be meant so: it depends on what is not known here.
  bool operator==(const ScriptFinding&) const = default;
};

/// By line: globals that a script reads and nobody sets, that it sets, members that the libraries
/// lack, and methods that neither Baleen's values nor the script's own have. Then its chunk runs,
/// up to the turn's function: rules of its policy that are about no tool, or that can't decide
/// because of a stricter one, and tools that are called as one of Baleen's. Not seen: members under
/// names that are computed, and in a function with over 255 different constants those of the last.
/// `tools`: names of those that Baleen has; empty: names of tools aren't looked at.
/// Errors: INVALID_ARGUMENT with file and line for a script that doesn't compile; as Agent::Create
/// where the chunk fails and nothing was found.
Result<std::vector<ScriptFinding>> LintScript(std::string_view script, std::string_view name,
                                              const std::vector<std::string>& tools = {});

/// Definition file for lua-language-server ("---@meta"), of what scripts get beside Lua's own.
std::string ScriptTypes();

}  // namespace baleen
