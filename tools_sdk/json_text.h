// JSON values as text that is always valid UTF-8, for lines and for messages.
//
// Templates, so that the SDK's other headers name no JSON library. Texts are UTF-8 by contract; a
// broken byte becomes U+FFFD and must not throw.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>

#include "tools_sdk/utf8.h"

namespace baleen {

/// On one line. Json: nlohmann::json or nlohmann::ordered_json.
template <typename Json>
std::string JsonText(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// As a message shows a value: at most `bytes_max` bytes, a longer text ends in "...".
template <typename Json>
std::string ShownJson(const Json& value, size_t bytes_max = 80) {
  const std::string text = JsonText(value);
  if (text.size() <= bytes_max) return text;
  return std::string(Utf8Prefix(text, bytes_max - 3)) + "...";
}

}  // namespace baleen
