// Policy: whether a call may run, must be asked about, or is refused. Pure functions of settings.
#pragma once

#include <string>

#include "runtime/approval.h"
#include "tools_sdk/status.h"
#include "tools_sdk/tool.h"

namespace baleen {

enum class PolicyDecision { kAllow, kAsk, kDeny };

struct PolicyVerdict {
  PolicyDecision decision = PolicyDecision::kAllow;
  std::string why;             ///< Of the rules that decided; may be empty.
  std::string by = "default";  ///< As DecisionView::decided_by.
};

/// "allow", "ask", "deny".
const char* PolicyDecisionName(PolicyDecision decision);

/// Who runs a tool's body.
/// kUnsandboxed: of a plugin that was let out of the sandbox; kOutside: other plugins, and servers.
/// kHttp: a declared one, whose declaration is the operator's word.
enum class ToolOrigin { kBuiltin, kHost, kOutside, kUnsandboxed, kHttp, kScript };

/// What no rule matches is allowed of hosts and scripts: a script's body does nothing but make
/// calls, which are judged themselves. To leave the sandbox and to leave out the questions are two
/// things that nobody gets at once: a rule that allows by a pattern is of no unsandboxed tool, only
/// one that has its name is. `arguments`: JSON text; read if a rule is about its command.
PolicyVerdict JudgeCall(const PolicySettings& policy, const ToolSpec& tool, ToolOrigin origin,
                        const std::string& arguments);

/// Errors: INVALID_ARGUMENT/BAD_FIELD naming the rule.
Status CheckPolicy(const PolicySettings& policy);

}  // namespace baleen
