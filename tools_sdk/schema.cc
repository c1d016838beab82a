#include "tools_sdk/schema.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "tools_sdk/json_text.h"
#include "tools_sdk/schema_check.h"

namespace baleen {
namespace {

using Json = SchemaText;

constexpr int kDepthMax = 32;  // Of a schema; models lose track long before.
constexpr size_t kNotesMax = 64;
constexpr const char* kTypes[] = {"object", "array",   "string", "integer",
                                  "number", "boolean", "null"};

Status Wrong(const std::string& place, const std::string& what) {
  return InvalidArgumentError(place + ": " + what, "BAD_SCHEMA");
}

/// What a keyword's value must be.
enum class Shape {
  kType,
  kNames,
  kSchema,
  kSchemas,
  kMembers,
  kEnum,
  kAny,
  kNumber,
  kCount,
  kBoolean,
  kPattern,
  kReference,
  kNameLists
};

struct Keyword {
  const char* name;
  Shape shape;
  bool kept_while_writing;  ///< model/constraint keeps to it.
};

constexpr Keyword kKeywords[] = {
    {"type", Shape::kType, true},
    {"enum", Shape::kEnum, true},
    {"const", Shape::kAny, true},
    {"properties", Shape::kMembers, true},
    {"required", Shape::kNames, true},
    {"additionalProperties", Shape::kSchema, true},
    {"items", Shape::kSchema, true},
    {"minItems", Shape::kCount, true},
    {"maxItems", Shape::kCount, true},
    {"minLength", Shape::kCount, true},
    {"maxLength", Shape::kCount, true},
    {"minimum", Shape::kNumber, true},
    {"maximum", Shape::kNumber, true},
    {"exclusiveMinimum", Shape::kNumber, true},
    {"exclusiveMaximum", Shape::kNumber, true},
    {"anyOf", Shape::kSchemas, true},
    {"allOf", Shape::kSchemas, true},
    {"$ref", Shape::kReference, true},
    {"oneOf", Shape::kSchemas, false},
    {"not", Shape::kSchema, false},
    {"if", Shape::kSchema, false},
    {"then", Shape::kSchema, false},
    {"else", Shape::kSchema, false},
    {"pattern", Shape::kPattern, false},
    {"multipleOf", Shape::kNumber, false},
    {"uniqueItems", Shape::kBoolean, false},
    {"contains", Shape::kSchema, false},
    {"prefixItems", Shape::kSchemas, false},
    {"patternProperties", Shape::kMembers, false},
    {"propertyNames", Shape::kSchema, false},
    {"minProperties", Shape::kCount, false},
    {"maxProperties", Shape::kCount, false},
    {"dependentRequired", Shape::kNameLists, false},
};

// For readers only.
constexpr const char* kAnnotations[] = {"description", "title",    "default",  "examples",
                                        "$schema",     "$id",      "$comment", "deprecated",
                                        "readOnly",    "writeOnly"};
constexpr const char* kDefinitions[] = {"$defs", "definitions"};

template <size_t count>
bool Among(const char* const (&names)[count], std::string_view name) {
  return std::any_of(std::begin(names), std::end(names),
                     [&](const char* entry) { return name == entry; });
}

bool IsNames(const Json& value) {
  return value.is_array() &&
         std::all_of(value.begin(), value.end(), [](const Json& name) { return name.is_string(); });
}

Status CheckType(const Json& value, const std::string& place) {
  const Json list = value.is_array() ? value : Json::array({value});
  for (const Json& type : list) {
    if (!type.is_string() || !Among(kTypes, type.get<std::string>())) {
      return Wrong(place, "unknown type " + ShownJson(type));
    }
  }
  return list.empty() ? Wrong(place, "'type' names no type") : OkStatus();
}

/// Walks a schema once, when it is registered.
class Reader {
 public:
  Reader(const Json& root, std::vector<std::string>* notes) : root_(root), notes_(*notes) {}

  Status Read(const Json& json, const std::string& place, int depth) {
    if (depth > kDepthMax) return Wrong(place, "the schema is nested too deeply");
    if (json.is_boolean()) return OkStatus();
    if (!json.is_object()) {
      return Wrong(place, "a schema must be an object, got " + ShownJson(json));
    }
    for (const auto& [name, value] : json.items()) {
      if (Among(kAnnotations, name)) continue;
      if (Among(kDefinitions, name)) {
        RETURN_IF_ERROR(ReadMembers(name, value, place, depth));
        continue;
      }
      const auto* keyword = std::find_if(std::begin(kKeywords), std::end(kKeywords),
                                         [&](const Keyword& k) { return name == k.name; });
      if (keyword == std::end(kKeywords)) {
        Note(place, name, "is not checked");
        continue;
      }
      RETURN_IF_ERROR(ReadKeyword(*keyword, value, place, depth));
      const bool bound = name == "minimum" || name == "maximum" || name == "exclusiveMinimum" ||
                         name == "exclusiveMaximum";
      if (!keyword->kept_while_writing || (bound && MayBeFraction(json))) {
        Note(place, name, "is checked once the text is whole, not while it is written");
      }
    }
    return OkStatus();
  }

