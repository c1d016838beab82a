// ConfigReader: one JSON object of a training config, read field by field; nothing is overlooked.
//
// Every field has bounds, and a field that nobody asked for is an error: a misspelt "warmup_step"
// must not become a silent default. Knows no meanings. Used by train_config and source_registry.
#pragma once

#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tools_sdk/json_text.h"
#include "tools_sdk/status.h"

namespace baleen::training {

/// Remembers the first complaint, so that the mapping of fields reads as a table.
/// Borrows: the object.
class ConfigReader {
 public:
  using Json = nlohmann::json;

  /// `path` begins every message: "stages[2]." or empty.
  ConfigReader(const Json& object, std::string path) : object_(object), path_(std::move(path)) {
    if (!object.is_object()) Complain("", "an object", ShownJson(object));
  }

  const Json* Find(const std::string& key) {
    asked_.insert(key);
    if (!object_.is_object()) return nullptr;
    const auto it = object_.find(key);
    return it == object_.end() ? nullptr : &*it;
  }
  const Json* Require(const std::string& key) {
    const Json* value = Find(key);
    if (value == nullptr) Complain(key, "a value", "nothing (the field is missing)");
    return value;
  }

  void Int(const std::string& key, int64_t* out, int64_t low, int64_t high) {
    const Json* value = Find(key);
    if (value == nullptr) return;
    const bool huge =
        value->is_number_unsigned() && value->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX);
    if (!value->is_number_integer() || huge || value->get<int64_t>() < low ||
        value->get<int64_t>() > high) {
      return Complain(key, "an integer from " + std::to_string(low) + " to " + std::to_string(high),
                      ShownJson(*value));
    }
    *out = value->get<int64_t>();
  }
  void RequiredInt(const std::string& key, int64_t* out, int64_t low, int64_t high) {
    if (Require(key) != nullptr) Int(key, out, low, high);
  }

  template <typename Real>
  void Number(const std::string& key, Real* out, double low, double high) {
    const Json* value = Find(key);
    if (value == nullptr) return;
    const double number = value->is_number() ? value->get<double>() : NAN;
    if (!(number >= low && number <= high)) {
      return Complain(key, "a number from " + ShownJson(Json(low)) + " to " + ShownJson(Json(high)),
                      ShownJson(*value));
    }
    *out = static_cast<Real>(number);
  }

  void Bool(const std::string& key, bool* out) {
    const Json* value = Find(key);
    if (value == nullptr) return;
    if (!value->is_boolean()) return Complain(key, "true or false", ShownJson(*value));
    *out = value->get<bool>();
  }

  void Text(const std::string& key, std::string* out) {
    const Json* value = Find(key);
    if (value == nullptr) return;
    if (!value->is_string()) return Complain(key, "a string", ShownJson(*value));
    *out = value->get<std::string>();
  }

  /// One of `names`; `*out` becomes its place.
  template <typename Enum>
  void Choice(const std::string& key, const std::vector<std::string>& names, Enum* out) {
    const Json* value = Find(key);
    if (value == nullptr) return;
    std::string expected;
    for (size_t i = 0; i < names.size(); ++i) {
      if (value->is_string() && *value == names[i]) {
        *out = static_cast<Enum>(i);
        return;
      }
      expected += (i == 0 ? "\"" : i + 1 == names.size() ? " or \"" : ", \"") + names[i] + "\"";
    }
    Complain(key, expected, ShownJson(*value));
  }

  void Complain(const std::string& key, const std::string& expected, const std::string& got) {
    std::string where = path_ + key;
    if (where.ends_with('.')) where.pop_back();
    Fail(InvalidArgumentError("training config: " + (where.empty() ? "" : where + ": ") +
                              "expected " + expected + ", got " + got));
  }
  void Fail(Status status) {
    if (status_.ok()) status_ = std::move(status);
  }
  const std::string& path() const { return path_; }

  /// The first complaint; if there is none, about the first field that nobody asked for.
  Status Finish() {
    if (status_.ok() && object_.is_object()) {
      for (const auto& item : object_.items()) {
        if (asked_.count(item.key()) != 0) continue;
        std::string known;
        for (const std::string& key : asked_) known += (known.empty() ? "" : ", ") + key;
        Complain(item.key(), "one of the fields " + known, "an unknown field");
        break;
      }
    }
    return status_;
  }

 private:
  const Json& object_;
  std::string path_;
  std::set<std::string> asked_;
  Status status_;
};

}  // namespace baleen::training
