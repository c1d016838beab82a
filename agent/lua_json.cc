// JSON for scripts: one text per value, in Lua-owned memory only; reading is in lua_json_read.cc.
//
// Written by hand because a C++ JSON object must not be alive when Lua raises. Limits: nesting of
// kJsonDepthMax; sizes by the sandbox's memory limit.
#include <charconv>
#include <cmath>
#include <lua5.4/lua.hpp>

#include "agent/lua_json_bytes.h"
#include "agent/lua_libraries.h"
#include "agent/lua_sandbox_state.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

const char kArrayMetatable = 0;

void AppendString(lua_State* L, Bytes* out, const char* text, size_t size) {
  Charge(L, static_cast<int64_t>(size / 8));
  const size_t valid = Utf8ValidPrefix(std::string_view(text, size));
  if (valid != size) {
    luaL_error(L, "not UTF-8 at byte %d of a string of %d bytes", static_cast<int>(valid),
               static_cast<int>(size));
  }
  Append(L, out, "\"", 1);
  size_t plain = 0;  // Start of the run that needs no escape.
  for (size_t i = 0; i < size; ++i) {
    const unsigned char c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    Append(L, out, text + plain, i - plain);
    plain = i + 1;
    constexpr char kHex[] = "0123456789abcdef";
    const char escaped[] = {'\\', 'u', '0', '0', kHex[c >> 4], kHex[c & 15]};
    switch (c) {
      case '"': Append(L, out, "\\\"", 2); break;
      case '\\': Append(L, out, "\\\\", 2); break;
      case '\n': Append(L, out, "\\n", 2); break;
      case '\r': Append(L, out, "\\r", 2); break;
      case '\t': Append(L, out, "\\t", 2); break;
      default: Append(L, out, escaped, sizeof(escaped)); break;
    }
  }
  Append(L, out, text + plain, size - plain);
  Append(L, out, "\"", 1);
}

void AppendNumber(lua_State* L, Bytes* out, int index) {
  char text[64];
  std::to_chars_result end{};
  if (lua_isinteger(L, index)) {
    end = std::to_chars(text, text + sizeof(text), lua_tointeger(L, index));
  } else {
    const double number = lua_tonumber(L, index);
    if (!std::isfinite(number)) luaL_error(L, "JSON has no infinity and no NaN");
    end = std::to_chars(text, text + sizeof(text) - 2, number);
    // Keep it a float for whoever reads it back.
    if (std::string_view(text, static_cast<size_t>(end.ptr - text)).find_first_of(".e") ==
        std::string_view::npos) {
      *end.ptr++ = '.';
      *end.ptr++ = '0';
    }
  }
  Append(L, out, text, static_cast<size_t>(end.ptr - text));
}

bool IsArrayMarked(lua_State* L, int index) {
  if (lua_getmetatable(L, index) == 0) return false;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &kArrayMetatable);
  const bool marked = lua_rawequal(L, -1, -2) != 0;
  lua_pop(L, 2);
  return marked;
}

void AppendValue(lua_State* L, Bytes* out, int index, int depth);

// The sorted keys are on top.
void AppendArray(lua_State* L, Bytes* out, int index, int64_t count, int depth) {
  Append(L, out, "[", 1);
  for (int64_t i = 1; i <= count; ++i) {
    if (i > 1) Append(L, out, ",", 1);
    lua_rawgeti(L, index, i);
    AppendValue(L, out, lua_gettop(L), depth + 1);
    lua_pop(L, 1);
  }
  Append(L, out, "]", 1);
}

