#include "tools_sdk/schema.h"
#include "tools_sdk/json_text.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

namespace baleen {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kDepthMax = 16;  // Of a schema; models lose track long before.
constexpr const char* kTypes[] = {"object", "array",   "string", "integer",
                                  "number", "boolean", "null"};

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

}  // namespace

struct Schema::Node {
  std::vector<std::string> types;  // Empty: any.
  std::vector<std::pair<std::string, std::unique_ptr<Node>>> properties;
  std::vector<std::string> required;
  std::vector<Json> allowed;  // enum; empty: any.
  bool additional_properties = true;
  std::unique_ptr<Node> items;
  std::optional<double> minimum, maximum;
  std::optional<int64_t> length_min, length_max;
};

Schema::Schema(std::unique_ptr<Node> root) : root_(std::move(root)) {}
Schema::Schema(Schema&&) noexcept = default;
Schema& Schema::operator=(Schema&&) noexcept = default;
Schema::~Schema() = default;

namespace {

Status ReadTypes(const Json& value, const std::string& place, std::vector<std::string>* out) {
  const Json list = value.is_array() ? value : Json::array({value});
  for (const Json& type : list) {
    bool known = false;
    for (const char* name : kTypes) known |= type == name;
    if (!known) return Wrong(place, "unknown type " + ShownJson(type));
    out->push_back(type.get<std::string>());
  }
  if (out->empty()) return Wrong(place, "'type' names no type");
  return OkStatus();
}

Status ReadNames(const Json& value, const std::string& place, std::vector<std::string>* out) {
  if (!value.is_array()) return Wrong(place, "'required' must be an array of strings");
  for (const Json& name : value) {
    if (!name.is_string()) return Wrong(place, "'required' must be an array of strings");
    out->push_back(name.get<std::string>());
  }
  return OkStatus();
}

}  // namespace

// nlohmann stays out of the header, hence the untyped pointers.
Status Schema::Build(const void* opaque, const std::string& place, int depth, Node* out) {
  const Json& json = *static_cast<const Json*>(opaque);
  if (depth > kDepthMax) return Wrong(place, "the schema is nested too deeply");
  if (!json.is_object()) return Wrong(place, "a schema must be an object, got " + ShownJson(json));
  for (const auto& [keyword, value] : json.items()) {
    if (keyword == "description" || keyword == "title" || keyword == "default") continue;
    if (keyword == "type") {
      RETURN_IF_ERROR(ReadTypes(value, place, &out->types));
    } else if (keyword == "required") {
      RETURN_IF_ERROR(ReadNames(value, place, &out->required));
    } else if (keyword == "properties") {
      if (!value.is_object()) return Wrong(place, "'properties' must be an object");
      for (const auto& [name, property] : value.items()) {
        auto& entry = out->properties.emplace_back(name, std::make_unique<Node>());
        RETURN_IF_ERROR(Build(&property, place + "." + name, depth + 1, entry.second.get()));
      }
    } else if (keyword == "items") {
      out->items = std::make_unique<Node>();
      RETURN_IF_ERROR(Build(&value, place + "[]", depth + 1, out->items.get()));
    } else if (keyword == "enum") {
      if (!value.is_array() || value.empty()) return Wrong(place, "'enum' must be a filled array");
      out->allowed.assign(value.begin(), value.end());
    } else if (keyword == "additionalProperties") {
      if (!value.is_boolean()) return Wrong(place, "'additionalProperties' must be true or false");
      out->additional_properties = value.get<bool>();
    } else if (keyword == "minimum" || keyword == "maximum") {
      if (!value.is_number()) return Wrong(place, "'" + keyword + "' must be a number");
      (keyword == "minimum" ? out->minimum : out->maximum) = value.get<double>();
    } else if (keyword == "minLength" || keyword == "maxLength") {
      if (!value.is_number_unsigned() || value.get<uint64_t>() > INT64_MAX) {
        return Wrong(place, "'" + keyword + "' must be a number of characters");
      }
      (keyword == "minLength" ? out->length_min : out->length_max) = value.get<int64_t>();
    } else {
      return Wrong(place,
                   "the keyword '" + keyword +
                       "' is not supported; use type, properties, "
                       "required, enum, additionalProperties, items, minimum, maximum, minLength, "
                       "maxLength");
    }
  }
  return OkStatus();
}

