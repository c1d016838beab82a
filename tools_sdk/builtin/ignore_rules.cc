#include "tools_sdk/builtin/ignore_rules.h"

#include <string>
#include <utility>

namespace baleen {

IgnoreRules IgnoreRules::Parse(std::string_view text) {
  IgnoreRules out;
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  while (!text.empty() && out.rules_.size() < kRulesMax) {
    const size_t end = text.find('\n');
    ParseLine(text.substr(0, end), &out.rules_);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return out;
}

void IgnoreRules::ParseLine(std::string_view line, std::vector<Rule>* rules) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (line.starts_with('#')) return;
  // A blank that a backslash protects stays.
  while (line.ends_with(' ') && !line.ends_with("\\ ")) line.remove_suffix(1);
  if (line.empty()) return;
  bool keep = false;
  bool anchored = false;
  if (line.starts_with("\\!") || line.starts_with("\\#")) {
    line.remove_prefix(1);
    anchored = line.starts_with('/');
  } else {
    if (line.starts_with('!')) {
      keep = true;
      line.remove_prefix(1);
    }
    if (line.starts_with('/')) {
      anchored = true;
      line.remove_prefix(1);
    }
  }
  const bool directories_only = line.ends_with('/');
  if (directories_only) line.remove_suffix(1);
  if (line.empty()) return;
  std::string glob(line);
  if (!anchored && glob.find('/') == std::string::npos) glob = "**/" + glob;
  if (glob.ends_with("/**")) glob += "/*";  // what is in the folder, not the folder
  auto pattern = GlobPattern::Parse(glob, GlobBraces::kLiteral);
  if (pattern.ok()) rules->push_back({std::move(pattern).value(), keep, directories_only});
}

IgnoreVerdict IgnoreRules::Judge(std::string_view path, bool is_directory) const {
  for (size_t i = rules_.size(); i-- > 0;) {
    const Rule& rule = rules_[i];
    if (rule.directories_only && !is_directory) continue;
    if (rule.pattern.Matches(path))
      return rule.keep ? IgnoreVerdict::kKeep : IgnoreVerdict::kIgnore;
  }
  return IgnoreVerdict::kNone;
}

}  // namespace baleen
