// Which tools a pattern names: policies, hooks and lists of tools have such patterns.
#pragma once

#include <string_view>

#include "tools_sdk/status.h"
#include "tools_sdk/tool.h"

namespace baleen {

/// '*' stands for any run of characters of the tool's name. "mcp:PATTERN" names the tools of MCP
/// servers alone, by the same names: "mcp:*", "mcp:github_*".
bool MatchesToolPattern(std::string_view pattern, std::string_view name, bool of_mcp_server);
bool MatchesToolPattern(std::string_view pattern, const ToolSpec& tool);

/// A pattern with a ':' that isn't that of "mcp:" names no tool at all, and a rule with it would
/// silently be none. Errors: INVALID_ARGUMENT.
Status CheckToolPattern(std::string_view pattern);

}  // namespace baleen