Result<Schema> Schema::Parse(std::string_view schema_json) {
  const Json json = Json::parse(schema_json.begin(), schema_json.end(), nullptr, false);
  if (json.is_discarded()) return InvalidArgumentError("parameters: not JSON");
  auto root = std::make_unique<Node>();
  RETURN_IF_ERROR(Build(&json, "parameters", 0, root.get()));
  if (root->types != std::vector<std::string>{"object"}) {
    return InvalidArgumentError("parameters: 'type' must be \"object\"");
  }
  return Schema(std::move(root));
}

Status Schema::Check(const Node& node, const void* opaque, const std::string& place) {
  const Json& json = *static_cast<const Json*>(opaque);
  bool fits = node.types.empty();
  std::string expected;
  for (const std::string& type : node.types) {
    fits |= HasType(json, type);
    expected += (expected.empty() ? "" : " or ") + type;
  }
  if (!fits) {
    return Wrong(place, "expected " + expected + ", got " + TypeOf(json) + " " + ShownJson(json));
  }
  if (!node.allowed.empty()) {
    bool found = false;
    for (const Json& value : node.allowed) found |= json == value;
    if (!found)
      return Wrong(place, ShownJson(json) + " is none of " + ShownJson(Json(node.allowed)));
  }
  if (json.is_number()) {
    const double value = json.get<double>();
    if (node.minimum && value < *node.minimum) {
      return Wrong(place, ShownJson(json) + " is less than " + ShownJson(Json(*node.minimum)));
    }
    if (node.maximum && value > *node.maximum) {
      return Wrong(place, ShownJson(json) + " is more than " + ShownJson(Json(*node.maximum)));
    }
  }
  if (json.is_string()) {
    const int64_t length = LengthOf(json.get_ref<const std::string&>());
    if (length < node.length_min.value_or(0) ||
        length > node.length_max.value_or(std::numeric_limits<int64_t>::max())) {
      return Wrong(place,
                   "has " + std::to_string(length) + " characters, expected " +
                       std::to_string(node.length_min.value_or(0)) +
                       (node.length_max ? " to " + std::to_string(*node.length_max) : " or more"));
    }
  }
  if (json.is_array() && node.items != nullptr) {
    for (size_t i = 0; i < json.size(); ++i) {
      RETURN_IF_ERROR(Check(*node.items, &json[i], place + "[" + std::to_string(i) + "]"));
    }
  }
  if (!json.is_object()) return OkStatus();
  for (const std::string& name : node.required) {
    if (!json.contains(name)) return Wrong(place, "'" + name + "' is missing");
  }
  for (const auto& [name, value] : json.items()) {
    const Node* property = nullptr;
    for (const auto& [known, child] : node.properties) {
      if (known == name) property = child.get();
    }
    if (property != nullptr) {
      RETURN_IF_ERROR(Check(*property, &value, place + "." + name));
    } else if (!node.additional_properties) {
      return Wrong(place, "unknown member '" + name.substr(0, 64) + "'");
    }
  }
  return OkStatus();
}

Status Schema::Validate(std::string_view arguments_json) const {
  const Json json = Json::parse(arguments_json.begin(), arguments_json.end(), nullptr, false);
  if (json.is_discarded()) return InvalidArgumentError("arguments: not JSON");
  return Check(*root_, &json, "arguments");
}

Status ValidateArguments(const ToolSpec& spec, std::string_view arguments_json) {
  ASSIGN_OR_RETURN(const Schema schema, Schema::Parse(spec.parameters));
  return schema.Validate(arguments_json);
}

std::string FunctionObjectJson(const ToolSpec& spec) {
  Json parameters = Json::parse(spec.parameters, nullptr, false);
  if (parameters.is_discarded()) parameters = Json::object();
  const Json out{{"name", spec.name},
                 {"description", spec.description},
                 {"parameters", std::move(parameters)}};
  return JsonText(out);
}

}  // namespace baleen
