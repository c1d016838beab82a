// math without clocks or shared state: random numbers come from the session's seed.
#include <lua5.4/lua.hpp>

#include "agent/lua_libraries.h"
#include "agent/lua_sandbox_state.h"

namespace baleen {
namespace {

uint64_t RotateLeft(uint64_t value, int bits) { return (value << bits) | (value >> (64 - bits)); }

}  // namespace

void SeedRandom(SandboxState& state, uint64_t seed) {
  for (uint64_t& word : state.random) {
    seed += 0x9e3779b97f4a7c15u;
    uint64_t mixed = seed;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    word = mixed ^ (mixed >> 31);
  }
}

uint64_t NextRandom(SandboxState& state) {
  uint64_t* s = state.random;
  const uint64_t result = RotateLeft(s[1] * 5, 7) * 9;
  const uint64_t shifted = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= shifted;
  s[3] = RotateLeft(s[3], 45);
  return result;
}

int Random(lua_State* L) {
  SandboxState& state = StateOf(L);
  const int arguments = lua_gettop(L);
  if (arguments == 0) {
    // 53 bits, the precision of a double, give [0, 1).
    lua_pushnumber(L, static_cast<double>(NextRandom(state) >> 11) * 0x1p-53);
    return 1;
  }
  const lua_Integer low = arguments == 1 ? 1 : luaL_checkinteger(L, 1);
  const lua_Integer high = luaL_checkinteger(L, arguments == 1 ? 1 : 2);
  luaL_argcheck(L, low <= high, arguments == 1 ? 1 : 2, "interval is empty");
  const uint64_t span = static_cast<uint64_t>(high) - static_cast<uint64_t>(low);
  uint64_t drawn = NextRandom(state);
  if (span != UINT64_MAX) {
    const uint64_t count = span + 1;
    // Values past the last whole multiple of `count` would favour small results.
    const uint64_t limit = UINT64_MAX - UINT64_MAX % count;
    while (drawn >= limit) drawn = NextRandom(state);
    drawn %= count;
  }
  lua_pushinteger(L, static_cast<lua_Integer>(static_cast<uint64_t>(low) + drawn));
  return 1;
}

void OpenMath(lua_State* L) {
  lua_pushcfunction(L, luaopen_math);
  lua_call(L, 0, 1);
  lua_newtable(L);
  constexpr const char* kNames[] = {
      "abs",  "acos", "asin", "atan", "ceil",       "cos",  "deg",        "exp",  "floor",
      "fmod", "huge", "log",  "max",  "maxinteger", "min",  "mininteger", "modf", "pi",
      "rad",  "sin",  "sqrt", "tan",  "tointeger",  "type", "ult",        nullptr};
  CopyStock(L, -2, kNames);
  lua_pushcfunction(L, Random);
  lua_setfield(L, -2, "random");
  lua_replace(L, -2);
}

void OpenUtf8(lua_State* L) {
  lua_pushcfunction(L, luaopen_utf8);
  lua_call(L, 0, 1);
  lua_newtable(L);
  constexpr const char* kNames[] = {"char", "charpattern", "codepoint", "codes",
                                    "len",  "offset",      nullptr};
  CopyStock(L, -2, kNames);
  lua_replace(L, -2);
}

}  // namespace baleen
