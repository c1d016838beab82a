#include "tools_sdk/shell/command_rules.h"

#include <algorithm>
#include <utility>

#include "tools_sdk/shell/shell_text.h"
#include "tools_sdk/wildcard.h"

namespace baleen {
namespace {

constexpr size_t kWordsMax = 16;
constexpr size_t kAlternativesMax = 64;
constexpr size_t kBytesMax = 256;

enum class Match { kNo, kUnsure, kYes };

bool Contains(const std::vector<std::string>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

Match MatchArgv(const CommandRule& rule, const ShellCommand& command) {
  for (size_t i = 0; i < rule.argv.size(); ++i) {
    if (i >= command.words.size()) return command.open_end ? Match::kUnsure : Match::kNo;
    const ShellWord& word = command.words[i];
    if (word.open) return Match::kUnsure;
    if (Contains(rule.argv[i], word.text)) continue;
    const size_t slash = word.text.rfind('/');
    const bool by_name = i == 0 && slash != std::string::npos && rule.level != CommandLevel::kAllow;
    if (!by_name || !Contains(rule.argv[i], word.text.substr(slash + 1))) return Match::kNo;
  }
  return Match::kYes;
}

/// Without what means nothing in a path: "./a//b" is "a/b".
std::string Plain(std::string_view path) {
  std::string out(path.starts_with('/') ? "/" : "");
  while (!path.empty()) {
    const size_t slash = path.find('/');
    const std::string_view name = path.substr(0, slash);
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
    if (name.empty() || name == ".") continue;
    if (!out.empty() && out.back() != '/') out += '/';
    out += name;
  }
  return out;
}

Match MatchWrite(const CommandRule& rule, const std::string& path) {
  if (!MatchesWildcard(rule.writes, path)) return Match::kNo;
  // Where it goes up again, it may end anywhere.
  const bool goes_up = ("/" + path + "/").find("/../") != std::string::npos;
  return goes_up && rule.level == CommandLevel::kAllow ? Match::kUnsure : Match::kYes;
}

class Judge {
 public:
  Judge(std::span<const CommandRule> rules, bool covered) : rules_(rules), covered_(covered) {}

  void Command(const ShellCommand& command, size_t number) {
    const std::string shown = ShownCommand(command);
    const bool named = Part(shown, number, [&](const CommandRule& rule) {
      return rule.argv.empty() ? Match::kNo : MatchArgv(rule, command);
    });
    if (!named && !command.passes && !covered_)
      Uncovered({CommandLevel::kNone, -1, shown, number, ""});
  }

  void Written(const std::string& path) {
    const std::string plain = Plain(path);
    const bool named = Part("> " + path.substr(0, kBytesMax), 0, [&](const CommandRule& rule) {
      return rule.writes.empty() ? Match::kNo : MatchWrite(rule, plain);
    });
    if (named || covered_) return;
    Tighten({CommandLevel::kAsk, -1, "> " + path.substr(0, kBytesMax), 0,
             "it writes a file, and no rule allows that"});
  }

  void Unclear(const std::string& what) {
    Tighten({CommandLevel::kAsk, -1, "", 0, "it can't be judged by its words: " + what});
  }

  CommandVerdict Take() {
    Tighten(std::move(unsure_));
    if (strictest_.level <= CommandLevel::kAllow && uncovered_.number != 0) return uncovered_;
    return std::move(strictest_);
  }

 private:
  void Tighten(CommandVerdict other) {
    if (other.level > strictest_.level) strictest_ = std::move(other);
  }
  void Uncovered(CommandVerdict verdict) {
    if (uncovered_.number == 0) uncovered_ = std::move(verdict);
  }

  /// Tries all rules on one part. False: none of them is about it.
  template <typename Matches>
  bool Part(const std::string& shown, size_t number, const Matches& matches) {
    bool named = false;
    for (size_t i = 0; i < rules_.size(); ++i) {
      const Match match = matches(rules_[i]);
      if (match == Match::kNo) continue;
      named = true;
      if (match == Match::kYes) {
        Tighten({rules_[i].level, static_cast<int>(i), shown, number, ""});
      } else {
        unsure_ = {CommandLevel::kAsk, -1, shown, number,
                   "whether a rule is about it shows only when it runs"};
      }
    }
    return named;
  }

  const std::span<const CommandRule> rules_;
  const bool covered_;
  CommandVerdict strictest_;
  CommandVerdict unsure_;  ///< Has the last word: other reasons to ask say more.
  CommandVerdict uncovered_;
};

}  // namespace

CommandVerdict JudgeCommand(std::string_view text, std::span<const CommandRule> rules,
                            bool covered) {
  const ShellReading reading = ReadShellText(text);
  Judge judge(rules, covered);
  for (size_t i = 0; i < reading.commands.size(); ++i) judge.Command(reading.commands[i], i + 1);
  for (const std::string& path : reading.written) judge.Written(path);
  if (!reading.unclear.empty()) judge.Unclear(reading.unclear);
  return judge.Take();
}

std::string CommandReason(const CommandVerdict& verdict, std::string_view why) {
  std::string reason = verdict.part.empty() ? "" : "`" + verdict.part + "`";
  for (const std::string_view one : {std::string_view(verdict.why), why}) {
    if (one.empty()) continue;
    if (!reason.empty()) reason += ": ";
    reason += one;
  }
  return reason;
}

Status CheckCommandRule(const CommandRule& rule) {
  if (rule.argv.empty() == rule.writes.empty()) {
    return InvalidArgumentError("a rule about commands has either argv or writes");
  }
  if (rule.writes.size() > kBytesMax || rule.argv.size() > kWordsMax) {
    return InvalidArgumentError("writes has at most " + std::to_string(kBytesMax) +
                                " bytes, argv at most " + std::to_string(kWordsMax) + " words");
  }
  for (const auto& alternatives : rule.argv) {
    if (alternatives.empty() || alternatives.size() > kAlternativesMax) {
      return InvalidArgumentError("argv has 1 to " + std::to_string(kAlternativesMax) +
                                  " alternatives for each word, got " +
                                  std::to_string(alternatives.size()));
    }
    for (const std::string& word : alternatives) {
      if (word.empty() || word.size() > kBytesMax) {
        return InvalidArgumentError("a word of argv has 1 to " + std::to_string(kBytesMax) +
                                    " bytes, got " + std::to_string(word.size()));
      }
    }
  }
  return OkStatus();
}

}  // namespace baleen
