// What the JSON writer and the JSON reader share: a growing buffer that Lua owns, and a limit.
//
// A C++ string must not be alive when Lua raises. Called by lua_json.cc and lua_json_read.cc.
#pragma once

#include <cstddef>
#include <cstring>
#include <lua5.4/lua.hpp>

namespace baleen {

inline constexpr int kJsonDepthMax = 64;

// Bytes in a Lua userdatum that sits at stack slot `slot`.
struct Bytes {
  char* text;
  size_t size;
  size_t capacity;
  int slot;
};

inline Bytes NewBytes(lua_State* L, size_t capacity) {
  Bytes bytes{};
  bytes.text = static_cast<char*>(lua_newuserdatauv(L, capacity, 0));
  bytes.capacity = capacity;
  bytes.slot = lua_gettop(L);
  return bytes;
}

inline void Append(lua_State* L, Bytes* out, const char* text, size_t size) {
  if (size > out->capacity - out->size) {
    const size_t capacity = out->capacity * 2 + size;
    char* grown = static_cast<char*>(lua_newuserdatauv(L, capacity, 0));
    std::memcpy(grown, out->text, out->size);
    lua_replace(L, out->slot);
    out->text = grown;
    out->capacity = capacity;
  }
  std::memcpy(out->text + out->size, text, size);
  out->size += size;
}

}  // namespace baleen
