// What is behind the opaque handles of baleen.h, and the border that no exception crosses.
#pragma once

#include <baleen/baleen.h>

#include <memory>
#include <string>
#include <string_view>

#include "runtime/runtime.h"
#include "tools_sdk/status.h"

struct baleen_error {
  baleen::Status status;
};

struct baleen_options {
  baleen::RuntimeOptions options;
};

struct baleen_runtime {
  /// Owners: this, and the watches and tool hosts that were begun on it.
  std::shared_ptr<baleen::Runtime> runtime;
};

namespace baleen::c {

/// Hands a status out: its code, and an object if the caller wants one.
int Return(const Status& status, baleen_error** error);

/// Copies a text out for baleen_string_free; nowhere, if the caller doesn't want it.
Status ReplyText(std::string_view text, char** out);

Status CatchAll() noexcept;

/// Runs a body that returns a Status; what it throws (memory, above all) becomes one, too.
template <typename Body>
int Guard(baleen_error** error, Body body) noexcept {
  if (error != nullptr) *error = nullptr;
  Status status;
  try {
    status = body();
  } catch (...) {
    status = CatchAll();
  }
  return Return(status, error);
}

}  // namespace baleen::c
