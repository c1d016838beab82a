// Metatables of scripts, and read-only tables.
//
// Metatables are snapshots: setmetatable copies the metamethods it knows into a private table. So a
// script cannot add __gc or __mode later, nor chain thousands of __index tables that one
// instruction would walk.
#include <lua5.4/lua.hpp>

#include "agent/lua_libraries.h"
#include "agent/lua_sandbox_state.h"

namespace baleen {
namespace {

const char kFrozen = 0;    // Addresses are keys scripts cannot forge.
const char kOriginal = 0;  // In a snapshot: the script's metatable.
constexpr int kIndexChainMax = 100;

int WriteFrozen(lua_State* L) { return luaL_error(L, "this table is read-only"); }

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

}  // namespace

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

int SetClose(lua_State* L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 2);
  if (lua_getmetatable(L, 1) == 0) return luaL_error(L, "it has no metatable");
  lua_insert(L, 2);
  lua_setfield(L, 2, "__close");
  return 0;
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

}  // namespace baleen
