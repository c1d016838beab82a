#include "runtime/c/json_request.h"

#include <algorithm>
#include <utility>

#include "tools_sdk/json_text.h"

namespace baleen::c {
namespace {

constexpr size_t kRequestBytesMax = size_t{128} << 20;

bool IsText(const Json& value) { return value.is_string(); }
bool IsInteger(const Json& value) {
  return value.is_number_integer() &&
         (!value.is_number_unsigned() || value.get<uint64_t>() <= uint64_t{INT64_MAX});
}
bool IsTruth(const Json& value) { return value.is_boolean(); }
bool IsTexts(const Json& value) {
  return value.is_array() && std::all_of(value.begin(), value.end(), IsText);
}

}  // namespace

JsonRequest::JsonRequest(const char* text, const char* what) : json_(Json::object()), what_(what) {
  const std::string_view view = text == nullptr ? "" : text;
  if (view.empty()) return;
  if (view.size() > kRequestBytesMax) {
    Fail("longer than " + std::to_string(kRequestBytesMax) + " bytes");
    return;
  }
  json_ = Json::parse(view, nullptr, /*allow_exceptions=*/false);
  if (!json_.is_object()) Fail("expected the text of a JSON object in UTF-8");
}

JsonRequest::JsonRequest(Json json, const char* what) : json_(std::move(json)), what_(what) {
  if (!json_.is_object()) Fail("expected an object, got " + ShownJson(json_));
}

void JsonRequest::Fail(const std::string& why) {
  if (status_.ok()) status_ = InvalidArgumentError(std::string(what_) + ": " + why, "BAD_FIELD");
}

void JsonRequest::Note(const Status& status) {
  if (status_.ok() && !status.ok()) {
    status_ = InvalidArgumentError(std::string(what_) + ": " + status.message(), "BAD_FIELD");
  }
}

const Json* JsonRequest::Find(const char* name) {
  asked_.insert(name);
  if (!json_.is_object()) return nullptr;
  const auto found = json_.find(name);
  return found == json_.end() ? nullptr : &*found;
}

template <typename T, typename Is>
void JsonRequest::Take(const char* name, T* out, Is is, const char* expected) {
  const Json* value = Find(name);
  if (value == nullptr) return;
  if (!is(*value)) {
    return Fail("member \"" + std::string(name) + "\": expected " + expected + ", got " +
                ShownJson(*value));
  }
  *out = value->get<T>();
}

void JsonRequest::Get(const char* name, std::string* out) { Take(name, out, IsText, "a text"); }
void JsonRequest::Get(const char* name, int64_t* out) { Take(name, out, IsInteger, "an integer"); }
void JsonRequest::Get(const char* name, bool* out) { Take(name, out, IsTruth, "true or false"); }
void JsonRequest::Get(const char* name, std::vector<std::string>* out) {
  Take(name, out, IsTexts, "an array of texts");
}

void JsonRequest::Need(const char* name, std::string* out) {
  Get(name, out);
  if (out->empty()) Fail("member \"" + std::string(name) + "\" is missing or empty");
}

Status JsonRequest::Finish() {
  if (!status_.ok()) return status_;
  for (const auto& [name, value] : json_.items()) {
    if (asked_.contains(name)) continue;
    std::string known;
    for (const std::string& member : asked_) known += (known.empty() ? "" : ", ") + member;
    Fail("unknown member \"" + name + "\"; known: " + (known.empty() ? "none" : known));
  }
  return status_;
}

}  // namespace baleen::c
