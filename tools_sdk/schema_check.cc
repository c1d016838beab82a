#include "tools_sdk/schema_check.h"

#include <re2/re2.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "tools_sdk/json_text.h"

namespace baleen {
namespace {

using Json = SchemaText;

// Alternatives inside alternatives multiply; no honest call comes near.
constexpr int64_t kStepsMax = 200'000;
constexpr int kDepthMax = 256;  // Schemas inside each other, references included.

bool HasType(const Json& json, std::string_view type) {
  if (type == "object") return json.is_object();
  if (type == "array") return json.is_array();
  if (type == "string") return json.is_string();
  if (type == "number") return json.is_number();
  if (type == "boolean") return json.is_boolean();
  if (type == "null") return json.is_null();
  if (json.is_number_integer()) return true;  // "integer"; 1.0 counts, as JSON Schema says.
  return json.is_number_float() && std::trunc(json.get<double>()) == json.get<double>();
}

const char* TypeOf(const Json& json) {
  for (const char* type : {"object", "array", "string", "boolean", "null"}) {
    if (HasType(json, type)) return type;
  }
  return json.is_number() ? "number" : "nothing";
}

// Code points, as JSON Schema counts.
int64_t LengthOf(const std::string& text) {
  int64_t length = 0;
  for (const char c : text) length += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return length;
}

Status Wrong(const std::string& place, const std::string& what) {
  return InvalidArgumentError(place + ": " + what);
}

const Json* At(const Json& schema, const char* keyword) {
  const auto found = schema.find(keyword);
  return found == schema.end() ? nullptr : &*found;
}

RE2::Options PatternOptions() {
  RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(1 << 20);
  return options;
}

bool Matches(const std::string& pattern, const std::string& text) {
  const RE2 expression(pattern, PatternOptions());
  return !expression.ok() || RE2::PartialMatch(text, expression);
}

/// A count against the keywords `least` and `most`.
Status CheckCount(const Json& schema, const char* least, const char* most, int64_t count,
                  const char* unit, const std::string& place) {
  const Json* low = At(schema, least);
  const Json* high = At(schema, most);
  const int64_t min = low == nullptr ? 0 : low->get<int64_t>();
  if (count >= min && (high == nullptr || count <= high->get<int64_t>())) return OkStatus();
  return Wrong(place,
               "has " + std::to_string(count) + " " + unit + ", expected " + std::to_string(min) +
                   (high != nullptr ? " to " + std::to_string(high->get<int64_t>()) : " or more"));
}

/// x < y, exactly where both are written as integers.
bool IsLess(const Json& x, const Json& y) {
  if (!x.is_number_integer() || !y.is_number_integer()) return x.get<double>() < y.get<double>();
  const auto is_big = [](const Json& json) {
    return json.is_number_unsigned() && json.get<uint64_t>() > INT64_MAX;
  };
  if (is_big(x) || is_big(y))
    return is_big(y) && (!is_big(x) || x.get<uint64_t>() < y.get<uint64_t>());
  return x.get<int64_t>() < y.get<int64_t>();
}

Status CheckNumber(const Json& schema, const Json& json, const std::string& place) {
  const auto against = [&](const char* keyword, auto wrong, const char* how) -> Status {
    const Json* bound = At(schema, keyword);
    if (bound == nullptr || !wrong(json, *bound)) return OkStatus();
    return Wrong(place, ShownJson(json) + how + ShownJson(*bound));
  };
  const auto above = [](const Json& x, const Json& y) { return IsLess(y, x); };
  const auto not_above = [](const Json& x, const Json& y) { return !IsLess(y, x); };
  const auto not_below = [](const Json& x, const Json& y) { return !IsLess(x, y); };
  RETURN_IF_ERROR(against("minimum", IsLess, " is less than "));
  RETURN_IF_ERROR(against("maximum", above, " is more than "));
  RETURN_IF_ERROR(against("exclusiveMinimum", not_above, " is not above "));
  RETURN_IF_ERROR(against("exclusiveMaximum", not_below, " is not below "));
  const auto no_multiple = [](const Json& value, const Json& factor) {
    const auto x = value.get<double>();
    const auto y = factor.get<double>();
    return std::abs(x / y - std::round(x / y)) > 1e-9 * std::max(1.0, std::abs(x / y));
  };
  return against("multipleOf", no_multiple, " is no multiple of ");
}

}  // namespace

const SchemaText* ResolveReference(const SchemaText& root, std::string_view reference) {
  if (reference == "#") return &root;
  if (reference.substr(0, 2) != "#/") return nullptr;
  const Json* at = &root;
  for (size_t begin = 2; begin <= reference.size();) {
    const size_t end = std::min(reference.find('/', begin), reference.size());
    std::string step;
    for (size_t i = begin; i < end; ++i) {
      const bool escaped = reference[i] == '~' && i + 1 < end &&
                           (reference[i + 1] == '0' || reference[i + 1] == '1');
      step += !escaped ? reference[i] : reference[i + 1] == '0' ? '~' : '/';
      i += escaped ? 1 : 0;
    }
    const auto index = static_cast<size_t>(std::strtoull(step.c_str(), nullptr, 10));
    if (at->is_object() && at->contains(step)) {
      at = &(*at)[step];
    } else if (at->is_array() && step == std::to_string(index) && index < at->size()) {
      at = &(*at)[index];
    } else {
      return nullptr;
    }
    begin = end + 1;
  }
  return at->is_object() || at->is_boolean() ? at : nullptr;
}

bool IsPattern(const std::string& pattern) { return RE2(pattern, PatternOptions()).ok(); }

Status SchemaCheck::CheckScalar(const Json& schema, const Json& json, const std::string& place) {
  if (const Json* type = At(schema, "type")) {
    bool fits = false;
    std::string expected;
    for (const Json& name : type->is_array() ? *type : Json::array({*type})) {
      fits |= HasType(json, name.get<std::string>());
      expected += (expected.empty() ? "" : " or ") + name.get<std::string>();
    }
    if (!fits) {
      return Wrong(place, "expected " + expected + ", got " + TypeOf(json) + " " + ShownJson(json));
    }
  }
  if (const Json* allowed = At(schema, "enum")) {
    if (std::find(allowed->begin(), allowed->end(), json) == allowed->end()) {
      return Wrong(place, ShownJson(json) + " is none of " + ShownJson(*allowed));
    }
  }
  if (const Json* only = At(schema, "const"); only != nullptr && *only != json) {
    return Wrong(place, ShownJson(json) + " is not " + ShownJson(*only));
  }
  if (json.is_number()) return CheckNumber(schema, json, place);
  if (!json.is_string()) return OkStatus();
  const auto& text = json.get_ref<const std::string&>();
  RETURN_IF_ERROR(
      CheckCount(schema, "minLength", "maxLength", LengthOf(text), "characters", place));
  const Json* pattern = At(schema, "pattern");
  if (pattern != nullptr && !Matches(pattern->get<std::string>(), text)) {
    return Wrong(place, ShownJson(json) + " does not match the pattern " + ShownJson(*pattern));
  }
  return OkStatus();
}

Status SchemaCheck::CheckArray(const Json& schema, const Json& json, const std::string& place) {
  RETURN_IF_ERROR(CheckCount(schema, "minItems", "maxItems", static_cast<int64_t>(json.size()),
                             "items", place));
  const Json* first = At(schema, "prefixItems");
  const Json* rest = At(schema, "items");
  const Json* contains = At(schema, "contains");
  bool contained = contains == nullptr;
  for (size_t i = 0; i < json.size(); ++i) {
    const std::string where = place + "[" + std::to_string(i) + "]";
    const bool own = first != nullptr && i < first->size();
    if (own || rest != nullptr) RETURN_IF_ERROR(Check(own ? (*first)[i] : *rest, json[i], where));
    contained = contained || Check(*contains, json[i], where).ok();
  }
  if (!contained) return Wrong(place, "holds no item such as 'contains' asks for");
  const Json* unique = At(schema, "uniqueItems");
  if (unique == nullptr || *unique != Json(true)) return OkStatus();
  steps_ += static_cast<int64_t>(json.size() * json.size() / 16);
  if (steps_ > kStepsMax) return ResourceExhaustedError(place + ": too many items to compare");
  for (size_t i = 0; i < json.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (json[i] == json[j]) {
        return Wrong(place, "items " + std::to_string(j) + " and " + std::to_string(i) +
                                " are equal, but 'uniqueItems' is set");
      }
    }
  }
  return OkStatus();
}

