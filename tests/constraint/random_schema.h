// Random JSON Schemas from the keywords that the rules keep to; strings and arrays are bounded, so
// that every value has an end.
#pragma once

#include <nlohmann/json.hpp>
#include <random>
#include <string>

namespace baleen {

class RandomSchema {
 public:
  explicit RandomSchema(uint64_t seed) : random_(seed) {}

  uint64_t Below(uint64_t bound) { return random_() % bound; }

  /// Of a tool's parameters, with up to 5 of them.
  nlohmann::ordered_json Parameters() {
    nlohmann::ordered_json schema = Object(0, 5);
    if (Below(4) == 0) {
      schema["$defs"]["shared"] = Value(2);
      schema["properties"]["ref"] = {{"$ref", "#/$defs/shared"}};
      if (Below(2) == 0) schema["required"].push_back("ref");
    }
    return schema;
  }

  nlohmann::ordered_json Value(int depth) {
    using Json = nlohmann::ordered_json;
    switch (Below(depth < 3 ? 10 : 6)) {
      case 0: return {{"type", "boolean"}};
      case 1: return Integer();
      case 2: return {{"type", "number"}};
      case 3: return String();
      case 4: {
        Json values = Json::array({Name(), Name(), static_cast<int>(Below(100)), nullptr, true});
        values.erase(values.begin() + static_cast<std::ptrdiff_t>(1 + Below(4)), values.end());
        return {{"enum", values}};
      }
      case 5: return {{"type", Json::array({"null", "string"})}, {"maxLength", Below(6)}};
      case 6: return Object(depth + 1, 4);
      case 7: return {{"anyOf", Json::array({Value(depth + 1), Value(depth + 1)})}};
      case 8: return {{"const", Name()}};
      default: {
        const uint64_t least = Below(3);
        return {{"type", "array"},
                {"items", Value(depth + 1)},
                {"minItems", least},
                {"maxItems", least + Below(3)}};
      }
    }
  }

 private:
  nlohmann::ordered_json Integer() {
    const auto low = static_cast<int64_t>(Below(2000)) - 1000;
    return {{"type", "integer"},
            {"minimum", low},
            {"maximum", low + static_cast<int64_t>(Below(1 + Below(5000)))}};
  }

  nlohmann::ordered_json String() {
    const uint64_t least = Below(5);
    return {{"type", "string"}, {"minLength", least}, {"maxLength", least + Below(20)}};
  }

  nlohmann::ordered_json Object(int depth, uint64_t members_max) {
    nlohmann::ordered_json schema = {{"type", "object"},
                                     {"properties", nlohmann::ordered_json::object()},
                                     {"required", nlohmann::ordered_json::array()}};
    const uint64_t members = Below(members_max + 1);
    for (uint64_t i = 0; i < members; ++i) {
      const std::string name = Name();
      if (schema["properties"].contains(name)) continue;
      schema["properties"][name] = Value(depth + 1);
      if (Below(2) == 0) schema["required"].push_back(name);
    }
    if (Below(2) == 0) schema["additionalProperties"] = false;
    return schema;
  }

  /// Short, often a prefix of another one, sometimes beyond ASCII.
  std::string Name() {
    std::string name;
    for (uint64_t i = 0; i <= Below(4); ++i) name += "abc_-"[Below(5)];
    if (Below(8) == 0) name += "é";
    return name;
  }

  std::mt19937_64 random_;
};

}  // namespace baleen
