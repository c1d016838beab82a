#include "tools_sdk/builtin/search_pattern.h"

#include <re2/filtered_re2.h>
#include <re2/re2.h>

#include <algorithm>
#include <string>
#include <utility>

namespace baleen {
namespace {

constexpr int64_t kMemoryBytesMax = 2 << 20;  // of program and automaton
// Steps of the slowest of RE2's engines, which has each of the program's instructions alive at each
// byte: some nanoseconds apiece.
constexpr size_t kStepsAtOnce = size_t{1} << 26;
constexpr size_t kStepsOfLine = size_t{1} << 31;

constexpr char kWordForWord[] =
    "Escape what is meant as it stands with \\, or give literal: true to take the pattern word for "
    "word";

/// Whether the expression names a line's end outside of brackets, where it could only fail.
bool WantsLineEnd(std::string_view pattern) {
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      if (pattern[++i] == 'n' && !in_class) return true;
    } else if (c == '[' && !in_class) {
      in_class = true;
      if (i + 1 < pattern.size() && pattern[i + 1] == '^') ++i;
      if (i + 1 < pattern.size() && pattern[i + 1] == ']') ++i;  // the first one is a member
    } else if (c == ']') {
      in_class = false;
    }
  }
  return false;
}

constexpr int kNeededBytesMin = 3;  // shorter ones are in every other file
constexpr size_t kNeededTextsMax = 32;

/// Whether the expression is of ASCII, and spelt so that whoever folds cases by another table than
/// RE2's takes it for the same: no characters by number, property or class of other scripts.
bool IsPlainlyAscii(std::string_view pattern, bool literal) {
  for (size_t i = 0; i < pattern.size(); ++i) {
    const auto c = static_cast<unsigned char>(pattern[i]);
    if (c < ' ' || c > '~') return false;
    if (literal || c != '\\' || i + 1 == pattern.size()) continue;
    const char escaped = pattern[++i];
    if (escaped == 'x' || escaped == 'p' || escaped == 'P' || (escaped >= '0' && escaped <= '9')) {
      return false;
    }
  }
  return true;
}

bool IsPrintable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

/// RE2's words, the place, and what else to do. `re2` is of the pattern as it was given.
Status Explain(std::string_view pattern, const RE2& re2) {
  if (re2.ok() || re2.error_code() == RE2::ErrorPatternTooLarge ||
      re2.error_code() == RE2::ErrorRepeatSize) {
    return InvalidArgumentError("'pattern' is too complex (" + re2.error() +
                                "): use fewer or smaller repetitions");
  }
  std::string why = re2.error();
  const std::string& part = re2.error_arg();
  const size_t at =
      part.size() >= pattern.size() || part.empty() ? std::string_view::npos : pattern.find(part);
  if (at != std::string_view::npos) why += ", at byte " + std::to_string(at + 1);
  if (re2.error_code() == RE2::ErrorBadPerlOp) {
    why += " (there is no look-around)";
  } else if (re2.error_code() == RE2::ErrorBadEscape) {
    why += " (there are no backreferences)";
  }
  return InvalidArgumentError("'pattern' is no regular expression: " + why + ". " + kWordForWord);
}

}  // namespace

struct SearchPattern::Compiled {
  Compiled(const std::string& expression, const RE2::Options& options) : re2(expression, options) {}
  size_t StepsPerByte() const { return static_cast<size_t>(std::max(re2.ProgramSize(), 1)); }
  RE2 re2;
};

SearchPattern::SearchPattern(std::unique_ptr<Compiled> compiled) : compiled_(std::move(compiled)) {}
SearchPattern::SearchPattern(SearchPattern&&) noexcept = default;
SearchPattern& SearchPattern::operator=(SearchPattern&&) noexcept = default;
SearchPattern::~SearchPattern() = default;

Result<SearchPattern> SearchPattern::Parse(std::string_view pattern, SearchPatternOptions options) {
  if (pattern.size() > kBytesMax) {
    return InvalidArgumentError("'pattern' has " + std::to_string(pattern.size()) +
                                " bytes: expected at most " + std::to_string(kBytesMax));
  }
  if (pattern.find('\n') != std::string_view::npos || (!options.literal && WantsLineEnd(pattern))) {
    return InvalidArgumentError("'pattern' must be one line: matches never span lines");
  }
  RE2::Options re2;
  re2.set_log_errors(false);
  re2.set_never_capture(true);
  re2.set_never_nl(true);
  re2.set_max_mem(kMemoryBytesMax);
  re2.set_literal(options.literal);
  re2.set_case_sensitive(!options.ignore_case);
  // In front of it, not around it: a group of ours could end at a ')' of theirs.
  const std::string lines = options.literal ? "" : "(?m)";
  auto compiled = std::make_unique<Compiled>(lines + std::string(pattern), re2);
  if (!compiled->re2.ok()) return Explain(pattern, RE2(pattern, re2));
  return SearchPattern(std::move(compiled));
}

size_t SearchPattern::Find(std::string_view text, size_t begin, size_t end) const {
  while (begin < end) {
    re2::StringPiece match;
    if (!compiled_->re2.Match(text, begin, end, RE2::UNANCHORED, &match, 1)) break;
    const auto at = static_cast<size_t>(match.data() - text.data());
    // Nothing is found behind the last line's end, where no line begins.
    if (at == end && text[end - 1] == '\n') break;
    if (match.find('\n') == re2::StringPiece::npos) return at;
    // A single byte (\C) fits line ends, too: then the line alone decides.
    const size_t line = text.substr(0, at).rfind('\n') + 1;
    const size_t next = std::min(text.find('\n', at), end);
    if (compiled_->re2.Match(text, line, next, RE2::UNANCHORED, &match, 1)) {
      return static_cast<size_t>(match.data() - text.data());
    }
    begin = next + 1;
  }
  return std::string_view::npos;
}

std::vector<std::string> SearchPattern::NeededTexts() const {
  const RE2& re2 = compiled_->re2;
  if (!IsPlainlyAscii(re2.pattern(), re2.options().literal())) return {};
  re2::FilteredRE2 filter(kNeededBytesMin);
  int id = 0;
  std::vector<std::string> texts;
  if (filter.Add(re2.pattern(), re2.options(), &id) != RE2::NoError) return {};
  filter.Compile(&texts);
  if (texts.empty() || texts.size() > kNeededTextsMax) return {};
  // RE2 keeps to itself how they hang together, but says what a text may be that has some of them.
  const auto may_match = [&](size_t without, bool all_others) {
    std::vector<int> there, matching;
    for (size_t i = 0; all_others && i < texts.size(); ++i) {
      if (i != without) there.push_back(static_cast<int>(i));
    }
    filter.AllPotentials(there, &matching);
    return !matching.empty();
  };
  if (may_match(0, false)) return {};
  size_t longest = texts.size();
  for (size_t i = 0; i < texts.size(); ++i) {
    if (may_match(i, true) || !IsPrintable(texts[i])) continue;
    if (longest == texts.size() || texts[i].size() > texts[longest].size()) longest = i;
  }
  if (longest < texts.size()) return {texts[longest]};
  return std::all_of(texts.begin(), texts.end(), IsPrintable) ? texts : std::vector<std::string>();
}

size_t SearchPattern::bytes_at_once() const { return kStepsAtOnce / compiled_->StepsPerByte(); }
size_t SearchPattern::line_bytes_max() const { return kStepsOfLine / compiled_->StepsPerByte(); }

}  // namespace baleen
