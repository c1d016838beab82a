// A part of a script with a limit of its own: a hook that says how long it may take.
//
// Like the step's limit it sticks: what is used stays used, and a caught error costs budget, so
// that each pcall within the part raises it again. Unlike that one it ends with the part.
#include <algorithm>
#include <lua5.4/lua.hpp>

#include "agent/lua_baleen.h"
#include "agent/lua_libraries.h"
#include "agent/lua_sandbox_state.h"

namespace baleen {
namespace {

// On the stack of Limited, below what the part is called with: the limit around it.
constexpr int kOuterLimited = 1, kOuterLeft = 2, kOuterMax = 3, kOwnLeft = 4, kBelow = 4;

void EndLimit(lua_State* L) {
  SandboxState& state = StateOf(L);
  const int64_t used = lua_tointeger(L, kOwnLeft) - LimitLeft(state);
  state.limited = lua_toboolean(L, kOuterLimited) != 0;
  state.limit_max = lua_tointeger(L, kOuterMax);
  state.limit_left = lua_tointeger(L, kOuterLeft) - used;
  state.limit_mark = state.instructions_left;
}

int LimitedDone(lua_State* L, int status, lua_KContext) {
  --StateOf(L).protected_depth;
  EndLimit(L);
  const bool ok = status == LUA_OK || status == LUA_YIELD;
  lua_pushboolean(L, ok);
  lua_replace(L, kBelow);
  return lua_gettop(L) - kBelow + 1;
}

}  // namespace

int RaiseOverLimit(lua_State* L) {
  const int64_t max = StateOf(L).limit_max;
  PushPlace(L);
  lua_pushfstring(L, "it took longer than its 'wall' of %I ms (%I instructions)",
                  static_cast<LUAI_UACINT>(max / kInstructionsPerMs),
                  static_cast<LUAI_UACINT>(max));
  lua_concat(L, 2);
  return lua_error(L);
}

int Limited(lua_State* L) {  // (milliseconds, function, ...): as pcall
  const int64_t most = luaL_checkinteger(L, 1) * kInstructionsPerMs;
  SandboxState& state = StateOf(L);
  if (state.protected_depth >= kProtectedDepthMax) {
    return luaL_error(L, "pcall is nested deeper than %d", kProtectedDepthMax);
  }
  luaL_checkstack(L, kBelow, "a limit");
  const int64_t outer = state.limited ? LimitLeft(state) : 0;
  const int64_t own = state.limited ? std::min(most, outer) : most;
  lua_remove(L, 1);
  lua_pushboolean(L, state.limited);
  lua_pushinteger(L, outer);
  lua_pushinteger(L, state.limit_max);
  lua_pushinteger(L, own);
  lua_rotate(L, 1, kBelow);
  ++state.protected_depth;
  state.limited = true;
  state.limit_max = most;
  state.limit_left = own;
  state.limit_mark = state.instructions_left;
  const int status = lua_pcallk(L, lua_gettop(L) - kBelow - 1, LUA_MULTRET, 0, 0, LimitedDone);
  return LimitedDone(L, status, 0);
}

}  // namespace baleen
