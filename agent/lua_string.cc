// string: Lua's, with our own matcher, sizes that are checked first, and no addresses in %s.
#include <cstring>
#include <lua5.4/lua.hpp>

#include "agent/lua_libraries.h"
#include "agent/lua_pattern.h"
#include "agent/lua_sandbox_state.h"

namespace baleen {
namespace {

// A string position argument as an offset; `position` may count from the end.
size_t StartOffset(lua_Integer position, size_t size) {
  if (position > 0) return static_cast<size_t>(position) - 1;
  if (position == 0) return 0;
  const uint64_t from_end = uint64_t{0} - static_cast<uint64_t>(position);
  return from_end > size ? 0 : size - from_end;
}

PatternSearch NewSearch(lua_State* L, const char* subject, size_t subject_size,
                        const char* pattern_end) {
  PatternSearch search;
  search.L = L;
  search.subject = subject;
  search.subject_end = subject + subject_size;
  search.pattern_end = pattern_end;
  search.depth = 0;
  search.captures = 0;
  return search;
}

void PushCapture(PatternSearch* m, int which, const char* start, const char* end) {
  if (which >= m->captures) {  // Without captures the whole match stands for the first one.
    if (which != 0) luaL_error(m->L, "invalid capture index %%%d", which + 1);
    lua_pushlstring(m->L, start, static_cast<size_t>(end - start));
    return;
  }
  const std::ptrdiff_t size = m->capture[which].size;
  if (size == kCaptureOpen) luaL_error(m->L, "unfinished capture");
  if (size == kCapturePosition) {
    lua_pushinteger(m->L, m->capture[which].start - m->subject + 1);
  } else {
    lua_pushlstring(m->L, m->capture[which].start, static_cast<size_t>(size));
  }
}

// Pushes every capture, or the whole match where there are none and `start` isn't null.
int PushCaptures(PatternSearch* m, const char* start, const char* end) {
  const int count = m->captures == 0 && start != nullptr ? 1 : m->captures;
  luaL_checkstack(m->L, count, "too many captures");
  for (int i = 0; i < count; ++i) PushCapture(m, i, start, end);
  return count;
}

int FindPlain(lua_State* L, const char* subject, size_t size, const char* wanted,
              size_t wanted_size, size_t from) {
  Charge(L, static_cast<int64_t>((size - from) / 16));
  const void* found = memmem(subject + from, size - from, wanted, wanted_size);
  if (found == nullptr) {
    lua_pushnil(L);
    return 1;
  }
  const lua_Integer start = static_cast<const char*>(found) - subject;
  lua_pushinteger(L, start + 1);
  lua_pushinteger(L, start + static_cast<lua_Integer>(wanted_size));
  return 2;
}

int Search(lua_State* L, bool find) {
  size_t size = 0, pattern_size = 0;
  const char* subject = luaL_checklstring(L, 1, &size);
  const char* pattern = luaL_checklstring(L, 2, &pattern_size);
  const size_t from = StartOffset(luaL_optinteger(L, 3, 1), size);
  if (from > size) {
    lua_pushnil(L);
    return 1;
  }
  const bool plain = lua_toboolean(L, 4) != 0 || strcspn(pattern, "^$*+?.([%-") == pattern_size;
  if (find && plain) return FindPlain(L, subject, size, pattern, pattern_size, from);
  const char* pattern_end = pattern + pattern_size;
  const bool anchored = pattern_size > 0 && *pattern == '^';
  if (anchored) ++pattern;
  PatternSearch search = NewSearch(L, subject, size, pattern_end);
  for (const char* at = subject + from; at <= search.subject_end; ++at) {
    search.captures = 0;
    search.depth = 0;
    if (const char* end = MatchHere(&search, at, pattern)) {
      if (!find) return PushCaptures(&search, at, end);
      lua_pushinteger(L, at - subject + 1);
      lua_pushinteger(L, end - subject);
      return 2 + PushCaptures(&search, nullptr, nullptr);
    }
    if (anchored) break;
  }
  lua_pushnil(L);
  return 1;
}

int Find(lua_State* L) { return Search(L, true); }
int Match(lua_State* L) { return Search(L, false); }

// upvalues: subject, pattern, next offset, end of the last match (-1: none)
int GmatchStep(lua_State* L) {
  size_t size = 0, pattern_size = 0;
  const char* subject = lua_tolstring(L, lua_upvalueindex(1), &size);
  const char* pattern = lua_tolstring(L, lua_upvalueindex(2), &pattern_size);
  const lua_Integer last_end = lua_tointeger(L, lua_upvalueindex(4));
  PatternSearch search = NewSearch(L, subject, size, pattern + pattern_size);
  const char* at = subject + lua_tointeger(L, lua_upvalueindex(3));
  for (; at <= search.subject_end; ++at) {
    search.captures = 0;
    search.depth = 0;
    const char* end = MatchHere(&search, at, pattern);
    if (end == nullptr || end - subject == last_end) continue;
    lua_pushinteger(L, end - subject);
    lua_copy(L, -1, lua_upvalueindex(3));
    lua_replace(L, lua_upvalueindex(4));
    return PushCaptures(&search, at, end);
  }
  return 0;
}

int Gmatch(lua_State* L) {
  size_t size = 0;
  luaL_checklstring(L, 1, &size);
  luaL_checkstring(L, 2);
  size_t from = StartOffset(luaL_optinteger(L, 3, 1), size);
  if (from > size) from = size + 1;
  lua_settop(L, 2);
  lua_pushinteger(L, static_cast<lua_Integer>(from));
  lua_pushinteger(L, -1);
  lua_pushcclosure(L, GmatchStep, 4);
  return 1;
}

void AddReplacementText(PatternSearch* m, luaL_Buffer* out, const char* start, const char* end) {
  size_t size = 0;
  const char* text = lua_tolstring(m->L, 3, &size);
  Charge(m->L, static_cast<int64_t>(size / 16));
  for (size_t i = 0; i < size; ++i) {
    if (text[i] != '%') {
      luaL_addchar(out, text[i]);
      continue;
    }
    ++i;
    const char c = i < size ? text[i] : '\0';
    if (c == '%') {
      luaL_addchar(out, '%');
    } else if (c == '0') {
      luaL_addlstring(out, start, static_cast<size_t>(end - start));
    } else if (c >= '1' && c <= '9') {
      PushCapture(m, c - '1', start, end);
      if (lua_isinteger(m->L, -1)) lua_tolstring(m->L, -1, nullptr);
      luaL_addvalue(out);
    } else {
      luaL_error(m->L, "invalid use of '%%' in replacement string");
    }
  }
}

// Adds the replacement of one match.
void AddReplacement(PatternSearch* m, luaL_Buffer* out, const char* start, const char* end) {
  lua_State* L = m->L;
  switch (lua_type(L, 3)) {
    case LUA_TFUNCTION: {
      lua_pushvalue(L, 3);
      const int count = PushCaptures(m, start, end);
      lua_call(L, count, 1);
      break;
    }
    case LUA_TTABLE:
      PushCapture(m, 0, start, end);
      lua_gettable(L, 3);
      break;
    default: AddReplacementText(m, out, start, end); return;
  }
  if (lua_toboolean(L, -1) == 0) {
    lua_pop(L, 1);
    luaL_addlstring(out, start, static_cast<size_t>(end - start));
  } else if (lua_isstring(L, -1) != 0) {
    luaL_addvalue(out);
  } else {
    luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
  }
}

int Gsub(lua_State* L) {
  size_t size = 0, pattern_size = 0;
  const char* subject = luaL_checklstring(L, 1, &size);
  const char* pattern = luaL_checklstring(L, 2, &pattern_size);
  const int type = lua_type(L, 3);
  luaL_argexpected(
      L, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION || type == LUA_TTABLE,
      3, "string/function/table");
  if (type == LUA_TNUMBER) lua_tolstring(L, 3, nullptr);
  const lua_Integer count_max = luaL_optinteger(L, 4, static_cast<lua_Integer>(size) + 1);
  const char* pattern_end = pattern + pattern_size;
  const bool anchored = pattern_size > 0 && *pattern == '^';
  if (anchored) ++pattern;
  PatternSearch search = NewSearch(L, subject, size, pattern_end);
  const char* at = subject;
  const char* last_end = nullptr;
  lua_Integer count = 0;
  luaL_Buffer out;
  luaL_buffinit(L, &out);
  while (count < count_max) {
    search.captures = 0;
    search.depth = 0;
    const char* end = MatchHere(&search, at, pattern);
    if (end != nullptr && end != last_end) {
      ++count;
      AddReplacement(&search, &out, at, end);
      at = last_end = end;
    } else if (at < search.subject_end) {
      luaL_addchar(&out, *at++);
    } else {
      break;
    }
    if (anchored) break;
  }
  luaL_addlstring(&out, at, static_cast<size_t>(search.subject_end - at));
  luaL_pushresult(&out);
  lua_pushinteger(L, count);
  return 2;
}

int Repeat(lua_State* L) {
  size_t size = 0, separator_size = 0;
  const char* text = luaL_checklstring(L, 1, &size);
  const lua_Integer count = luaL_checkinteger(L, 2);
  const char* separator = luaL_optlstring(L, 3, "", &separator_size);
  if (count <= 0) {
    lua_pushliteral(L, "");
    return 1;
  }
  const size_t unit = size + separator_size;
  if (unit > 0 && static_cast<uint64_t>(count) > kAllocationBytesMax / unit) {
    return luaL_error(L, "string.rep: the result would have more than %I bytes",
                      static_cast<LUAI_UACINT>(kAllocationBytesMax));
  }
  if (unit == 0) {
    lua_pushliteral(L, "");
    return 1;
  }
  Charge(L, count);
  luaL_Buffer out;
  luaL_buffinit(L, &out);
  for (lua_Integer i = 0; i < count; ++i) {
    luaL_addlstring(&out, text, size);
    if (i + 1 < count) luaL_addlstring(&out, separator, separator_size);
  }
  luaL_pushresult(&out);
  return 1;
}

int MapLetters(lua_State* L, char low, char high) {
  size_t size = 0;
  const char* text = luaL_checklstring(L, 1, &size);
  Charge(L, static_cast<int64_t>(size / 8));
  luaL_Buffer out;
  char* to = luaL_buffinitsize(L, &out, size);
  for (size_t i = 0; i < size; ++i) {
    const char c = text[i];
    to[i] = c >= low && c <= high ? static_cast<char>(c ^ 0x20) : c;
  }
  luaL_pushresultsize(&out, size);
  return 1;
}

int Lower(lua_State* L) { return MapLetters(L, 'A', 'Z'); }
int Upper(lua_State* L) { return MapLetters(L, 'a', 'z'); }

// Turns the arguments of %s into text and leaves the rest to Lua's own format; upvalue: that.
int Format(lua_State* L) {
  size_t size = 0;
  const char* format = luaL_checklstring(L, 1, &size);
  Charge(L, static_cast<int64_t>(size));
  int argument = 1;
  for (size_t i = 0; i < size; ++i) {
    if (format[i] != '%') continue;
    if (++i < size && format[i] == '%') continue;
    while (i < size && strchr("-+ #0123456789.", format[i]) != nullptr && format[i] != '\0') ++i;
    ++argument;
    const char conversion = i < size ? format[i] : '\0';
    if (conversion == 'p') {
      return luaL_error(L, "string.format: '%%p' is not available, addresses differ between runs");
    }
    if (conversion == 's' && argument <= lua_gettop(L)) {
      PushText(L, argument);
      lua_replace(L, argument);
    }
  }
  return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

}  // namespace

void OpenString(lua_State* L) {
  lua_pushcfunction(L, luaopen_string);
  lua_call(L, 0, 1);
  lua_newtable(L);
  constexpr const char* kStock[] = {"byte", "char", "len", "reverse", "sub", nullptr};
  CopyStock(L, -2, kStock);
  constexpr LibraryFunction kOwn[] = {{"find", Find},   {"gmatch", Gmatch}, {"gsub", Gsub},
                                      {"lower", Lower}, {"match", Match},   {"rep", Repeat},
                                      {"upper", Upper}, {nullptr, nullptr}};
  SetFunctions(L, kOwn);
  lua_getfield(L, -2, "format");
  lua_pushcclosure(L, Format, 1);
  lua_setfield(L, -2, "format");
  lua_replace(L, -2);
  // ("x"):upper() goes through the metatable that luaopen_string gave to strings.
  lua_pushliteral(L, "");
  lua_getmetatable(L, -1);
  lua_pushvalue(L, -3);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 2);
}

}  // namespace baleen
