#include "runtime/sessions/policy.h"

#include <algorithm>

#include "runtime/http_tools/web_fetch.h"
#include "runtime/sessions/journal_json.h"
#include "tools_sdk/wildcard.h"

namespace baleen {
namespace {

constexpr size_t kPolicyRulesMax = 256;
constexpr size_t kPatternBytesMax = 256;

PolicyDecision DecisionOf(const std::string& name) {
  if (name == "allow") return PolicyDecision::kAllow;
  if (name == "deny") return PolicyDecision::kDeny;
  return PolicyDecision::kAsk;
}

/// Whatever becomes of the policy, this says what the rule was.
std::string NameOf(const PolicyRule& rule, size_t number) {
  std::string name = "rule " + std::to_string(number) + ": " + rule.decision + " " + rule.tool;
  if (!rule.effect.empty()) name += " " + rule.effect;
  return name;
}

}  // namespace

const char* PolicyDecisionName(PolicyDecision decision) {
  switch (decision) {
    case PolicyDecision::kAllow: return "allow";
    case PolicyDecision::kAsk: return "ask";
    case PolicyDecision::kDeny: return "deny";
  }
  return "deny";
}

PolicyVerdict JudgeCall(const PolicySettings& policy, const ToolSpec& tool, ToolOrigin origin) {
  PolicyVerdict verdict;
  bool matched = false;
  for (size_t i = 0; i < policy.rules.size(); ++i) {
    const PolicyRule& rule = policy.rules[i];
    if (!rule.effect.empty() && rule.effect != EffectClassName(tool.effect)) continue;
    if (!MatchesWildcard(rule.tool, tool.name)) continue;
    const PolicyDecision decision = DecisionOf(rule.decision);
    if (!matched || decision > verdict.decision) {
      verdict = {decision, rule.why, NameOf(rule, i + 1)};
    }
    matched = true;
  }
  if (matched || origin == ToolOrigin::kHost || origin == ToolOrigin::kScript) return verdict;
  // What a plugin or a server says of its effects is its own word.
  if (origin == ToolOrigin::kOutside) {
    return {PolicyDecision::kAsk,
            "the tool is a plugin's or a server's, and no rule of the policy names it", "default"};
  }
  if (origin == ToolOrigin::kBuiltin && tool.name == kWebFetch) {
    return {PolicyDecision::kAsk,
            "it asks a host on the network, and no rule of the policy allows it", "default"};
  }
  if (tool.effect == EffectClass::kPure) return verdict;
  return {PolicyDecision::kAsk, "the tool changes something, and no rule of the policy names it",
          "default"};
}

Status CheckPolicy(const PolicySettings& policy) {
  const auto bad = [](const std::string& what) {
    return InvalidArgumentError("policy: " + what, "BAD_FIELD");
  };
  if (policy.approval_ms_max < 0) {
    return bad("approval_ms_max is " + std::to_string(policy.approval_ms_max) +
               ": expected 0 (an approval waits for ever) or more");
  }
  if (policy.rules.size() > kPolicyRulesMax) {
    return bad(std::to_string(policy.rules.size()) + " rules: expected at most " +
               std::to_string(kPolicyRulesMax));
  }
  for (const PolicyRule& rule : policy.rules) {
    const std::string which = "rule for '" + rule.tool.substr(0, 80) + "': ";
    if (rule.tool.empty() || rule.tool.size() > kPatternBytesMax) {
      return bad(which + "expected a tool's name, or a pattern with '*', of at most " +
                 std::to_string(kPatternBytesMax) + " bytes");
    }
    if (rule.decision != "allow" && rule.decision != "ask" && rule.decision != "deny") {
      return bad(which + "decision is '" + rule.decision.substr(0, 80) +
                 "': expected allow, ask or deny");
    }
    if (!rule.effect.empty() && rule.effect != "PURE" && rule.effect != "IDEMPOTENT" &&
        rule.effect != "EFFECT") {
      return bad(which + "effect is '" + rule.effect.substr(0, 80) +
                 "': expected PURE, IDEMPOTENT, EFFECT, or nothing for any");
    }
  }
  return OkStatus();
}

}  // namespace baleen