void AppendObject(lua_State* L, Bytes* out, int index, int64_t count, int depth) {
  const int keys = lua_gettop(L);
  Append(L, out, "{", 1);
  for (int64_t i = 1; i <= count; ++i) {
    if (i > 1) Append(L, out, ",", 1);
    lua_rawgeti(L, keys, i);
    lua_Integer number = 0;
    if (lua_isinteger(L, -1)) {
      char text[24];
      const std::to_chars_result end =
          std::to_chars(text, text + sizeof(text), lua_tointeger(L, -1));
      AppendString(L, out, text, static_cast<size_t>(end.ptr - text));
    } else {
      size_t size = 0;
      const char* text = lua_tolstring(L, -1, &size);
      const std::from_chars_result end = std::from_chars(text, text + size, number);
      if (end.ec == std::errc() && end.ptr == text + size) {
        if (lua_rawgeti(L, index, number) != LUA_TNIL) {
          luaL_error(L, "a table with both %s and \"%s\" as keys has no JSON form", text, text);
        }
        lua_pop(L, 1);
      }
      AppendString(L, out, text, size);
    }
    Append(L, out, ":", 1);
    lua_rawget(L, index);
    AppendValue(L, out, lua_gettop(L), depth + 1);
    lua_pop(L, 1);
  }
  Append(L, out, "}", 1);
}

void AppendTable(lua_State* L, Bytes* out, int index, int depth) {
  if (depth > kJsonDepthMax) {
    luaL_error(L, "JSON: nested deeper than %d tables (a cycle?)", kJsonDepthMax);
  }
  luaL_checkstack(L, 12, "JSON");
  const int64_t count = PushSortedKeys(L, index);
  // Sorted and integral: 1..count if and only if the last one is `count` and the first one is 1.
  bool sequence = count > 0;
  if (sequence) {
    lua_rawgeti(L, -1, 1);
    lua_rawgeti(L, -2, count);
    sequence = lua_isinteger(L, -1) && lua_tointeger(L, -1) == count && lua_tointeger(L, -2) == 1;
    lua_pop(L, 2);
  }
  if (sequence || (count == 0 && IsArrayMarked(L, index))) {
    AppendArray(L, out, index, count, depth);
  } else {
    AppendObject(L, out, index, count, depth);
  }
  lua_pop(L, 1);
}

void AppendValue(lua_State* L, Bytes* out, int index, int depth) {
  Charge(L, 1);
  size_t size = 0;
  switch (lua_type(L, index)) {
    case LUA_TNIL:
    case LUA_TLIGHTUSERDATA: Append(L, out, "null", 4); return;
    case LUA_TBOOLEAN:
      if (lua_toboolean(L, index))
        Append(L, out, "true", 4);
      else
        Append(L, out, "false", 5);
      return;
    case LUA_TNUMBER: AppendNumber(L, out, index); return;
    case LUA_TSTRING: {
      const char* text = lua_tolstring(L, index, &size);
      AppendString(L, out, text, size);
      return;
    }
    case LUA_TTABLE: AppendTable(L, out, index, depth); return;
    default: luaL_error(L, "a %s has no JSON form", luaL_typename(L, index));
  }
}

int Encode(lua_State* L) {
  luaL_checkany(L, 1);
  PushJson(L, 1);
  return 1;
}

int Decode(lua_State* L) {
  size_t size = 0, offset = 0;
  const char* text = luaL_checklstring(L, 1, &size);
  const char* message = nullptr;
  if (PushJsonValue(L, text, size, &message, &offset)) return 1;
  lua_pushnil(L);
  lua_pushfstring(L, "JSON, byte %d: %s", static_cast<int>(offset), message);
  return 2;
}

int Array(lua_State* L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  if (IsFrozen(L, 1)) return luaL_error(L, "this table is read-only");
  lua_settop(L, 1);
  MarkJsonArray(L);
  return 1;
}

}  // namespace

void MarkJsonArray(lua_State* L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &kArrayMetatable);
  lua_setmetatable(L, -2);
}

void PushJson(lua_State* L, int index) {
  index = lua_absindex(L, index);
  luaL_checkstack(L, 8, "JSON");
  Bytes out = NewBytes(L, 256);
  AppendValue(L, &out, index, 0);
  lua_pushlstring(L, out.text, out.size);
  lua_replace(L, out.slot);
}

void OpenJson(lua_State* L) {
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "JSON array");
  lua_setfield(L, -2, "__metatable");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &kArrayMetatable);
  constexpr LibraryFunction kFunctions[] = {
      {"array", Array}, {"decode", Decode}, {"encode", Encode}, {nullptr, nullptr}};
  lua_newtable(L);
  SetFunctions(L, kFunctions);
  lua_pushlightuserdata(L, nullptr);
  lua_setfield(L, -2, "null");
}

}  // namespace baleen
