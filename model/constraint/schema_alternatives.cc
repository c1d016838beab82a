#include "model/constraint/schema_alternatives.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "tools_sdk/schema_check.h"

namespace baleen {
namespace {

constexpr size_t kAlternativesMax = 256;
constexpr size_t kChainMax = 64;  // $ref, anyOf and allOf inside each other
constexpr int kStepsMax =
    20'000;  // Schemas visited: two references per level would double each time.

using Json = SchemaJson;

Json TypeList(const Json& type) { return type.is_array() ? type : Json::array({type}); }

/// What both allow; "integer" is part of "number".
Json CommonTypes(const Json& x, const Json& y) {
  Json common = Json::array();
  const Json left = TypeList(x);
  const Json right = TypeList(y);
  const auto has = [](const Json& list, const Json& type) {
    return std::find(list.begin(), list.end(), type) != list.end();
  };
  for (const Json& type : left) {
    if (has(right, type) || (type == "integer" && has(right, "number"))) common.push_back(type);
  }
  for (const Json& type : right) {
    if (type == "integer" && has(left, "number") && !has(left, type)) common.push_back(type);
  }
  return common;
}

Json Both(const Json& x, const Json& y) {
  if (x == y || y == Json(true)) return x;
  if (x == Json(true)) return y;
  return Json{{"allOf", Json::array({x, y})}};
}

/// The schema that `object` has for a member which its `properties` don't name.
Json Undeclared(const Json& object) {
  const auto found = object.find("additionalProperties");
  return found == object.end() ? Json(true) : *found;
}

Json MergedProperties(const Json& x, const Json& y) {
  const Json none = Json::object();
  const Json& left = x.contains("properties") ? x["properties"] : none;
  const Json& right = y.contains("properties") ? y["properties"] : none;
  Json merged = Json::object();
  for (const auto& [name, schema] : left.items()) {
    merged[name] = Both(schema, right.contains(name) ? right[name] : Undeclared(y));
  }
  for (const auto& [name, schema] : right.items()) {
    if (!left.contains(name)) merged[name] = Both(schema, Undeclared(x));
  }
  return merged;
}

bool IsLowerBound(const std::string& keyword) {
  return keyword == "minimum" || keyword == "exclusiveMinimum" || keyword == "minLength" ||
         keyword == "minItems";
}

bool IsUpperBound(const std::string& keyword) {
  return keyword == "maximum" || keyword == "exclusiveMaximum" || keyword == "maxLength" ||
         keyword == "maxItems";
}

/// Both at once; nullopt: they contradict each other. Keywords that the rules don't know may get
/// lost: they are checked elsewhere.
std::optional<Json> Merge(const Json& x, const Json& y) {
  Json merged = x;
  for (const auto& [keyword, value] : y.items()) {
    if (!merged.contains(keyword)) {
      merged[keyword] = value;
      continue;
    }
    Json& mine = merged[keyword];
    if (mine == value) continue;
    if (keyword == "type") {
      mine = CommonTypes(mine, value);
      if (mine.empty()) return std::nullopt;
    } else if (keyword == "const") {
      return std::nullopt;
    } else if (keyword == "enum" && mine.is_array() && value.is_array()) {
      Json common = Json::array();
      for (const Json& entry : mine) {
        if (std::find(value.begin(), value.end(), entry) != value.end()) common.push_back(entry);
      }
      if (common.empty()) return std::nullopt;
      mine = std::move(common);
    } else if (keyword == "required" && mine.is_array() && value.is_array()) {
      for (const Json& name : value) {
        if (std::find(mine.begin(), mine.end(), name) == mine.end()) mine.push_back(name);
      }
    } else if (keyword == "items" || keyword == "additionalProperties") {
      mine = Both(mine, value);
    } else if (IsLowerBound(keyword) || IsUpperBound(keyword)) {
      if (IsLowerBound(keyword) == (mine < value)) mine = value;
    }
  }
  if (x.contains("properties") || y.contains("properties")) {
    merged["properties"] = MergedProperties(x, y);
  }
  return merged;
}

class Spreader {
 public:
  explicit Spreader(const Json& root) : root_(root) {}

