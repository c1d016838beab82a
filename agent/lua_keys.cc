// Tables in order: integers ascending, then strings bytewise, so that every run goes the same way.
#include <algorithm>
#include <cstring>
#include <lua5.4/lua.hpp>

#include "agent/lua_libraries.h"
#include "agent/lua_sandbox_state.h"

namespace baleen {
namespace {

struct Key {
  bool is_text;
  lua_Integer number;
  const char* text;  // Borrows from the table, which holds the key.
  size_t size;
  lua_Integer position;  // In the unsorted array.
};

bool KeyBefore(const Key& a, const Key& b) {
  if (a.is_text != b.is_text) return b.is_text;
  if (!a.is_text) return a.number < b.number;
  const int order = std::memcmp(a.text, b.text, std::min(a.size, b.size));
  return order != 0 ? order < 0 : a.size < b.size;
}

Key KeyAt(lua_State* L, int index) {
  Key key{};
  if (lua_type(L, index) == LUA_TSTRING) {
    key.is_text = true;
    key.text = lua_tolstring(L, index, &key.size);
  } else if (lua_isinteger(L, index)) {
    key.number = lua_tointeger(L, index);
  } else {
    luaL_error(L,
               "cannot go through a table with a %s key in a defined order; use integers or "
               "strings as keys",
               luaL_typename(L, index));
  }
  return key;
}

int PairsStep(lua_State* L) {  // upvalues: keys, position
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_Integer position = lua_tointeger(L, lua_upvalueindex(2));
  for (;;) {
    ++position;
    if (lua_rawgeti(L, lua_upvalueindex(1), position) == LUA_TNIL) return 1;
    lua_pushvalue(L, -1);
    if (lua_rawget(L, 1) != LUA_TNIL) break;  // Not removed meanwhile.
    lua_pop(L, 2);
  }
  lua_pushinteger(L, position);
  lua_replace(L, lua_upvalueindex(2));
  return 2;
}

}  // namespace

int Pairs(lua_State* L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  PushSortedKeys(L, 1);
  lua_pushinteger(L, 0);
  lua_pushcclosure(L, PairsStep, 2);
  lua_insert(L, 1);
  lua_pushnil(L);
  return 3;
}

int Next(lua_State* L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 2);
  const bool first = lua_isnil(L, 2);
  const Key after = first ? Key{} : KeyAt(L, 2);
  bool found = false;
  Key best{};
  lua_pushnil(L);  // 3: the best key so far
  lua_pushnil(L);
  while (lua_next(L, 1) != 0) {
    lua_pop(L, 1);
    Charge(L, 1);
    const Key key = KeyAt(L, -1);
    if ((!first && !KeyBefore(after, key)) || (found && !KeyBefore(key, best))) continue;
    found = true;
    best = key;
    lua_pushvalue(L, -1);
    lua_replace(L, 3);
  }
  lua_settop(L, 3);
  if (!found) return 1;
  lua_pushvalue(L, 3);
  lua_rawget(L, 1);
  return 2;
}

int64_t PushSortedKeys(lua_State* L, int index) {
  index = lua_absindex(L, index);
  luaL_checkstack(L, 8, "keys of a table");
  lua_newtable(L);
  const int unsorted = lua_gettop(L);
  lua_Integer count = 0;
  lua_pushnil(L);
  while (lua_next(L, index) != 0) {
    lua_pop(L, 1);
    KeyAt(L, -1);  // Raises for other types.
    lua_pushvalue(L, -1);
    lua_rawseti(L, unsorted, ++count);
  }
  int64_t levels = 1;
  while ((int64_t{1} << levels) < count) ++levels;
  Charge(L, count * levels);
  // Lua owns the scratch, so that nothing leaks when a later call raises.
  Key* keys =
      static_cast<Key*>(lua_newuserdatauv(L, static_cast<size_t>(count) * sizeof(Key) + 1, 0));
  for (lua_Integer i = 0; i < count; ++i) {
    lua_rawgeti(L, unsorted, i + 1);
    keys[i] = KeyAt(L, -1);
    keys[i].position = i + 1;
    lua_pop(L, 1);
  }
  std::sort(keys, keys + count, KeyBefore);
  lua_createtable(L, static_cast<int>(count), 0);
  for (lua_Integer i = 0; i < count; ++i) {
    lua_rawgeti(L, unsorted, keys[i].position);
    lua_rawseti(L, -2, i + 1);
  }
  lua_replace(L, unsorted);
  lua_settop(L, unsorted);
  return count;
}

}  // namespace baleen
