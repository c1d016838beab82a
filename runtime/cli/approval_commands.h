// What `baleen chat` shares with `baleen approvals`.
#pragma once

#include <string>

#include "runtime/runtime.h"
#include "tools_sdk/status.h"

namespace baleen::cli {

/// Shows a pending approval on stderr, reads an answer from stdin, and gives it. OK also if
/// somebody else answered meanwhile, or input ended.
Status AskOnTerminal(Runtime& runtime, const std::string& session, const std::string& name);

}  // namespace baleen::cli
