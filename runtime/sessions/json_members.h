// JsonMembers: reads the members of an object that the journal keeps.
//
// Strict about types, lenient about unknown members: newer versions add some.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tools_sdk/status.h"

namespace baleen {

/// Reads members of one JSON object and remembers the first thing that was wrong.
class JsonMembers {
 public:
  using Json = nlohmann::ordered_json;

  JsonMembers(std::string_view json, const char* what) : what_(what) {
    json_ = Json::parse(json, nullptr, false);
    if (!json_.is_object()) Fail("not a JSON object");
  }
  JsonMembers(const Json& json, const char* what) : json_(json), what_(what) {
    if (!json_.is_object()) Fail("not a JSON object");
  }

  void Get(const char* name, std::string* out) {
    const Json* value = Find(name);
    if (value == nullptr) return;
    if (!value->is_string()) return Wrong(name, "a string");
    *out = value->get<std::string>();
  }
  void Get(const char* name, int64_t* out) {
    const Json* value = Find(name);
    if (value == nullptr) return;
    if (!value->is_number_integer()) return Wrong(name, "an integer");
    *out = value->get<int64_t>();
  }
  void Get(const char* name, int32_t* out) {
    int64_t wide = *out;
    Get(name, &wide);
    *out = static_cast<int32_t>(wide);
  }
  void Get(const char* name, uint64_t* out) {
    const Json* value = Find(name);
    if (value == nullptr) return;
    if (!value->is_number_integer()) return Wrong(name, "an integer");
    *out = value->get<uint64_t>();
  }
  void Get(const char* name, double* out) {
    const Json* value = Find(name);
    if (value == nullptr) return;
    if (!value->is_number()) return Wrong(name, "a number");
    *out = value->get<double>();
  }
  void Get(const char* name, float* out) {
    double wide = *out;
    Get(name, &wide);
    *out = static_cast<float>(wide);
  }
  void Get(const char* name, bool* out) {
    const Json* value = Find(name);
    if (value == nullptr) return;
    if (!value->is_boolean()) return Wrong(name, "true or false");
    *out = value->get<bool>();
  }
  /// An array of texts.
  void Get(const char* name, std::vector<std::string>* out) {
    const Json* value = Array(name);
    if (value == nullptr) return;
    for (const Json& entry : *value) {
      if (!entry.is_string()) return Wrong(name, "an array of strings");
      out->push_back(entry.get<std::string>());
    }
  }
  const Json* Array(const char* name) {
    const Json* value = Find(name);
    if (value != nullptr && !value->is_array()) {
      Wrong(name, "an array");
      return nullptr;
    }
    return value;
  }
  const Json* Find(const char* name) const {
    if (!status_.ok()) return nullptr;
    const auto found = json_.find(name);
    return found == json_.end() ? nullptr : &*found;
  }
  void Wrong(const char* name, const char* expected) {
    Fail(std::string("member '") + name + "': expected " + expected);
  }
  void Fail(const std::string& why) {
    if (status_.ok()) status_ = DataLossError(std::string(what_) + ": " + why);
  }
  const Status& status() const { return status_; }

 private:
  Json json_;
  const char* what_;
  Status status_;
};

}  // namespace baleen