  Result<std::vector<Json>> Spread(const Json& schema) {
    if (schema.is_boolean()) {
      return schema.get<bool>() ? std::vector<Json>{Json::object()} : std::vector<Json>{};
    }
    if (!schema.is_object()) {
      return InvalidArgumentError("a schema must be an object, true or false", "BAD_SCHEMA");
    }
    if (chain_.size() > kChainMax || ++steps_ > kStepsMax) return TooLarge();
    Json own = Json::object();
    for (const auto& [keyword, value] : schema.items()) {
      if (keyword != "$ref" && keyword != "allOf" && keyword != "anyOf" && keyword != "oneOf") {
        own[keyword] = value;
      }
    }
    std::vector<Json> all{std::move(own)};
    if (const auto ref = schema.find("$ref"); ref != schema.end()) {
      ASSIGN_OR_RETURN(const std::vector<Json> targets, Follow(*ref));
      RETURN_IF_ERROR(Multiply(targets, &all));
    }
    for (const char* keyword : {"anyOf", "oneOf"}) {
      const auto list = schema.find(keyword);
      if (list == schema.end() || !list->is_array()) continue;
      std::vector<Json> branches;
      for (const Json& branch : *list) {
        ASSIGN_OR_RETURN(const std::vector<Json> spread, Nested(branch));
        branches.insert(branches.end(), spread.begin(), spread.end());
        if (branches.size() > kAlternativesMax) return TooLarge();
      }
      RETURN_IF_ERROR(Multiply(branches, &all));
    }
    const auto parts = schema.find("allOf");
    if (parts == schema.end() || !parts->is_array()) return all;
    for (const Json& part : *parts) {
      ASSIGN_OR_RETURN(const std::vector<Json> spread, Nested(part));
      RETURN_IF_ERROR(Multiply(spread, &all));
    }
    return all;
  }

 private:
  static Status TooLarge() {
    return ResourceExhaustedError(
        "the schema has more than " + std::to_string(kAlternativesMax) +
            " alternatives in one place, or nests anyOf, allOf and $ref too deeply; simplify it",
        "SCHEMA_TOO_LARGE");
  }

  Result<std::vector<Json>> Nested(const Json& schema) {
    chain_.emplace_back();
    auto spread = Spread(schema);
    chain_.pop_back();
    return spread;
  }

  Result<std::vector<Json>> Follow(const Json& ref) {
    const std::string target = ref.is_string() ? ref.get<std::string>() : "";
    // A schema that is itself or something else is something else.
    if (std::find(chain_.begin(), chain_.end(), target) != chain_.end()) return std::vector<Json>{};
    const Json* schema = ResolveReference(root_, target);
    if (schema == nullptr) {
      return InvalidArgumentError("'$ref' must be '#' or '#/' and a place in the same schema; '" +
                                      target.substr(0, 80) + "' is none",
                                  "BAD_SCHEMA");
    }
    chain_.push_back(target);
    auto spread = Spread(*schema);
    chain_.pop_back();
    return spread;
  }

  static Status Multiply(const std::vector<Json>& factors, std::vector<Json>* all) {
    std::vector<Json> product;
    for (const Json& x : *all) {
      for (const Json& y : factors) {
        if (auto merged = Merge(x, y)) product.push_back(*std::move(merged));
        if (product.size() > kAlternativesMax) return TooLarge();
      }
    }
    *all = std::move(product);
    return OkStatus();
  }

  const Json& root_;
  int steps_ = 0;
  std::vector<std::string> chain_;  // references being followed; "" for anyOf and allOf
};

}  // namespace

Result<std::vector<SchemaJson>> Alternatives(const SchemaJson& schema, const SchemaJson& root) {
  return Spreader(root).Spread(schema);
}

}  // namespace baleen