Status SchemaCheck::CheckMember(const Json& schema, const std::string& name, const Json& value,
                                const std::string& place) {
  const std::string where = place + "." + name;
  bool declared = false;
  if (const Json* properties = At(schema, "properties")) {
    if (const auto found = properties->find(name); found != properties->end()) {
      declared = true;
      RETURN_IF_ERROR(Check(*found, value, where));
    }
  }
  if (const Json* patterns = At(schema, "patternProperties")) {
    for (const auto& [pattern, member] : patterns->items()) {
      if (!Matches(pattern, name)) continue;
      declared = true;
      RETURN_IF_ERROR(Check(member, value, where));
    }
  }
  const Json* additional = At(schema, "additionalProperties");
  if (declared || additional == nullptr) return OkStatus();
  if (*additional == Json(false)) {
    return Wrong(place, "unknown member '" + std::string(Utf8Prefix(name, 64)) + "'");
  }
  return Check(*additional, value, where);
}

Status SchemaCheck::CheckObject(const Json& schema, const Json& json, const std::string& place) {
  if (const Json* required = At(schema, "required")) {
    for (const Json& name : *required) {
      if (!json.contains(name.get<std::string>())) {
        return Wrong(place, "'" + name.get<std::string>() + "' is missing");
      }
    }
  }
  RETURN_IF_ERROR(CheckCount(schema, "minProperties", "maxProperties",
                             static_cast<int64_t>(json.size()), "members", place));
  if (const Json* dependent = At(schema, "dependentRequired")) {
    for (const auto& [name, others] : dependent->items()) {
      if (!json.contains(name)) continue;
      for (const Json& other : others) {
        if (!json.contains(other.get<std::string>())) {
          return Wrong(place,
                       "'" + other.get<std::string>() + "' is missing beside '" + name + "'");
        }
      }
    }
  }
  const Json* names = At(schema, "propertyNames");
  for (const auto& [name, value] : json.items()) {
    if (names != nullptr) RETURN_IF_ERROR(Check(*names, Json(name), place + " (member name)"));
    RETURN_IF_ERROR(CheckMember(schema, name, value, place));
  }
  return OkStatus();
}

