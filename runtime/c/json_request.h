// JsonRequest: reads the members of a request object, strictly.
//
// Remembers the first thing that was wrong; a member that nobody asked for is wrong, too, since a
// misspelt option that is ignored costs more than a refusal. Called by the C API's functions.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tools_sdk/status.h"

namespace baleen::c {

using Json = nlohmann::ordered_json;

class JsonRequest {
 public:
  /// `text` null or empty: an object without members. `what` names it in messages.
  JsonRequest(const char* text, const char* what);
  JsonRequest(Json json, const char* what);

  void Get(const char* name, std::string* out);
  void Get(const char* name, int64_t* out);
  void Get(const char* name, bool* out);
  /// An array of texts.
  void Get(const char* name, std::vector<std::string>* out);
  /// As Get, but must be there and not empty.
  void Need(const char* name, std::string* out);
  /// Null if absent.
  const Json* Find(const char* name);

  void Fail(const std::string& why);
  void Note(const Status& status);

  /// OK if every member was asked for and right. Errors: INVALID_ARGUMENT/BAD_FIELD.
  Status Finish();

 private:
  template <typename T, typename Is>
  void Take(const char* name, T* out, Is is, const char* expected);

  Json json_;
  const char* what_;
  std::set<std::string> asked_;
  Status status_;
};

}  // namespace baleen::c
