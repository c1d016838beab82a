#include "model/text/json_value.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <unordered_map>
#include <utility>

#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

constexpr int kDepthMax = 200;          // Recursion is bounded by this.
constexpr size_t kIndexedMembers = 16;  // From here on a hash map finds repeated keys.

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  Result<JsonValue> Read() {
    at_ = Utf8ValidPrefix(text_);
    if (at_ != text_.size()) return Error("valid UTF-8");
    at_ = 0;
    JsonValue value;
    RETURN_IF_ERROR(ReadValue(&value, 0));
    SkipSpace();
    if (at_ != text_.size()) return Error("the end of the JSON text");
    return value;
  }

 private:
  Status Error(std::string_view expected) const {
    std::string got = "the end";
    if (at_ < text_.size()) {
      const auto byte = static_cast<uint8_t>(text_[at_]);
      got = byte < 0x80 ? QuoteJson(text_.substr(at_, 1)) : "byte " + std::to_string(byte);
    }
    return InvalidArgumentError("JSON at byte " + std::to_string(at_) + ": expected " +
                                std::string(expected) + ", got " + got);
  }

  char Peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  void SkipSpace() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r')) {
      ++at_;
    }
  }

  bool Take(std::string_view literal) {
    if (text_.substr(at_, literal.size()) != literal) return false;
    at_ += literal.size();
    return true;
  }

  Status ReadValue(JsonValue* value, int depth) {
    if (depth > kDepthMax) return Error("nesting of at most 200");
    SkipSpace();
    using Kind = JsonValue::Kind;
    switch (Peek()) {
      case '{': return ReadObject(value, depth);
      case '[': return ReadArray(value, depth);
      case '"': value->kind = Kind::kString; return ReadString(&value->text);
      default: break;
    }
    static constexpr std::pair<std::string_view, Kind> kLiterals[] = {
        {"null", Kind::kNull},  {"true", Kind::kTrue},        {"false", Kind::kFalse},
        {"NaN", Kind::kNumber}, {"-Infinity", Kind::kNumber}, {"Infinity", Kind::kNumber}};
    for (const auto& [literal, kind] : kLiterals) {
      if (!Take(literal)) continue;
      value->kind = kind;
      if (kind == Kind::kNumber) {
        value->text = literal == "NaN" ? "nan" : literal == "Infinity" ? "inf" : "-inf";
      }
      return OkStatus();
    }
    return ReadNumber(value);
  }

  Status ReadObject(JsonValue* value, int depth) {
    value->kind = JsonValue::Kind::kObject;
    ++at_;
    SkipSpace();
    if (Take("}")) return OkStatus();
    std::unordered_map<std::string, size_t> index;
    while (true) {
      SkipSpace();
      if (Peek() != '"') return Error("a member name in quotes");
      std::string name;
      RETURN_IF_ERROR(ReadString(&name));
      SkipSpace();
      if (!Take(":")) return Error("':'");
      JsonValue member;
      RETURN_IF_ERROR(ReadValue(&member, depth + 1));
      Place(std::move(name), std::move(member), value, &index);
      SkipSpace();
      if (Take("}")) return OkStatus();
      if (!Take(",")) return Error("',' or '}'");
    }
  }

  // As in a Python dict, a repeated name keeps its first place and takes the last value.
  static void Place(std::string name, JsonValue member, JsonValue* object,
                    std::unordered_map<std::string, size_t>* index) {
    auto& members = object->members;
    if (index->empty() && members.size() >= kIndexedMembers) {
      for (size_t i = 0; i < members.size(); ++i) index->emplace(members[i].name, i);
    }
    if (!index->empty()) {
      const auto [found, inserted] = index->try_emplace(name, members.size());
      if (!inserted) {
        members[found->second].value = std::move(member);
        return;
      }
    } else {
      for (auto& [known, known_value] : members) {
        if (known != name) continue;
        known_value = std::move(member);
        return;
      }
    }
    members.push_back({std::move(name), std::move(member)});
  }

  Status ReadArray(JsonValue* value, int depth) {
    value->kind = JsonValue::Kind::kArray;
    ++at_;
    SkipSpace();
    if (Take("]")) return OkStatus();
    while (true) {
      RETURN_IF_ERROR(ReadValue(&value->items.emplace_back(), depth + 1));
      SkipSpace();
      if (Take("]")) return OkStatus();
      if (!Take(",")) return Error("',' or ']'");
    }
  }

  Status ReadString(std::string* out) {
    ++at_;
    while (true) {
      const size_t begin = at_;
      while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\\' &&
             static_cast<uint8_t>(text_[at_]) >= 0x20) {
        ++at_;
      }
      out->append(text_.substr(begin, at_ - begin));
      if (Take("\"")) return OkStatus();
      if (Peek() != '\\') return Error("'\"' (control characters must be escaped)");
      ++at_;
      RETURN_IF_ERROR(ReadEscape(out));
    }
  }

  Status ReadEscape(std::string* out) {
    static constexpr std::string_view kNames = "\"\\/bfnrt";
    static constexpr std::string_view kValues = "\"\\/\b\f\n\r\t";
    const size_t simple = at_ < text_.size() ? kNames.find(text_[at_]) : std::string_view::npos;
    if (simple != std::string_view::npos) {
      out->push_back(kValues[simple]);
      ++at_;
      return OkStatus();
    }
    if (!Take("u")) return Error("an escape character");
    uint32_t unit = 0;
    RETURN_IF_ERROR(ReadHex(&unit));
    if (unit >= 0xD800 && unit <= 0xDBFF && Take("\\u")) {
      uint32_t low = 0;
      RETURN_IF_ERROR(ReadHex(&low));
      if (low < 0xDC00 || low > 0xDFFF) return Error("a low surrogate before this");
      unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
    } else if (unit >= 0xD800 && unit <= 0xDFFF) {
      return Error("no lone surrogate before this");
    }
    char bytes[4];
    out->append(bytes, EncodeUtf8(unit, bytes));
    return OkStatus();
  }

  Status ReadHex(uint32_t* unit) {
    const std::string_view digits = text_.substr(at_, 4);
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), *unit, 16);
    if (digits.size() != 4 || error != std::errc() || end != digits.data() + 4) {
      return Error("four hexadecimal digits");
    }
    at_ += 4;
    return OkStatus();
  }

  bool TakeDigits() {
    const size_t begin = at_;
    while (at_ < text_.size() && IsDigit(text_[at_])) ++at_;
    return at_ > begin;
  }

  Status ReadNumber(JsonValue* value) {
    const size_t begin = at_;
    Take("-");
    const size_t first = at_;
    if (!TakeDigits()) return Error("a JSON value");
    if (text_[first] == '0') at_ = first + 1;  // A further digit is then an error of the caller's.
    bool is_float = false;
    const size_t integer_end = at_;
    if (Take(".")) {
      is_float = TakeDigits();
      if (!is_float) at_ = integer_end;
    }
    const size_t fraction_end = at_;
    if (integer_end == fraction_end || is_float) {
      if (Take("e") || Take("E")) {
        if (!Take("+")) Take("-");
        if (TakeDigits()) {
          is_float = true;
        } else {
          at_ = fraction_end;
        }
      }
    }
    value->kind = JsonValue::Kind::kNumber;
    value->text = text_.substr(begin, at_ - begin);
    if (is_float) {
      value->text = PythonFloat(std::strtod(value->text.c_str(), nullptr));
    } else if (value->text == "-0") {
      value->text = "0";
    }
    return OkStatus();
  }

  std::string_view text_;
  size_t at_ = 0;
};