Status SchemaCheck::CheckBranches(const Json& schema, const Json& json, const std::string& place) {
  if (const Json* all = At(schema, "allOf")) {
    for (const Json& part : *all) RETURN_IF_ERROR(Check(part, json, place));
  }
  for (const char* keyword : {"anyOf", "oneOf"}) {
    const Json* branches = At(schema, keyword);
    if (branches == nullptr) continue;
    int fitting = 0;
    Status last;
    for (const Json& branch : *branches) {
      const Status status = Check(branch, json, place);
      if (status.code() == StatusCode::kResourceExhausted) return status;
      fitting += status.ok() ? 1 : 0;
      if (!status.ok()) last = status;
    }
    if (fitting == 0) {
      return Wrong(place, "fits none of " + std::to_string(branches->size()) +
                              " alternatives; of the last: " + last.message());
    }
    if (fitting > 1 && std::string_view(keyword) == "oneOf") {
      return Wrong(place,
                   "fits " + std::to_string(fitting) + " alternatives of which only one may");
    }
  }
  const Json* not_this = At(schema, "not");
  if (not_this != nullptr && Check(*not_this, json, place).ok()) {
    return Wrong(place, ShownJson(json) + " is what 'not' rules out");
  }
  const Json* condition = At(schema, "if");
  if (condition == nullptr) return OkStatus();
  const Json* branch = At(schema, Check(*condition, json, place).ok() ? "then" : "else");
  return branch == nullptr ? OkStatus() : Check(*branch, json, place);
}

Status SchemaCheck::Check(const Json& schema, const Json& json, const std::string& place) {
  if (schema.is_boolean()) {
    return schema.get<bool>() ? OkStatus() : Wrong(place, "nothing is allowed here");
  }
  if (++steps_ > kStepsMax || depth_ > kDepthMax) {
    return ResourceExhaustedError(place +
                                  ": the schema refers to itself, or its alternatives take "
                                  "too long to try");
  }
  ++depth_;
  const auto check = [&]() -> Status {
    if (const Json* reference = At(schema, "$ref")) {
      RETURN_IF_ERROR(Check(*ResolveReference(root_, reference->get<std::string>()), json, place));
    }
    RETURN_IF_ERROR(CheckScalar(schema, json, place));
    if (json.is_array()) RETURN_IF_ERROR(CheckArray(schema, json, place));
    if (json.is_object()) RETURN_IF_ERROR(CheckObject(schema, json, place));
    return CheckBranches(schema, json, place);
  };
  Status status = check();
  --depth_;
  return status;
}

}  // namespace baleen
