// Patterns, ignore files and texts to be edited come from models and strangers' trees: nothing
// crashes, what is found is there, and a pattern without special bytes fits exactly itself.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "tools_sdk/builtin/edit_match.h"
#include "tools_sdk/builtin/glob_pattern.h"
#include "tools_sdk/builtin/ignore_rules.h"

namespace {

void Check(bool holds) {
  if (!holds) std::abort();
}

/// What lies before the next NUL, which it takes with it.
std::string_view TakePart(std::string_view* rest) {
  const size_t end = std::min(rest->find('\0'), rest->size());
  const std::string_view part = rest->substr(0, end);
  *rest = rest->substr(std::min(end + 1, rest->size()));
  return part;
}

void CheckPattern(std::string_view pattern, std::string_view path) {
  using baleen::GlobBraces;
  for (const GlobBraces braces : {GlobBraces::kAlternatives, GlobBraces::kLiteral}) {
    const auto parsed = baleen::GlobPattern::Parse(pattern, braces);
    if (!parsed.ok()) continue;
    const bool fits = parsed->Matches(path);
    if (pattern.find_first_of("*?[]{}\\!,") == std::string_view::npos) {
      Check(fits == (pattern == path));
    }
  }
  if (const auto names = baleen::GlobPattern::ParseForNames(pattern); names.ok()) {
    names->Matches(path);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(bytes), size);
  const std::string_view first = TakePart(&rest), second = TakePart(&rest);
  CheckPattern(first, second);
  const auto rules = baleen::IgnoreRules::Parse(rest);
  for (const bool directory : {false, true}) rules.Judge(second, directory);
  if (!second.empty()) {
    size_t last = 0;
    const auto places = baleen::FindAll(rest, second, 10);
    Check(places.size() <= 10 && places.empty() == (rest.find(second) == std::string_view::npos));
    for (const size_t place : places) {
      Check(rest.substr(place, second.size()) == second &&
            (place == 0 || place > last || place == places[0]));
      Check(baleen::LineAt(rest, place) >= 1);
      last = place;
    }
    if (places.empty()) Check(!baleen::ExplainMissing(rest, second).empty());
  }
  const std::string returns = baleen::WithCarriageReturns(rest);
  Check(baleen::WithCarriageReturns(returns) == returns);
  return 0;
}
