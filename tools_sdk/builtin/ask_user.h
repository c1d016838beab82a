// ask_user: a question that the turn waits with until somebody answers.
#pragma once

#include <memory>

#include "tools_sdk/tool.h"

namespace baleen {

inline constexpr char kAskUser[] = "ask_user";

/// The runtime makes an approval of each call and gives it the answer; called without one, the tool
/// fails.
std::unique_ptr<Tool> NewAskUserTool();

}  // namespace baleen
