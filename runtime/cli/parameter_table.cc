#include "runtime/cli/parameter_table.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tools_sdk/json_text.h"

namespace baleen::cli {
namespace {

using Json = nlohmann::ordered_json;

/// Reads one parameter; `*optional` says whether it may be left out.
Result<Json> SchemaOf(const toml::node& node, bool* optional) {
  if (node.is_string()) return Json{{"type", "string"}, {"description", node.as_string()->get()}};
  if (!node.is_table()) return InvalidArgumentError("expected what it is about, or a table");
  Json schema = {{"type", "string"}};
  for (const auto& [key, value] : *node.as_table()) {
    const std::string_view name = key.str();
    if (name == "type" && value.is_string()) {
      const std::string& type = value.as_string()->get();
      if (type != "string" && type != "integer" && type != "number" && type != "boolean") {
        return InvalidArgumentError("type: expected string, integer, number or boolean");
      }
      schema["type"] = type;
    } else if (name == "about" && value.is_string()) {
      schema["description"] = value.as_string()->get();
    } else if (name == "optional" && value.is_boolean()) {
      *optional = value.as_boolean()->get();
    } else if (name == "one_of" && value.is_array() && !value.as_array()->empty()) {
      for (const toml::node& one : *value.as_array()) {
        if (!one.is_string()) return InvalidArgumentError("one_of: expected a list of strings");
        schema["enum"].push_back(one.as_string()->get());
      }
    } else {
      return InvalidArgumentError(
          "'" + std::string(name) +
          "': expected type, about, one_of (a list of strings) or optional");
    }
  }
  if (schema.contains("enum") && schema["type"] != "string") {
    return InvalidArgumentError("one_of: its type must be string");
  }
  return schema;
}

}  // namespace

Result<std::string> SchemaOfParameters(const toml::table& table) {
  Json properties = Json::object();
  Json required = Json::array();
  for (const auto& [key, node] : table) {
    const std::string name(key.str());
    bool optional = false;
    auto schema = SchemaOf(node, &optional);
    if (!schema.ok()) return schema.status().WithContext("'" + name + "'");
    properties[name] = *std::move(schema);
    if (!optional) required.push_back(name);
  }
  return JsonText(Json{{"type", "object"},
                       {"properties", std::move(properties)},
                       {"required", std::move(required)},
                       {"additionalProperties", false}});
}

}  // namespace baleen::cli
