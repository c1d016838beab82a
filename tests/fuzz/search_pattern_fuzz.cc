// Patterns come from models and texts from strangers' trees: nothing crashes, and over a whole text
// exactly the lines are found that fit on their own.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "tools_sdk/builtin/search_pattern.h"

namespace {

using baleen::SearchPattern;

void Check(bool holds) {
  if (!holds) std::abort();
}

/// Lines with their ends, and where each begins.
std::vector<size_t> LineStarts(std::string_view text) {
  std::vector<size_t> starts;
  for (size_t at = 0; at < text.size(); at = std::min(text.find('\n', at), text.size() - 1) + 1) {
    starts.push_back(at);
  }
  return starts;
}

/// Whoever has a match has one of the texts that are said to be needed.
void CheckNeeded(const SearchPattern& pattern, std::string_view text) {
  const auto needed = pattern.NeededTexts();
  const bool ascii = std::all_of(text.begin(), text.end(), [](char c) { return (c & 0x80) == 0; });
  if (needed.empty() || !ascii || pattern.Find(text, 0, text.size()) == text.npos) return;
  std::string low(text);
  for (char& c : low) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  Check(std::any_of(needed.begin(), needed.end(),
                    [&low](const std::string& one) { return low.find(one) != low.npos; }));
}

void CheckLines(const SearchPattern& pattern, std::string_view text) {
  const std::vector<size_t> starts = LineStarts(text);
  size_t from = 0;
  for (const size_t start : starts) {
    const size_t end = std::min(text.find('\n', start), text.size() - 1) + 1;
    const std::string_view line = text.substr(start, end - start);
    const bool fits = pattern.Find(line, 0, line.size()) != std::string_view::npos;
    const size_t found = from < text.size() ? pattern.Find(text, from, text.size()) : text.npos;
    // At the end of the last line that has no '\n', an empty match is in the line.
    const bool found_here = found != text.npos && (found < end || end == text.size());
    Check(fits == found_here);
    if (found_here) from = end;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  if (size == 0) return 0;
  std::string_view rest(reinterpret_cast<const char*>(bytes) + 1, size - 1);
  const size_t split = std::min(rest.find('\0'), rest.size());
  const std::string_view pattern = rest.substr(0, split);
  const std::string_view text = rest.substr(std::min(split + 1, rest.size())).substr(0, 2000);
  const baleen::SearchPatternOptions options = {(bytes[0] & 1) != 0, (bytes[0] & 2) != 0};
  const auto parsed = SearchPattern::Parse(pattern, options);
  if (!parsed.ok()) return 0;
  Check(parsed->bytes_at_once() > 0 && parsed->line_bytes_max() > 0);
  CheckNeeded(*parsed, text);
  if (options.literal && !options.ignore_case && !pattern.empty()) {
    Check((parsed->Find(text, 0, text.size()) == text.npos) == (text.find(pattern) == text.npos));
  }
  // What is about the whole text, and flags that could make it so, is another matter.
  if (!options.literal &&
      (pattern.find("(?") != pattern.npos || pattern.find('\\') != pattern.npos)) {
    parsed->Find(text, 0, text.size());
    return 0;
  }
  CheckLines(*parsed, text);
  return 0;
}
