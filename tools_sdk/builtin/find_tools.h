// find_tools: which of the tools that the model wasn't told of fit what it wants to do.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tools_sdk/tool.h"

namespace baleen {

inline constexpr char kFindTools[] = "find_tools";

/// The runtime knows a session's tools, and answers its calls; called without one, the tool fails.
std::unique_ptr<Tool> NewFindToolsTool();

/// Those of `specs` whose names or descriptions have words of `query`, the best first; at most
/// kFoundToolsMax. Equals stay in their order.
std::vector<const ToolSpec*> FindTools(const std::vector<ToolSpec>& specs, std::string_view query);
inline constexpr size_t kFoundToolsMax = 5;

}  // namespace baleen
