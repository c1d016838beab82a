// What is odd about a policy's rules: names that no tool has, and rules that can't decide anything.
//
// Pure functions. Called by script_check.cc about scripts, and by the runtime about the rules of a
// session's settings, too.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace baleen {

struct DeclaredRule {
  int line = 0;                    ///< Of the script, from 1; 0: it is a setting.
  std::string decision;            ///< "allow", "ask" or "deny".
  std::vector<std::string> tools;  ///< Patterns with '*': it is about what matches any of them.
  bool whole = true;               ///< It is of every call of these, whatever the arguments.
};

struct RuleFinding {
  size_t rule = 0;  ///< Its index.
  std::string message;
  /// It can't be meant so. Else it may be about a tool that is not known here.
  bool sure = true;
};

/// `known`: names of tools; empty: names aren't looked at.
/// `where`: what they are, for the message: "of this session", say.
std::vector<RuleFinding> LintRules(const std::vector<DeclaredRule>& rules,
                                   const std::set<std::string>& known, std::string_view where);

/// "; did you mean 'x'?" of the name that is nearest to `name`, or nothing if none is near.
std::string Nearest(std::string_view name, const std::set<std::string>& names);

}  // namespace baleen
