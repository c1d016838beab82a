// One .gitignore file (or .ignore, .rgignore, .git/info/exclude): which paths below it are left
// out.
//
// As ripgrep reads them. Called by TreeWalk.
#pragma once

#include <string_view>
#include <vector>

#include "tools_sdk/builtin/glob_pattern.h"

namespace baleen {

enum class IgnoreVerdict { kNone, kIgnore, kKeep };

/// Threads: const methods from any thread.
class IgnoreRules {
 public:
  /// Lines that are no pattern are passed over, as git does. At most kRulesMax rules are kept.
  static IgnoreRules Parse(std::string_view text);
  /// `path` is relative to the file's folder. The last rule that fits decides.
  IgnoreVerdict Judge(std::string_view path, bool is_directory) const;
  bool empty() const { return rules_.empty(); }

  static constexpr size_t kRulesMax = 2000;

 private:
  struct Rule {
    GlobPattern pattern;
    bool keep;
    bool directories_only;
  };
  static void ParseLine(std::string_view line, std::vector<Rule>* rules);
  std::vector<Rule> rules_;
};

}  // namespace baleen