 private:
  void Note(const std::string& place, const std::string& keyword, const char* what) {
    if (notes_.size() >= kNotesMax) return;
    notes_.push_back(place + ": '" + std::string(Utf8Prefix(keyword, 64)) + "' " + what);
  }

  static bool MayBeFraction(const Json& schema) {
    const auto type = schema.find("type");
    if (type == schema.end() || !type->is_array()) {
      return type == schema.end() || *type == "number";
    }
    return std::find(type->begin(), type->end(), "number") != type->end();
  }

  Status ReadMembers(const std::string& name, const Json& value, const std::string& place,
                     int depth) {
    if (!value.is_object()) return Wrong(place, "'" + name + "' must be an object");
    for (const auto& [member, schema] : value.items()) {
      RETURN_IF_ERROR(Read(schema, place + "." + member, depth + 1));
    }
    return OkStatus();
  }

  Status ReadKeyword(const Keyword& keyword, const Json& value, const std::string& place,
                     int depth) {
    const std::string name = keyword.name;
    const auto must = [&](bool fits, const char* what) {
      return fits ? OkStatus() : Wrong(place, "'" + name + "' must be " + what);
    };
    switch (keyword.shape) {
      case Shape::kType: return CheckType(value, place);
      case Shape::kNames: return must(IsNames(value), "an array of strings");
      case Shape::kSchema: return Read(value, place + (name == "items" ? "[]" : ""), depth + 1);
      case Shape::kSchemas:
        RETURN_IF_ERROR(must(value.is_array() && !value.empty(), "a filled array of schemas"));
        for (const Json& schema : value) RETURN_IF_ERROR(Read(schema, place, depth + 1));
        return OkStatus();
      case Shape::kMembers: return ReadMembers(name, value, place, depth);
      case Shape::kEnum: return must(value.is_array() && !value.empty(), "a filled array");
      case Shape::kAny: return OkStatus();
      case Shape::kNumber:
        return must(value.is_number() && (name != "multipleOf" || value.get<double>() > 0),
                    "a number, and above 0 for 'multipleOf'");
      case Shape::kCount:
        return must(value.is_number_unsigned() && value.get<uint64_t>() <= INT64_MAX,
                    "a count: a number of 0 or more");
      case Shape::kBoolean: return must(value.is_boolean(), "true or false");
      case Shape::kPattern:
        RETURN_IF_ERROR(must(value.is_string(), "a string"));
        if (!IsPattern(value.get<std::string>())) {
          return Wrong(place, "the pattern " + ShownJson(value) +
                                  " can't be used: look-around and back references aren't known");
        }
        return OkStatus();
      case Shape::kReference:
        return must(
            value.is_string() && ResolveReference(root_, value.get<std::string>()) != nullptr,
            "'#' or '#/' and the place of a schema in this text");
      case Shape::kNameLists:
        return must(value.is_object() && std::all_of(value.begin(), value.end(), IsNames),
                    "an object of arrays of strings");
    }
    return OkStatus();
  }

  const Json& root_;
  std::vector<std::string>& notes_;
};

}  // namespace

struct Schema::Impl {
  Json root;
  std::string what;
  std::vector<std::string> notes;
};

Schema::Schema(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Schema::Schema(Schema&&) noexcept = default;
Schema& Schema::operator=(Schema&&) noexcept = default;
Schema::~Schema() = default;

const std::vector<std::string>& Schema::notes() const { return impl_->notes; }

Result<Schema> Schema::ParseValue(std::string_view schema_json, std::string what) {
  auto impl = std::make_unique<Impl>();
  impl->root = Json::parse(schema_json.begin(), schema_json.end(), nullptr, false);
  impl->what = std::move(what);
  if (impl->root.is_discarded()) {
    return InvalidArgumentError(impl->what + " schema: not JSON", "BAD_SCHEMA");
  }
  RETURN_IF_ERROR(Reader(impl->root, &impl->notes).Read(impl->root, impl->what, 0));
  return Schema(std::move(impl));
}

Result<Schema> Schema::Parse(std::string_view schema_json) {
  ASSIGN_OR_RETURN(Schema schema, ParseValue(schema_json, "parameters"));
  const Json& root = schema.impl_->root;
  if (!root.is_object() || !root.contains("type") || root["type"] != "object") {
    return InvalidArgumentError("parameters: 'type' must be \"object\"", "BAD_SCHEMA");
  }
  schema.impl_->what = "arguments";
  if (const auto found = root.find("additionalProperties");
      found != root.end() && *found != Json(false)) {
    schema.impl_->notes.emplace_back(
        "parameters: 'additionalProperties' is checked, but a model can write declared parameters "
        "only");
  }
  return schema;
}

Status Schema::Validate(std::string_view json_text) const {
  const Json json = Json::parse(json_text.begin(), json_text.end(), nullptr, false);
  if (json.is_discarded()) return InvalidArgumentError(impl_->what + ": not JSON");
  return SchemaCheck(impl_->root).Check(impl_->root, json, impl_->what);
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
