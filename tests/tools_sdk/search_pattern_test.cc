// Expressions of grep: what fits, what is refused and how, and how much is searched at once.
#include "tools_sdk/builtin/search_pattern.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

namespace baleen {
namespace {

SearchPattern Parsed(std::string_view pattern, SearchPatternOptions options = {}) {
  auto parsed = SearchPattern::Parse(pattern, options);
  INFO(pattern << ": " << parsed.status().message());
  REQUIRE(parsed.ok());
  return std::move(parsed).value();
}

/// Numbers of the lines that fit, from 1.
std::vector<int> Lines(const SearchPattern& pattern, const std::string& text) {
  std::vector<int> out;
  int line = 1;
  for (size_t at = 0; at < text.size();) {
    const size_t found = pattern.Find(text, at, text.size());
    if (found == std::string::npos) break;
    for (; at < found; ++at) line += text[at] == '\n' ? 1 : 0;
    out.push_back(line++);
    at = std::min(text.find('\n', found), text.size()) + 1;
  }
  return out;
}

std::string Refused(std::string_view pattern) {
  const auto parsed = SearchPattern::Parse(pattern, {});
  CHECK(!parsed.ok());
  return parsed.status().message();
}

using Numbers = std::vector<int>;

TEST_CASE("AMatchIsWithinALine") {
  CHECK(Lines(Parsed("b"), "a\nb\nab\n") == Numbers{2, 3});
  CHECK(Lines(Parsed("^b$"), "a\nb\nab\nb") == Numbers{2, 4});
  CHECK(Lines(Parsed("a\\s+b"), "a\nb\na  b") == Numbers{3});
  CHECK(Lines(Parsed("a[^x]b"), "a\nb\na b\n") == Numbers{3});
  CHECK(Lines(Parsed("a\\Cb"), "a\nb\na b\n") == Numbers{3});
  CHECK(Lines(Parsed("(?s)a.*b"), "a\nb\na b\n") == Numbers{3});
  // Nothing is behind the last line's end, and an empty line is a line.
  CHECK(Lines(Parsed("^$"), "a\n\nb\n") == Numbers{2});
  CHECK(Lines(Parsed("^$"), "a\n").empty());
  CHECK(Lines(Parsed("$"), "a\nb") == Numbers{1, 2});
  CHECK(Lines(Parsed("x*"), "a\nb\n") == Numbers{1, 2});
}

TEST_CASE("AnAlternativeIsOfTheWholePattern") {
  CHECK(Lines(Parsed("^a|b$"), "ax\nxb\nxax\n") == Numbers{1, 2});
  CHECK(Refused("a)(b").find("unexpected )") != std::string::npos);
}

TEST_CASE("CaseAndWordsAreTakenAsAsked") {
  CHECK(Lines(Parsed("foo.", {.ignore_case = true}), "FOO1\nfoo\n") == Numbers{1});
  CHECK(Lines(Parsed("é", {.ignore_case = true}), "É\n") == Numbers{1});
  CHECK(Lines(Parsed("a.b(", {.literal = true}), "axb(\na.b(\nA.B(\n") == Numbers{2});
  CHECK(Lines(Parsed("a.b(", {.literal = true, .ignore_case = true}), "axb(\nA.B(\n") ==
        Numbers{2});
  CHECK(Lines(Parsed("\\n", {.literal = true}), "a\\nb\n") == Numbers{1});
}

TEST_CASE("CharactersAreUtf8AndOtherBytesFitNothing") {
  CHECK(Lines(Parsed("^a.b$"),
              "aéb\na\xe9"
              "b\na1b\n") == Numbers{1, 3});
  CHECK(Lines(Parsed("a[^x]b"),
              "a\xe9"
              "b\n")
            .empty());
  CHECK(Lines(Parsed("b"),
              "a\xff\xfe"
              "b\n") == Numbers{1});
}

TEST_CASE("RefusalsSayWhereAndWhatToDo") {
  CHECK(Refused("foo(bar") ==
        "'pattern' is no regular expression: missing ): foo(bar. Escape what is meant "
        "as it stands with \\, or give literal: true to take the pattern word for word");
  CHECK(Refused("a[b-").find("missing ]: [b-, at byte 2") != std::string::npos);
  CHECK(Refused("x(?=y)").find("(?=, at byte 2 (there is no look-around)") != std::string::npos);
  CHECK(Refused("(a)\\1").find("\\1, at byte 4 (there are no backref") != std::string::npos);
  CHECK(Refused("*a").find("literal: true") != std::string::npos);
  CHECK(Refused("(a{1000}){1000}").find("too complex") != std::string::npos);
  CHECK(Refused("((((\\pL{9}){9}){9}){9}){9}").find("too complex") != std::string::npos);
  CHECK(Refused(std::string(5000, 'a')).find("expected at most 4000") != std::string::npos);
  for (const char* lines : {"a\nb", "a\\nb", "[a]\\n", "[]a]\\n", "[^]a]\\n"}) {
    CHECK(Refused(lines).find("must be one line") != std::string::npos);
  }
  for (const char* fine : {"[^\\n]*a", "\\\\n", "[]\\n]", "[^]\\n]"})
    CHECK(Parsed(fine).bytes_at_once());
}

TEST_CASE("WhatEveryMatchHoldsIsKnown") {
  using Texts = std::vector<std::string>;
  CHECK(Parsed("foo\\w+_Barrow\\(").NeededTexts() == Texts{"_barrow("});
  CHECK(Parsed("needle", {.ignore_case = true}).NeededTexts() == Texts{"needle"});
  CHECK(Parsed("A.(b*", {.literal = true}).NeededTexts() == Texts{"a.(b*"});
  Texts either = Parsed("^(apple|pear)s?$").NeededTexts();
  std::sort(either.begin(), either.end());
  CHECK(either == Texts{"apple", "pear"});
  // Too short, in one of the ways at least; or not plainly ASCII.
  for (const char* unknown : {"ab", "a.b.c", "\\d{4}-\\d\\d", "(needle)?", "needle|ab",
                              "caf\u00e9s", "\\x6eeedle", "needle\\pL", "need\\154e", "nee\tdle"}) {
    INFO(unknown);
    CHECK(Parsed(unknown).NeededTexts().empty());
  }
  CHECK(Parsed("\\x6e", {.literal = true}).NeededTexts() == Texts{"\\x6e"});
}

TEST_CASE("AComplexPatternIsGivenLessAtOnce") {
  const SearchPattern simple = Parsed("needle");
  const SearchPattern complex = Parsed("(.{1,100}x){5}");
  CHECK(simple.bytes_at_once() >= size_t{1} << 20);
  CHECK(simple.line_bytes_max() >= size_t{16} << 20);
  CHECK(complex.bytes_at_once() < size_t{64} << 10);
  CHECK(complex.line_bytes_max() < size_t{1} << 20);
}

}  // namespace
}  // namespace baleen
