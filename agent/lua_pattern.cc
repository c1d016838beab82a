#include "agent/lua_pattern.h"

#include <cstring>
#include <lua5.4/lua.hpp>

#include "agent/lua_sandbox_state.h"

namespace baleen {
namespace {

// Nested matches; each takes about 150 bytes of C stack. Lua's own limit.
constexpr int kDepthMax = 200;

bool Between(unsigned char c, char low, char high) {
  return c >= static_cast<unsigned char>(low) && c <= static_cast<unsigned char>(high);
}

bool IsLetter(unsigned char c) { return Between(c, 'a', 'z') || Between(c, 'A', 'Z'); }

bool InClass(unsigned char c, unsigned char letter) {
  const unsigned char lower = letter | 0x20;
  bool in = false;
  switch (lower) {
    case 'a': in = IsLetter(c); break;
    case 'd': in = Between(c, '0', '9'); break;
    case 'l': in = Between(c, 'a', 'z'); break;
    case 'u': in = Between(c, 'A', 'Z'); break;
    case 's': in = c == ' ' || Between(c, '\t', '\r'); break;
    case 'w': in = IsLetter(c) || Between(c, '0', '9'); break;
    case 'c': in = c < 32 || c == 127; break;
    case 'g': in = Between(c, '!', '~'); break;
    case 'p': in = Between(c, '!', '~') && !IsLetter(c) && !Between(c, '0', '9'); break;
    case 'x': in = Between(c, '0', '9') || Between(c, 'a', 'f') || Between(c, 'A', 'F'); break;
    default: return c == letter;  // An escaped character.
  }
  return Between(letter, 'A', 'Z') ? !in : in;
}

// The end of the single-character item that begins at `p`.
const char* ItemEnd(PatternSearch* m, const char* p) {
  const char first = *p++;
  if (first == '%') {
    if (p == m->pattern_end) luaL_error(m->L, "malformed pattern (ends with '%%')");
    return p + 1;
  }
  if (first != '[') return p;
  if (p < m->pattern_end && *p == '^') ++p;
  do {  // A ']' in first place is a member.
    if (p == m->pattern_end) luaL_error(m->L, "malformed pattern (missing ']')");
    const char member = *p++;
    if (member == '%') {
      if (p == m->pattern_end) luaL_error(m->L, "malformed pattern (missing ']')");
      ++p;
    }
  } while (p == m->pattern_end || *p != ']');
  return p + 1;
}

// `p` is at '[', `last` at the closing ']'.
bool InSet(PatternSearch* m, unsigned char c, const char* p, const char* last) {
  Charge(m->L, (last - p) / 4);
  bool in = true;
  if (p[1] == '^') {
    in = false;
    ++p;
  }
  while (++p < last) {
    if (*p == '%') {
      ++p;
      if (InClass(c, static_cast<unsigned char>(*p))) return in;
    } else if (p + 2 < last && p[1] == '-') {
      if (Between(c, p[0], p[2])) return in;
      p += 2;
    } else if (static_cast<unsigned char>(*p) == c) {
      return in;
    }
  }
  return !in;
}

bool ItemMatches(PatternSearch* m, const char* at, const char* p, const char* item_end) {
  Charge(m->L, 1);
  if (at >= m->subject_end) return false;
  const unsigned char c = static_cast<unsigned char>(*at);
  switch (*p) {
    case '.': return true;
    case '%': return InClass(c, static_cast<unsigned char>(p[1]));
    case '[': return InSet(m, c, p, item_end - 1);
    default: return static_cast<unsigned char>(*p) == c;
  }
}

const char* MatchBalanced(PatternSearch* m, const char* at, const char* p) {
  if (m->pattern_end - p < 2) luaL_error(m->L, "malformed pattern (missing arguments to '%%b')");
  if (at >= m->subject_end || *at != p[0]) return nullptr;
  int open = 1;
  for (const char* s = at + 1; s < m->subject_end; ++s) {
    Charge(m->L, 1);
    if (*s == p[1]) {
      if (--open == 0) return s + 1;
    } else if (*s == p[0]) {
      ++open;
    }
  }
  return nullptr;
}

const char* MatchGreedy(PatternSearch* m, const char* at, const char* p, const char* item_end) {
  std::ptrdiff_t count = 0;
  while (ItemMatches(m, at + count, p, item_end)) ++count;
  for (; count >= 0; --count) {
    if (const char* end = MatchHere(m, at + count, item_end + 1)) return end;
  }
  return nullptr;
}

const char* MatchLazy(PatternSearch* m, const char* at, const char* p, const char* item_end) {
  for (;;) {
    if (const char* end = MatchHere(m, at, item_end + 1)) return end;
    if (!ItemMatches(m, at, p, item_end)) return nullptr;
    ++at;
  }
}

const char* OpenCapture(PatternSearch* m, const char* at, const char* p, std::ptrdiff_t mark) {
  if (m->captures >= kCapturesMax) luaL_error(m->L, "too many captures");
  m->capture[m->captures].start = at;
  m->capture[m->captures].size = mark;
  ++m->captures;
  const char* end = MatchHere(m, at, p);
  if (end == nullptr) --m->captures;
  return end;
}

const char* CloseCapture(PatternSearch* m, const char* at, const char* p) {
  int which = m->captures - 1;
  while (which >= 0 && m->capture[which].size != kCaptureOpen) --which;
  if (which < 0) luaL_error(m->L, "invalid pattern capture");
  m->capture[which].size = at - m->capture[which].start;
  const char* end = MatchHere(m, at, p);
  if (end == nullptr) m->capture[which].size = kCaptureOpen;
  return end;
}

const char* MatchBackReference(PatternSearch* m, const char* at, char digit) {
  const int which = digit - '1';
  if (which < 0 || which >= m->captures || m->capture[which].size == kCaptureOpen) {
    luaL_error(m->L, "invalid capture index %%%d in pattern", which + 1);
  }
  // A position capture has no text to repeat; only the whole subject could be that long.
  const std::ptrdiff_t size = m->capture[which].size;
  if (size < 0 || m->subject_end - at < size) return nullptr;
  Charge(m->L, size / 16);
  const bool same = std::memcmp(m->capture[which].start, at, static_cast<size_t>(size)) == 0;
  return same ? at + size : nullptr;
}

bool AtFrontier(PatternSearch* m, const char* at, const char* set, const char* set_end) {
  const char before = at == m->subject ? '\0' : at[-1];
  const char here = at == m->subject_end ? '\0' : *at;
  return !InSet(m, static_cast<unsigned char>(before), set, set_end - 1) &&
         InSet(m, static_cast<unsigned char>(here), set, set_end - 1);
}

const char* MatchSteps(PatternSearch* m, const char* at, const char* p) {
  while (p != m->pattern_end) {
    Charge(m->L, 1);
    if (*p == '(') {
      const bool position = p + 1 < m->pattern_end && p[1] == ')';
      return position ? OpenCapture(m, at, p + 2, kCapturePosition)
                      : OpenCapture(m, at, p + 1, kCaptureOpen);
    }
    if (*p == ')') return CloseCapture(m, at, p + 1);
    if (*p == '$' && p + 1 == m->pattern_end) return at == m->subject_end ? at : nullptr;
    if (*p == '%' && p + 1 < m->pattern_end) {
      if (p[1] == 'b') {
        at = MatchBalanced(m, at, p + 2);
        if (at == nullptr) return nullptr;
        p += 4;
        continue;
      }
      if (p[1] == 'f') {
        p += 2;
        if (p == m->pattern_end || *p != '[') {
          luaL_error(m->L, "missing '[' after '%%f' in pattern");
        }
        const char* set_end = ItemEnd(m, p);
        if (!AtFrontier(m, at, p, set_end)) return nullptr;
        p = set_end;
        continue;
      }
      if (Between(static_cast<unsigned char>(p[1]), '0', '9')) {
        at = MatchBackReference(m, at, p[1]);
        if (at == nullptr) return nullptr;
        p += 2;
        continue;
      }
    }
    const char* item_end = ItemEnd(m, p);
    const char suffix = item_end < m->pattern_end ? *item_end : '\0';
    if (suffix == '*') return MatchGreedy(m, at, p, item_end);
    if (suffix == '-') return MatchLazy(m, at, p, item_end);
    const bool matches = ItemMatches(m, at, p, item_end);
    if (suffix == '+') return matches ? MatchGreedy(m, at + 1, p, item_end) : nullptr;
    if (suffix == '?') {
      if (matches) {
        if (const char* end = MatchHere(m, at + 1, item_end + 1)) return end;
      }
      p = item_end + 1;
      continue;
    }
    if (!matches) return nullptr;
    ++at;
    p = item_end;
  }
  return at;
}

}  // namespace

const char* MatchHere(PatternSearch* search, const char* at, const char* pattern) {
  if (++search->depth > kDepthMax) luaL_error(search->L, "pattern too complex");
  const char* end = MatchSteps(search, at, pattern);
  --search->depth;
  return end;
}

}  // namespace baleen
