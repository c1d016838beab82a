// Fields: one JSON object of a config.json, read field by field.
//
// Knows types and missing fields, not what they mean. Internal to config_json.cc.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "tools_sdk/json_text.h"
#include "tools_sdk/status.h"

namespace baleen {

/// Remembers the first complaint, so that the mapping of fields reads as a table.
class Fields {
 public:
  Fields(const nlohmann::json& object, std::string prefix)
      : object_(object), prefix_(std::move(prefix)) {}

  const nlohmann::json* Find(const char* key) const {
    auto it = object_.find(key);
    return it == object_.end() || it->is_null() ? nullptr : &*it;
  }

  void Int(const char* key, int64_t* out) {
    if (Require(key)) OptionalInt(key, out);
  }

  void OptionalInt(const char* key, int64_t* out) {
    const nlohmann::json* value = Find(key);
    if (value == nullptr) return;
    if (!value->is_number_integer() ||
        (value->is_number_unsigned() &&
         value->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX))) {
      return Complain(key, "an integer", ShownJson(*value));
    }
    *out = value->get<int64_t>();
  }

  template <typename Real>
  void Number(const char* key, Real* out) {
    if (Require(key)) OptionalNumber(key, out);
  }

  template <typename Real>
  void OptionalNumber(const char* key, Real* out) {
    const nlohmann::json* value = Find(key);
    if (value == nullptr) return;
    if (!value->is_number() ||
        !(std::abs(value->get<double>()) <= std::numeric_limits<Real>::max())) {
      return Complain(key, "a finite number", ShownJson(*value));
    }
    *out = static_cast<Real>(value->get<double>());
  }

  void OptionalString(const char* key, std::string* out) {
    const nlohmann::json* value = Find(key);
    if (value == nullptr) return;
    if (!value->is_string()) return Complain(key, "a string", ShownJson(*value));
    *out = value->get<std::string>();
  }

  // For switches of which only one position is implemented.
  void Fixed(const char* key, const nlohmann::json& expected) {
    const nlohmann::json* value = Find(key);
    if (value != nullptr && *value != expected)
      Complain(key, ShownJson(expected), ShownJson(*value));
  }

  // Null unless the key holds an object.
  const nlohmann::json* Object(const char* key) {
    const nlohmann::json* value = Find(key);
    if (value == nullptr || value->is_object()) return value;
    Complain(key, "an object", ShownJson(*value));
    return nullptr;
  }

  void Complain(const std::string& key, const std::string& expected, const std::string& got) {
    Fail(InvalidArgumentError("config.json: " + prefix_ + key + ": expected " + expected +
                              ", got " + got));
  }
  void Fail(Status status) {
    if (status_.ok()) status_ = std::move(status);
  }
  const Status& status() const { return status_; }

 private:
  bool Require(const char* key) {
    if (Find(key) != nullptr) return true;
    Complain(key, "a value", "nothing (the field is missing)");
    return false;
  }

  const nlohmann::json& object_;
  std::string prefix_;
  Status status_;
};

}  // namespace baleen
