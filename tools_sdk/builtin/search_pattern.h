// What grep looks for: a regular expression of RE2, or a text word for word, within lines.
//
// Linear time whatever the pattern. Characters are UTF-8; '.' and classes fit no byte that is none.
// Called by grep.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tools_sdk/status.h"

namespace baleen {

struct SearchPatternOptions {
  bool literal = false;      ///< No character means anything but itself.
  bool ignore_case = false;  ///< By Unicode's simple folding.
};

/// Threads: const methods from any thread.
class SearchPattern {
 public:
  /// Errors: INVALID_ARGUMENT (no expression, or one that wants a line's end inside; longer than
  /// kBytesMax; too complex), saying where and what to do instead.
  static Result<SearchPattern> Parse(std::string_view pattern, SearchPatternOptions options);

  /// Where the first line of `text` in [begin, end) that has a match has one; npos: none does. What
  /// spans lines is no match. Requires: `begin` is a line's, `end` is behind a line's '\n' or the
  /// text's.
  size_t Find(std::string_view text, size_t begin, size_t end) const;

  /// Texts of printable ASCII, in lower case, of which every match has one, in letters of either
  /// case. Empty: none are known.
  std::vector<std::string> NeededTexts() const;

  /// About so many bytes may be searched at once: a fraction of a second at worst.
  size_t bytes_at_once() const;
  /// Longer lines would keep a caller who can't be cancelled meanwhile for too long.
  size_t line_bytes_max() const;

  SearchPattern(SearchPattern&&) noexcept;
  SearchPattern& operator=(SearchPattern&&) noexcept;
  ~SearchPattern();

  static constexpr size_t kBytesMax = 4000;

 private:
  struct Compiled;
  explicit SearchPattern(std::unique_ptr<Compiled> compiled);
  std::unique_ptr<Compiled> compiled_;
};

}  // namespace baleen
