#include "runtime/sessions/policy.h"

#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/http_tools/web_fetch.h"
#include "runtime/sessions/diff_apply.h"
#include "runtime/sessions/json_members.h"
#include "runtime/sessions/settings_json.h"
#include "tools_sdk/shell/command_rules.h"
#include "tools_sdk/tool_pattern.h"
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

bool IsAboutParts(const PolicyRule& rule) { return !rule.argv.empty() || !rule.writes.empty(); }

CommandRule CommandRuleOf(const PolicyRule& rule) {
  const CommandLevel level = rule.decision == "allow"  ? CommandLevel::kAllow
                             : rule.decision == "deny" ? CommandLevel::kDeny
                                                       : CommandLevel::kAsk;
  return {level, rule.argv, rule.writes};
}

/// The rules about a call's parts, and what they make of it.
class PartRules {
 public:
  explicit PartRules(const PolicySettings& policy) : policy_(policy) {}

  void Add(size_t index) {
    rules_.push_back(CommandRuleOf(policy_.rules[index]));
    indices_.push_back(index);
  }

  /// Unset: they say nothing of it. `covered`: as JudgeCommand's.
  std::optional<PolicyVerdict> Judge(const std::string& arguments, bool covered) {
    if (rules_.empty()) return std::nullopt;  // arguments may be long, and needn't be read
    std::string command;
    JsonMembers members(std::string_view(arguments), "arguments");
    members.Get("command", &command);
    if (command.empty()) return std::nullopt;
    const CommandVerdict part = JudgeCommand(command, rules_, covered);
    if (part.level == CommandLevel::kNone) {
      unnamed_ = CommandReason(part, "");
      return std::nullopt;
    }
    PolicyVerdict verdict;
    verdict.decision = part.level == CommandLevel::kAllow  ? PolicyDecision::kAllow
                       : part.level == CommandLevel::kDeny ? PolicyDecision::kDeny
                                                           : PolicyDecision::kAsk;
    verdict.by = "command";
    std::string why;
    if (part.rule >= 0) {
      const size_t index = indices_[static_cast<size_t>(part.rule)];
      const PolicyRule& rule = policy_.rules[index];
      verdict.by =
          NameOf(rule, index + 1) +
          (rule.argv.empty() ? " writes" : " argv at command " + std::to_string(part.number));
      why = rule.why;
    }
    verdict.why = CommandReason(part, why);
    return verdict;
  }

  /// The part that no rule names, if that is why Judge said nothing.
  const std::string& unnamed() const { return unnamed_; }

 private:
  const PolicySettings& policy_;
  std::vector<CommandRule> rules_;
  std::vector<size_t> indices_;  ///< In the policy.
  std::string unnamed_;
};

/// Of a call that no rule matches.
PolicyVerdict DefaultVerdict(const ToolSpec& tool, ToolOrigin origin, const std::string& unnamed) {
  if (origin == ToolOrigin::kHost || origin == ToolOrigin::kScript) return {};
  // What a plugin or a server says of its effects is its own word.
  if (origin == ToolOrigin::kOutside) {
    return {PolicyDecision::kAsk,
            "the tool is a plugin's or a server's, and no rule of the policy names it", "default"};
  }
  if (origin == ToolOrigin::kUnsandboxed) {
    return {PolicyDecision::kAsk,
            "the tool is a plugin's that runs without a sandbox, and no rule of the policy allows "
            "it by its name",
            "default"};
  }
  if (origin == ToolOrigin::kBuiltin && tool.name == kWebFetch) {
    return {PolicyDecision::kAsk,
            "it asks a host on the network, and no rule of the policy allows it", "default"};
  }
  if (tool.effect == EffectClass::kPure) return {};
  if (!unnamed.empty()) {
    return {PolicyDecision::kAsk, unnamed + ": no rule of the policy names it", "default"};
  }
  return {PolicyDecision::kAsk, "the tool changes something, and no rule of the policy names it",
          "default"};
}

/// Whether the rule is of the tool. A diff is made of writes and edits: what denies or asks about
/// one of these does so with a diff, and what allows writes allows it.
bool IsRuleOf(const PolicyRule& rule, const ToolSpec& tool) {
  if (MatchesToolPattern(rule.tool, tool)) return true;
  if (tool.name != kApplyDiff) return false;
  return MatchesWildcard(rule.tool, "write") ||
         (rule.decision != "allow" && MatchesWildcard(rule.tool, "edit"));
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

PolicyVerdict JudgeCall(const PolicySettings& policy, const ToolSpec& tool, ToolOrigin origin,
                        const std::string& arguments) {
  PolicyVerdict verdict;
  bool matched = false;
  const auto take = [&](PolicyVerdict other) {
    if (!matched || other.decision > verdict.decision) verdict = std::move(other);
    matched = true;
  };
  PartRules parts(policy);
  for (size_t i = 0; i < policy.rules.size(); ++i) {
    const PolicyRule& rule = policy.rules[i];
    if (!rule.effect.empty() && rule.effect != EffectClassName(tool.effect)) continue;
    if (!IsRuleOf(rule, tool)) continue;
    if (origin == ToolOrigin::kUnsandboxed && rule.decision == "allow" && rule.tool != tool.name) {
      continue;
    }
    if (IsAboutParts(rule)) {
      parts.Add(i);
    } else {
      take({DecisionOf(rule.decision), rule.why, NameOf(rule, i + 1)});
    }
  }
  if (auto judged = parts.Judge(arguments, matched)) take(std::move(*judged));
  return matched ? verdict : DefaultVerdict(tool, origin, parts.unnamed());
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
    if (const Status tool = CheckToolPattern(rule.tool); !tool.ok()) {
      return bad("a rule for " + tool.message());
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
    if (!IsAboutParts(rule)) continue;
    if (const Status parts = CheckCommandRule(CommandRuleOf(rule)); !parts.ok()) {
      return bad(which + parts.message());
    }
  }
  return OkStatus();
}

}  // namespace baleen
