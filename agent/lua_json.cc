// JSON for scripts: one text per value, in Lua-owned memory only.
//
// Written by hand because a C++ JSON object must not be alive when Lua raises. Limits: nesting of
// kDepthMax; sizes by the sandbox's memory limit.
#include <charconv>
#include <cmath>
#include <cstring>
#include <lua5.4/lua.hpp>

#include "agent/lua_libraries.h"
#include "agent/sandbox_state.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

constexpr int kDepthMax = 64;
const char kArrayMetatable = 0;

// Bytes in a Lua userdatum that sits at stack slot `slot`.
struct Bytes {
  char* text;
  size_t size;
  size_t capacity;
  int slot;
};

Bytes NewBytes(lua_State* L, size_t capacity) {
  Bytes bytes{};
  bytes.text = static_cast<char*>(lua_newuserdatauv(L, capacity, 0));
  bytes.capacity = capacity;
  bytes.slot = lua_gettop(L);
  return bytes;
}

void Append(lua_State* L, Bytes* out, const char* text, size_t size) {
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

// --- Encoding -----------------------------------------------------------------------------------

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
  if (depth > kDepthMax) {
    luaL_error(L, "JSON: nested deeper than %d tables (a cycle?)", kDepthMax);
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

// --- Decoding -----------------------------------------------------------------------------------

struct Reader {
  lua_State* L;
  const char* at;
  const char* end;
  const char* message;  // Null while all is well.
};

bool Fail(Reader* r, const char* message) {
  r->message = message;
  return false;
}

void SkipSpace(Reader* r) {
  while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t')) {
    ++r->at;
  }
}

bool Take(Reader* r, char wanted) {
  if (r->at == r->end || *r->at != wanted) return false;
  ++r->at;
  return true;
}

bool ReadHex(Reader* r, unsigned* code) {
  if (r->end - r->at < 4) return Fail(r, "a \\u escape needs four hex digits");
  const std::from_chars_result end = std::from_chars(r->at, r->at + 4, *code, 16);
  if (end.ptr != r->at + 4) return Fail(r, "a \\u escape needs four hex digits");
  r->at += 4;
  return true;
}

bool ReadUnicode(Reader* r, Bytes* out) {
  unsigned code = 0;
  if (!ReadHex(r, &code)) return false;
  if (code >= 0xD800 && code < 0xE000) {
    unsigned low = 0;
    if (code >= 0xDC00 || !Take(r, '\\') || !Take(r, 'u'))
      return Fail(r, "half of a surrogate pair");
    if (!ReadHex(r, &low)) return false;
    if (low < 0xDC00 || low >= 0xE000) return Fail(r, "half of a surrogate pair");
    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
  }
  char text[4];
  Append(r->L, out, text, EncodeUtf8(code, text));
  return true;
}

bool ReadEscape(Reader* r, Bytes* out) {
  if (r->at == r->end) return Fail(r, "the string does not end");
  const char c = *r->at++;
  if (c == 'u') return ReadUnicode(r, out);
  constexpr char kFrom[] = "\"\\/bfnrt";
  constexpr char kTo[] = "\"\\/\b\f\n\r\t";
  const char* found = c == '\0' ? nullptr : std::strchr(kFrom, c);
  if (found == nullptr) return Fail(r, "unknown escape in a string");
  Append(r->L, out, &kTo[found - kFrom], 1);
  return true;
}

// After the opening quote; pushes the string.
bool ReadString(Reader* r) {
  Bytes out = NewBytes(r->L, 32);
  for (;;) {
    const char* plain = r->at;
    while (r->at < r->end && *r->at != '"' && *r->at != '\\' &&
           static_cast<unsigned char>(*r->at) >= 0x20) {
      ++r->at;
    }
    Append(r->L, &out, plain, static_cast<size_t>(r->at - plain));
    if (r->at == r->end) return Fail(r, "the string does not end");
    const char c = *r->at++;
    if (c == '"') break;
    if (c != '\\') return Fail(r, "a control character inside a string must be escaped");
    if (!ReadEscape(r, &out)) return false;
  }
  Charge(r->L, static_cast<int64_t>(out.size / 8));
  if (Utf8ValidPrefix(std::string_view(out.text, out.size)) != out.size) {
    return Fail(r, "a string is not UTF-8");
  }
  lua_pushlstring(r->L, out.text, out.size);
  lua_replace(r->L, out.slot);
  return true;
}

bool IsDigit(Reader* r) { return r->at < r->end && *r->at >= '0' && *r->at <= '9'; }

bool ReadNumber(Reader* r) {
  const char* start = r->at;
  bool integral = true;
  Take(r, '-');
  if (!IsDigit(r)) return Fail(r, "expected a value");
  if (!Take(r, '0')) {
    while (IsDigit(r)) ++r->at;
  }
  if (Take(r, '.')) {
    integral = false;
    if (!IsDigit(r)) return Fail(r, "a number needs digits after its point");
    while (IsDigit(r)) ++r->at;
  }
  if (Take(r, 'e') || Take(r, 'E')) {
    integral = false;
    if (!Take(r, '+')) Take(r, '-');
    if (!IsDigit(r)) return Fail(r, "a number needs digits in its exponent");
    while (IsDigit(r)) ++r->at;
  }
  lua_Integer whole = 0;
  if (integral && std::from_chars(start, r->at, whole).ec == std::errc()) {
    lua_pushinteger(r->L, whole);
    return true;
  }
  double number = 0;
  if (std::from_chars(start, r->at, number).ec != std::errc()) {
    return Fail(r, "a number is out of range");
  }
  lua_pushnumber(r->L, number);
  return true;
}

bool ReadWord(Reader* r, const char* word) {
  const size_t size = std::strlen(word);
  if (static_cast<size_t>(r->end - r->at) < size || std::memcmp(r->at, word, size) != 0) {
    return Fail(r, "expected a value");
  }
  r->at += size;
  return true;
}

bool ReadValue(Reader* r, int depth);

bool ReadArray(Reader* r, int depth) {
  lua_newtable(r->L);
  MarkJsonArray(r->L);
  SkipSpace(r);
  if (Take(r, ']')) return true;
  for (lua_Integer i = 1;; ++i) {
    if (!ReadValue(r, depth + 1)) return false;
    lua_rawseti(r->L, -2, i);
    SkipSpace(r);
    if (Take(r, ']')) return true;
    if (!Take(r, ',')) return Fail(r, "expected ',' or ']'");
  }
}

bool ReadObject(Reader* r, int depth) {
  lua_newtable(r->L);
  SkipSpace(r);
  if (Take(r, '}')) return true;
  for (;;) {
    SkipSpace(r);
    if (!Take(r, '"')) return Fail(r, "expected a member name");
    if (!ReadString(r)) return false;
    SkipSpace(r);
    if (!Take(r, ':')) return Fail(r, "expected ':'");
    if (!ReadValue(r, depth + 1)) return false;
    lua_rawset(r->L, -3);
    SkipSpace(r);
    if (Take(r, '}')) return true;
    if (!Take(r, ',')) return Fail(r, "expected ',' or '}'");
  }
}

bool ReadValue(Reader* r, int depth) {
  if (depth > kDepthMax) return Fail(r, "nested too deeply");
  luaL_checkstack(r->L, 8, "JSON");
  Charge(r->L, 2);
  SkipSpace(r);
  if (r->at == r->end) return Fail(r, "expected a value");
  switch (*r->at) {
    case '{': ++r->at; return ReadObject(r, depth);
    case '[': ++r->at; return ReadArray(r, depth);
    case '"': ++r->at; return ReadString(r);
    case 't': lua_pushboolean(r->L, 1); return ReadWord(r, "true");
    case 'f': lua_pushboolean(r->L, 0); return ReadWord(r, "false");
    case 'n': lua_pushlightuserdata(r->L, nullptr); return ReadWord(r, "null");
    default: return ReadNumber(r);
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

bool PushJsonValue(lua_State* L, const char* text, size_t size, const char** message,
                   size_t* offset) {
  const int top = lua_gettop(L);
  Reader reader{L, text, text + size, nullptr};
  Charge(L, static_cast<int64_t>(size / 8));
  bool ok = ReadValue(&reader, 0);
  if (ok) {
    SkipSpace(&reader);
    if (reader.at != reader.end) ok = Fail(&reader, "something follows the value");
  }
  if (ok) return true;
  lua_settop(L, top);
  *message = reader.message;
  *offset = static_cast<size_t>(reader.at - text);
  return false;
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
