// File name patterns with ripgrep's meaning: '*', '?', '[...]', '**', '{a,b}'.
//
// Bytes, not characters. Linear time whatever the pattern: it becomes a regular expression for RE2.
// Called by grep and the ignore rules.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "tools_sdk/status.h"

namespace baleen {

enum class GlobBraces { kAlternatives, kLiteral };

/// Threads: const methods from any thread.
class GlobPattern {
 public:
  /// Of a whole path: '*' and '?' stop at '/', "**/" is any run of folders.
  /// Errors: INVALID_ARGUMENT (a bracket that isn't closed, braces in braces, longer than 1000
  /// bytes).
  static Result<GlobPattern> Parse(std::string_view glob, GlobBraces braces);
  /// As Parse with alternatives; a pattern without '/' is of a name in any folder.
  static Result<GlobPattern> ParseForNames(std::string_view glob);

  GlobPattern(GlobPattern&&) noexcept;
  GlobPattern& operator=(GlobPattern&&) noexcept;
  ~GlobPattern();

  bool Matches(std::string_view path) const;

 private:
  struct Compiled;
  explicit GlobPattern(std::unique_ptr<Compiled> compiled);
  std::unique_ptr<Compiled> compiled_;
};

}  // namespace baleen
