// JSON as Python's json module reads and writes it: key order, exact integers, Python's spelling of
// floats, NaN and Infinity.
//
// Prompts contain such text byte for byte, which a general library doesn't promise: it would round
// large integers and respell floats. Called by the chat encoder and the parser.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools_sdk/status.h"

namespace baleen {

struct JsonMember;

/// One JSON value. A plain struct: which fields count depends on `kind`.
struct JsonValue {
  enum class Kind { kNull, kFalse, kTrue, kNumber, kString, kArray, kObject };
  Kind kind = Kind::kNull;
  std::string text;                 ///< String; number as Python writes it.
  std::vector<JsonValue> items;     ///< Array.
  std::vector<JsonMember> members;  ///< Object, in order of first mention.

  bool IsString() const { return kind == Kind::kString; }
  bool IsArray() const { return kind == Kind::kArray; }
  bool IsObject() const { return kind == Kind::kObject; }
  bool IsNull() const { return kind == Kind::kNull; }

  /// Python's `bool(value)`: false for null, false, 0, "", [] and {}.
  bool Truthy() const;
  /// Member by name; nullptr if absent or if this isn't an object.
  const JsonValue* Find(std::string_view name) const;
  /// Python's `str(value)` for null, booleans, numbers and strings; nullopt for the rest.
  std::optional<std::string> PythonStr() const;
};

struct JsonMember {
  std::string name;
  JsonValue value;
};

/// Accepts what Python's json.loads accepts, except lone surrogates (they have no UTF-8 form).
/// Errors: INVALID_ARGUMENT with the byte offset; also for nesting deeper than 200.
Result<JsonValue> ParseJson(std::string_view text);

/// Python's json.dumps(value, ensure_ascii=False).
std::string DumpJson(const JsonValue& value);

/// The same for a string alone: quoted and escaped.
std::string QuoteJson(std::string_view text);

/// Python's repr(float).
std::string PythonFloat(double value);

}  // namespace baleen
