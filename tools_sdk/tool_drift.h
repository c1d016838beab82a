// ToolDrift: how a tool differs from what a session was told of it.
#pragma once

#include <string>

#include "tools_sdk/tool.h"

namespace baleen {

/// Of description, parameters and effect, what is otherwise now, with both; empty: nothing. The
/// texts are the tool's own words, cut.
std::string ToolDrift(const ToolSpec& then, const ToolSpec& now);

}  // namespace baleen
