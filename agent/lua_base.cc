// Globals of a script: protected calls, text without addresses, and the table of them all.
#include <algorithm>
#include <charconv>
#include <lua5.4/lua.hpp>

#include "agent/lua_libraries.h"
#include "agent/lua_sandbox_state.h"

namespace baleen {
namespace {

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

// Lua's own limit on nested C calls starts anew after each caught error, and unwinding takes time
// that grows with the square of the depth. So nesting is counted, up to kProtectedDepthMax.
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
