// Globals of a script, and the shared pieces: frozen tables, ordered keys, text without addresses.
//
// Metatables are snapshots: setmetatable copies the metamethods it knows into a private table. So a
// script cannot add __gc or __mode later, nor chain thousands of __index tables that one
// instruction would walk.
#include <algorithm>
#include <charconv>
#include <cstring>
#include <lua5.4/lua.hpp>

#include "agent/lua_libraries.h"
#include "agent/sandbox_state.h"

namespace baleen {
namespace {

const char kFrozen = 0;    // Addresses are keys scripts cannot forge.
const char kOriginal = 0;  // In a snapshot: the script's metatable.
constexpr int kIndexChainMax = 100;
// A caught error unwinds up to 200 nested calls; measured at 5 to 50 microseconds.
constexpr int64_t kCaughtErrorCost = 1000;

int ChargedStock(lua_State* L) {
  int64_t bytes = 0;
  for (int i = lua_gettop(L); i > 0; --i) {
    if (lua_type(L, i) == LUA_TSTRING) bytes += static_cast<int64_t>(lua_rawlen(L, i));
  }
  Charge(L, bytes / 8);
  return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

int WriteFrozen(lua_State* L) { return luaL_error(L, "this table is read-only"); }

// --- Keys in order ------------------------------------------------------------------------------

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

// --- Metatables ---------------------------------------------------------------------------------

int IndexDone(lua_State*, int, lua_KContext) { return 1; }

// __index of a table, step by step with a price; upvalue: the table to look in.
int IndexChain(lua_State* L) {
  lua_settop(L, 2);
  lua_pushvalue(L, lua_upvalueindex(1));  // 3: the table looked into
  for (int links = 0; links < kIndexChainMax; ++links) {
    Charge(L, 1);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, 3) != LUA_TNIL) return 1;
    if (lua_getmetatable(L, 3) == 0) return 1;
    lua_pushliteral(L, "__index");
    lua_rawget(L, -2);
    if (lua_isnil(L, -1)) return 1;
    if (lua_tocfunction(L, -1) == IndexChain) {
      lua_getupvalue(L, -1, 1);
    } else if (lua_type(L, -1) == LUA_TFUNCTION) {
      lua_pushvalue(L, 3);
      lua_pushvalue(L, 2);
      lua_callk(L, 2, 1, 0, IndexDone);
      return 1;
    }
    lua_replace(L, 3);
    lua_settop(L, 3);
  }
  return luaL_error(L, "'__index' goes through more than %d tables", kIndexChainMax);
}

constexpr const char* kMetamethods[] = {
    "__add",  "__sub", "__mul",  "__div",  "__mod",      "__pow",     "__unm",    "__idiv",
    "__band", "__bor", "__bxor", "__bnot", "__shl",      "__shr",     "__concat", "__len",
    "__eq",   "__lt",  "__le",   "__call", "__tostring", "__newindex"};
constexpr const char* kRefused[] = {"__gc", "__mode", "__close", "__pairs"};

void CopyMetamethods(lua_State* L, int from, int to) {
  for (const char* name : kRefused) {
    lua_pushstring(L, name);
    if (lua_rawget(L, from) != LUA_TNIL) {
      luaL_error(L, "'%s' is not available in a script's metatable", name);
    }
    lua_pop(L, 1);
  }
  for (const char* name : kMetamethods) {
    lua_pushstring(L, name);
    lua_pushvalue(L, -1);
    const int type = lua_rawget(L, from);
    if (type != LUA_TNIL && type != LUA_TFUNCTION) {
      luaL_error(L, "'%s' must be a function, got %s", name, lua_typename(L, type));
    }
    lua_rawset(L, to);
  }
  for (const char* name : {"__name", "__metatable"}) {
    lua_pushstring(L, name);
    lua_pushvalue(L, -1);
    lua_rawget(L, from);
    lua_rawset(L, to);
  }
  lua_pushliteral(L, "__index");
  lua_pushvalue(L, -1);
  const int type = lua_rawget(L, from);
  if (type == LUA_TTABLE) {
    lua_pushcclosure(L, IndexChain, 1);
  } else if (type != LUA_TNIL && type != LUA_TFUNCTION) {
    luaL_error(L, "'__index' must be a table or a function, got %s", lua_typename(L, type));
  }
  lua_rawset(L, to);
}

int SetMetatable(lua_State* L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_argexpected(L, lua_isnil(L, 2) || lua_istable(L, 2), 2, "nil or table");
  lua_settop(L, 2);
  if (lua_getmetatable(L, 1) != 0) {
    lua_pushliteral(L, "__metatable");
    if (lua_rawget(L, -2) != LUA_TNIL) return luaL_error(L, "cannot change a protected metatable");
    lua_settop(L, 2);
  }
  if (lua_isnil(L, 2)) {
    lua_setmetatable(L, 1);
    return 1;
  }
  luaL_getsubtable(L, LUA_REGISTRYINDEX, "baleen.snapshots");  // 3
  lua_pushvalue(L, 2);
  if (lua_rawget(L, 3) == LUA_TNIL) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, 2);
    lua_rawsetp(L, -2, &kOriginal);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, -2);
    lua_rawset(L, 3);
  }
  CopyMetamethods(L, 2, 4);
  lua_setmetatable(L, 1);  // The snapshot, at 4.
  lua_settop(L, 1);
  return 1;
}

