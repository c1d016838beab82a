// JSON for scripts: from text to a value. The other direction is in lua_json.cc.
#include <charconv>
#include <cmath>
#include <cstring>
#include <lua5.4/lua.hpp>
#include <string_view>

#include "agent/lua_json_bytes.h"
#include "agent/lua_libraries.h"
#include "agent/lua_sandbox_state.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

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
  if (depth > kJsonDepthMax) return Fail(r, "nested too deeply");
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

}  // namespace

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

}  // namespace baleen
