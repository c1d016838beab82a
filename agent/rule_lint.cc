#include "agent/rule_lint.h"

#include <algorithm>
#include <utility>

#include "tools_sdk/tool_pattern.h"
#include "tools_sdk/wildcard.h"

namespace baleen {
namespace {

/// Edits that make one name of the other: inserted, removed, changed or swapped characters.
size_t Distance(std::string_view one, std::string_view other) {
  std::vector<size_t> before, last, row(other.size() + 1);
  for (size_t j = 0; j < row.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= one.size(); ++i) {
    before = std::exchange(last, row);
    row[0] = i;
    for (size_t j = 1; j <= other.size(); ++j) {
      const size_t changed = last[j - 1] + (one[i - 1] == other[j - 1] ? 0 : 1);
      row[j] = std::min({changed, last[j] + 1, row[j - 1] + 1});
      const bool swapped =
          i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1];
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row[other.size()];
}

int StrictnessOf(const std::string& decision) {
  return decision == "deny" ? 3 : decision == "ask" ? 2 : 1;
}

/// Whether `wide` matches all that `narrow` does: the '*' of a pattern stands for the other's, too.
bool Covers(const DeclaredRule& wide, const DeclaredRule& narrow) {
  return std::all_of(narrow.tools.begin(), narrow.tools.end(), [&](const std::string& one) {
    return std::any_of(wide.tools.begin(), wide.tools.end(),
                       [&](const std::string& other) { return MatchesWildcard(other, one); });
  });
}

/// "deny of 'write|edit'".
std::string InWords(const DeclaredRule& rule) {
  std::string tools;
  for (const std::string& one : rule.tools) tools += (tools.empty() ? "" : "|") + one;
  return rule.decision + " of '" + tools.substr(0, 80) + "'";
}

std::string NameOf(const DeclaredRule& rule, size_t index) {
  return "the " + InWords(rule) +
         (rule.line > 0 ? " in line " + std::to_string(rule.line)
                        : " (rule " + std::to_string(index + 1) + ")");
}

}  // namespace

std::string Nearest(std::string_view name, const std::set<std::string>& names) {
  constexpr size_t kNameBytesMax = 256;  // what is longer is nobody's misspelling
  if (name.size() > kNameBytesMax) return "";
  std::string nearest;
  size_t least = name.size() / 3;
  for (const std::string& candidate : names) {
    const size_t distance = Distance(name, candidate);
    if (distance > least || (distance == least && !nearest.empty())) continue;
    least = distance;
    nearest = candidate;
  }
  return nearest.empty() ? "" : "; did you mean '" + nearest + "'?";
}

std::vector<RuleFinding> LintRules(const std::vector<DeclaredRule>& rules,
                                   const std::set<std::string>& known, std::string_view where) {
  std::vector<RuleFinding> findings;
  for (size_t i = 0; i < rules.size(); ++i) {
    for (const std::string& pattern : rules[i].tools) {
      // Whose tool a name is isn't known here: any may be a server's.
      const auto fits = [&](const std::string& name) {
        return MatchesToolPattern(pattern, name, /*of_mcp_server=*/true);
      };
      if (known.empty() || std::any_of(known.begin(), known.end(), fits)) continue;
      const bool literal = pattern.find('*') == std::string::npos;
      const std::string nearest = literal ? Nearest(pattern, known) : "";
      findings.push_back({i,
                          "this " + rules[i].decision + " is about no tool " + std::string(where) +
                              ": none " + (literal ? "is called '" : "matches '") +
                              pattern.substr(0, 80) + "'" + nearest,
                          !nearest.empty()});
    }
    for (size_t k = 0; k < rules.size(); ++k) {
      if (!rules[k].whole || StrictnessOf(rules[k].decision) <= StrictnessOf(rules[i].decision)) {
        continue;
      }
      if (!Covers(rules[k], rules[i])) continue;
      findings.push_back({i,
                          "this " + InWords(rules[i]) + " never decides: " + NameOf(rules[k], k) +
                              " is of every such call, and the strictest rule counts",
                          true});
      break;
    }
  }
  return findings;
}

}  // namespace baleen
