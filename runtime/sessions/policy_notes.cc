#include "runtime/sessions/policy_notes.h"

#include <set>

#include "runtime/sessions/builtin_tool_names.h"

namespace baleen {
namespace {

constexpr size_t kNotesMax = 64;

/// Names that a rule may be about. A built-in tool that the session doesn't name is no misspelling:
/// policies are written once for many sessions.
std::set<std::string> KnownTools(const SessionSettings& settings) {
  std::set<std::string> names(BuiltinToolNames().begin(), BuiltinToolNames().end());
  for (const auto* specs :
       {&settings.outside_tools, &settings.host_tools, &settings.script_tools}) {
    for (const ToolSpec& spec : *specs) names.insert(spec.name);
  }
  return names;
}

std::vector<DeclaredRule> RulesOf(const PolicySettings& policy) {
  std::vector<DeclaredRule> rules;
  for (const PolicyRule& rule : policy.rules) {
    const bool whole = rule.effect.empty() && rule.argv.empty() && rule.writes.empty();
    rules.push_back({0, rule.decision, {rule.tool}, whole});
  }
  return rules;
}

}  // namespace

std::vector<std::string> PolicyNotes(const SessionSettings& settings,
                                     const std::vector<DeclaredRule>& of_script) {
  const std::set<std::string> known = KnownTools(settings);
  const std::string script = settings.script_name.empty() ? "script" : settings.script_name;
  std::vector<std::string> notes;
  const auto add = [&](const std::vector<DeclaredRule>& rules) {
    for (const RuleFinding& found : LintRules(rules, known, "of this session")) {
      if (notes.size() >= kNotesMax) return;
      const int line = rules[found.rule].line;
      notes.push_back((line > 0 ? script + ":" + std::to_string(line)
                                : "policy, rule " + std::to_string(found.rule + 1)) +
                      ": " + found.message);
    }
  };
  add(RulesOf(settings.policy));
  add(of_script);
  return notes;
}

}  // namespace baleen
