// Assertions on Status and Result for Catch.
#pragma once

#include <catch2/catch.hpp>

#include "tools_sdk/status.h"

#define REQUIRE_OK(expr)                              \
  do {                                                \
    const ::baleen::Status checked_ = StatusOf(expr); \
    INFO(checked_.ToString());                        \
    REQUIRE(checked_.ok());                           \
  } while (false)

/// The code, and words that the message must contain.
#define REQUIRE_ERROR(expr, expected_code, words)                 \
  do {                                                            \
    const ::baleen::Status checked_ = StatusOf(expr);             \
    INFO(checked_.ToString());                                    \
    REQUIRE(checked_.code() == (expected_code));                  \
    REQUIRE(checked_.message().find(words) != std::string::npos); \
  } while (false)

namespace baleen {
inline Status StatusOf(const Status& status) { return status; }
template <typename T>
Status StatusOf(const Result<T>& result) {
  return result.status();
}

/// The value, or a test failure that shows the status.
template <typename T>
T Must(Result<T> result) {
  INFO(result.status().ToString());
  REQUIRE(result.ok());
  return std::move(*result);
}
}  // namespace baleen