int GetMetatable(lua_State* L) {
  luaL_checkany(L, 1);
  if (!lua_istable(L, 1) || lua_getmetatable(L, 1) == 0) {
    lua_pushnil(L);
    return 1;
  }
  lua_pushliteral(L, "__metatable");
  if (lua_rawget(L, -2) != LUA_TNIL) return 1;
  lua_rawgetp(L, -2, &kOriginal);
  return 1;
}

int RawSet(lua_State* L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checkany(L, 2);
  luaL_checkany(L, 3);
  lua_settop(L, 3);
  if (IsFrozen(L, 1)) return WriteFrozen(L);
  lua_rawset(L, 1);
  return 1;
}

// --- Protected calls ----------------------------------------------------------------------------

// Lua's own limit on nested C calls starts anew after each caught error, and unwinding takes time
// that grows with the square of the depth. So nesting is counted here.
constexpr int kProtectedDepthMax = 150;

void EnterProtected(lua_State* L) {
  if (StateOf(L).protected_depth >= kProtectedDepthMax) {
    luaL_error(L, "pcall is nested deeper than %d", kProtectedDepthMax);
  }
  ++StateOf(L).protected_depth;
}

// After the call, directly or resumed from a yield within; `below` values lie under the results.
int FinishProtected(lua_State* L, int status, lua_KContext below) {
  --StateOf(L).protected_depth;
  if (status == LUA_OK || status == LUA_YIELD) return lua_gettop(L) - static_cast<int>(below);
  Charge(L, kCaughtErrorCost);
  lua_pushboolean(L, 0);
  lua_insert(L, -2);
  return 2;
}

int ProtectedCall(lua_State* L) {  // (function, ...)
  luaL_checkany(L, 1);
  EnterProtected(L);
  lua_pushboolean(L, 1);
  lua_insert(L, 1);
  const int status = lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, FinishProtected);
  return FinishProtected(L, status, 0);
}

int ReportDone(lua_State* L, int, lua_KContext) {
  lua_pushboolean(L, 0);
  lua_insert(L, 3);
  return lua_gettop(L) - 2;
}

// below = 2: (function, report, then true and the results, or the error).
int FinishReported(lua_State* L, int status, lua_KContext below) {
  const int results = FinishProtected(L, status, below);
  if (status == LUA_OK || status == LUA_YIELD) return results;
  lua_remove(L, -2);  // false
  lua_replace(L, 3);
  lua_settop(L, 3);
  lua_pushvalue(L, 2);
  lua_insert(L, 3);
  lua_callk(L, 1, LUA_MULTRET, 0, ReportDone);
  return ReportDone(L, LUA_OK, 0);
}

// xpcall's report runs after the unwinding and not as Lua's message handler: Lua runs a handler
// with hooks off when the hook raised, so an endless one would never end.
int ProtectedCallWithReport(lua_State* L) {  // (function, report, ...)
  luaL_checktype(L, 2, LUA_TFUNCTION);
  const int arguments = lua_gettop(L) - 2;
  EnterProtected(L);
  lua_pushboolean(L, 1);
  lua_pushvalue(L, 1);
  lua_rotate(L, 3, 2);  // function, report, true, function, ...
  const int status = lua_pcallk(L, arguments, LUA_MULTRET, 0, 2, FinishReported);
  return FinishReported(L, status, 2);
}

