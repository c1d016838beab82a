// Results of calls that are a text and how the call ended. Called by whoever runs tools.
#pragma once

#include <string>
#include <utility>

#include "tools_sdk/message.h"

namespace baleen {

inline ToolResult ResultOf(ToolOutcome outcome, std::string content) {
  ToolResult result;
  result.outcome = outcome;
  result.content = std::move(content);
  return result;
}

/// Nothing of the call has happened.
inline ToolResult NotRun(const std::string& why) {
  return ResultOf(ToolOutcome::kError, "The call was not run: " + why + ".");
}

}  // namespace baleen
