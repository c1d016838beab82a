// Lua patterns with a price per step, so that no pattern can hold the thread.
//
// Same language as Lua 5.4's own matcher, ASCII classes whatever the host's locale says. Used by
// lua_string.cc.
#pragma once

#include <cstddef>

struct lua_State;

namespace baleen {

inline constexpr int kCapturesMax = 32;

/// One search. A POD: Match raises Lua errors for broken patterns and used-up budgets.
/// Borrows: subject and pattern.
struct PatternSearch {
  lua_State* L;
  const char* subject;
  const char* subject_end;
  const char* pattern_end;
  int depth;
  int captures;
  struct {
    const char* start;
    std::ptrdiff_t size;  ///< Or one of the two marks below.
  } capture[kCapturesMax];
};

inline constexpr std::ptrdiff_t kCaptureOpen = -1;
inline constexpr std::ptrdiff_t kCapturePosition = -2;

/// Matches `pattern` at `at`. Returns the end of the match, or null.
const char* MatchHere(PatternSearch* search, const char* at, const char* pattern);

}  // namespace baleen