int ToString(lua_State* L) {
  luaL_checkany(L, 1);
  PushText(L, 1);
  return 1;
}

}  // namespace

void SetFunctions(lua_State* L, const LibraryFunction* functions) {
  for (; functions->name != nullptr; ++functions) {
    lua_pushcfunction(L, functions->function);
    lua_setfield(L, -2, functions->name);
  }
}

void CopyStock(lua_State* L, int from, const char* const* names) {
  from = lua_absindex(L, from);
  for (; *names != nullptr; ++names) {
    lua_getfield(L, from, *names);
    if (lua_type(L, -1) == LUA_TFUNCTION) lua_pushcclosure(L, ChargedStock, 1);
    lua_setfield(L, -2, *names);
  }
}

void Freeze(lua_State* L) {
  lua_newtable(L);
  lua_createtable(L, 0, 4);
  lua_rotate(L, -3, -1);  // view, metatable, library
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, WriteFrozen);
  lua_setfield(L, -2, "__newindex");
  lua_pushliteral(L, "read-only");
  lua_setfield(L, -2, "__metatable");
  lua_pushboolean(L, 1);
  lua_rawsetp(L, -2, &kFrozen);
  lua_setmetatable(L, -2);
}

bool IsFrozen(lua_State* L, int index) {
  if (lua_getmetatable(L, index) == 0) return false;
  const bool frozen = lua_rawgetp(L, -1, &kFrozen) != LUA_TNIL;
  lua_pop(L, 2);
  return frozen;
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

void PushText(lua_State* L, int index) {
  index = lua_absindex(L, index);
  luaL_checkstack(L, 4, "text of a value");
  switch (lua_type(L, index)) {
    case LUA_TNIL: lua_pushliteral(L, "nil"); return;
    case LUA_TBOOLEAN: lua_pushstring(L, lua_toboolean(L, index) ? "true" : "false"); return;
    case LUA_TSTRING: lua_pushvalue(L, index); return;
    case LUA_TLIGHTUSERDATA: lua_pushliteral(L, "null"); return;  // Only baleen.json.null.
    case LUA_TNUMBER: {
      if (lua_isinteger(L, index)) {
        lua_pushfstring(L, "%I", static_cast<LUAI_UACINT>(lua_tointeger(L, index)));
        return;
      }
      char text[64];  // Lua's own "%.14g", whatever the host's locale says.
      const std::to_chars_result end = std::to_chars(
          text, text + sizeof(text), lua_tonumber(L, index), std::chars_format::general, 14);
      lua_pushlstring(L, text, static_cast<size_t>(end.ptr - text));
      if (std::all_of(text, end.ptr, [](char c) { return c == '-' || (c >= '0' && c <= '9'); })) {
        lua_pushliteral(L, ".0");
        lua_concat(L, 2);
      }
      return;
    }
    default: break;
  }
  if (lua_type(L, index) == LUA_TTABLE && luaL_getmetafield(L, index, "__tostring") != LUA_TNIL) {
    lua_pushvalue(L, index);
    lua_call(L, 1, 1);
    if (lua_type(L, -1) != LUA_TSTRING) luaL_error(L, "'__tostring' must return a string");
    return;
  }
  lua_pushstring(L, luaL_typename(L, index));
}

void OpenBase(lua_State* L) {
  lua_pushcfunction(L, luaopen_base);
  lua_call(L, 0, 1);
  lua_newtable(L);
  constexpr const char* kPlain[] = {"assert", "error",  "ipairs", "rawequal", "rawget",
                                    "rawlen", "select", "type",   "_VERSION"};
  for (const char* name : kPlain) {
    lua_getfield(L, -2, name);
    lua_setfield(L, -2, name);
  }
  constexpr const char* kCharged[] = {"tonumber", nullptr};
  CopyStock(L, -2, kCharged);
  constexpr LibraryFunction kOwn[] = {{"getmetatable", GetMetatable},
                                      {"next", Next},
                                      {"pairs", Pairs},
                                      {"pcall", ProtectedCall},
                                      {"xpcall", ProtectedCallWithReport},
                                      {"rawset", RawSet},
                                      {"setmetatable", SetMetatable},
                                      {"tostring", ToString},
                                      {nullptr, nullptr}};
  SetFunctions(L, kOwn);
  lua_replace(L, -2);
}

}  // namespace baleen
