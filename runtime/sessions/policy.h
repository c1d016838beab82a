// Policy: whether a call may run, must be asked about, or is refused. Pure functions of settings.
#pragma once

#include <string>
#include <string_view>

#include "runtime/approval.h"
#include "tools_sdk/status.h"
#include "tools_sdk/tool.h"

namespace baleen {

enum class PolicyDecision { kAllow, kAsk, kDeny };

struct PolicyVerdict {
  PolicyDecision decision = PolicyDecision::kAllow;
  std::string why;  ///< Of the rules that decided; may be empty.
};

/// Who runs a tool's body.
enum class ToolOrigin { kBuiltin, kHost, kPlugin };

PolicyVerdict JudgeCall(const PolicySettings& policy, const ToolSpec& tool, ToolOrigin origin);

/// Errors: INVALID_ARGUMENT/BAD_FIELD naming the rule.
Status CheckPolicy(const PolicySettings& policy);

/// '*' stands for any run of characters. Cost: O(pattern x text).
bool MatchesGlob(std::string_view pattern, std::string_view text);

}  // namespace baleen