void Dump(const JsonValue& value, std::string* out) {
  using Kind = JsonValue::Kind;
  switch (value.kind) {
    case Kind::kNull: *out += "null"; return;
    case Kind::kFalse: *out += "false"; return;
    case Kind::kTrue: *out += "true"; return;
    case Kind::kNumber: {
      // str() and json.dumps spell these three differently.
      const std::string& text = value.text;
      *out += text == "nan"    ? "NaN"
              : text == "inf"  ? "Infinity"
              : text == "-inf" ? "-Infinity"
                               : text;
      return;
    }
    case Kind::kString: *out += QuoteJson(value.text); return;
    case Kind::kArray: {
      *out += '[';
      for (size_t i = 0; i < value.items.size(); ++i) {
        if (i > 0) *out += ", ";
        Dump(value.items[i], out);
      }
      *out += ']';
      return;
    }
    case Kind::kObject: {
      *out += '{';
      for (size_t i = 0; i < value.members.size(); ++i) {
        if (i > 0) *out += ", ";
        *out += QuoteJson(value.members[i].name) + ": ";
        Dump(value.members[i].value, out);
      }
      *out += '}';
      return;
    }
  }
}

}  // namespace

bool JsonValue::Truthy() const {
  switch (kind) {
    case Kind::kNull:
    case Kind::kFalse: return false;
    case Kind::kTrue: return true;
    case Kind::kNumber: return text != "0" && text != "0.0" && text != "-0.0";
    case Kind::kString: return !text.empty();
    case Kind::kArray: return !items.empty();
    case Kind::kObject: return !members.empty();
  }
  return false;
}

const JsonValue* JsonValue::Find(std::string_view name) const {
  for (const auto& [known, value] : members) {
    if (known == name) return &value;
  }
  return nullptr;
}

std::optional<std::string> JsonValue::PythonStr() const {
  switch (kind) {
    case Kind::kNull: return "None";
    case Kind::kFalse: return "False";
    case Kind::kTrue: return "True";
    case Kind::kNumber:
    case Kind::kString: return text;
    case Kind::kArray:
    case Kind::kObject: return std::nullopt;
  }
  return std::nullopt;
}

Result<JsonValue> ParseJson(std::string_view text) { return Reader(text).Read(); }

std::string DumpJson(const JsonValue& value) {
  std::string out;
  Dump(value, &out);
  return out;
}

std::string QuoteJson(std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      default:
        if (static_cast<uint8_t>(c) < 0x20) {
          out += "\\u00";
          out += kHex[c >> 4];
          out += kHex[c & 15];
        } else {
          out += c;
        }
    }
  }
  return out + '"';
}

std::string PythonFloat(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  // The shortest digits that read back as the same value; Python's repr only arranges them so:
  // plain from 1e-4 to below 1e16, else with an exponent of at least two digits.
  std::array<char, 32> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                 std::chars_format::scientific)
                       .ptr;
  std::string text(buffer.data(), end);
  const size_t e = text.find('e');
  const int exponent = std::atoi(text.c_str() + e + 1);
  if (exponent < -4 || exponent >= 16) return text;
  const std::string sign = text[0] == '-' ? "-" : "";
  std::string digits;
  for (const char c : text.substr(0, e)) {
    if (IsDigit(c)) digits += c;
  }
  if (exponent < 0) return sign + "0." + std::string(-exponent - 1, '0') + digits;
  const auto whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= whole) return sign + digits + std::string(whole - digits.size(), '0') + ".0";
  return sign + digits.substr(0, whole) + "." + digits.substr(whole);
}

}  // namespace baleen
