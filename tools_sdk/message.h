// The value types of a conversation, shared by agent, model, tools and runtime.
//
// Plain structs. JSON travels as UTF-8 text, so that no public header names a JSON library.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace baleen {

enum class Role { kSystem, kDeveloper, kUser, kAssistant, kTool, kLatestReminder };

/// One call that the model (or a script) asks for.
struct ToolCall {
  std::string id;         ///< Unique within the session; assigned by the runtime, opaque.
  std::string name;       ///< Tool name.
  std::string arguments;  ///< JSON object text, members in the caller's order.
};

/// How a call ended. Journalled by name: don't renumber, don't rename.
enum class ToolOutcome : int {
  kOk = 0,
  kError = 1,
  kDenied = 2,
  kTimeout = 3,
  kAborted = 4,                ///< Its body had begun, and has no effects.
  kUnknown = 5,                ///< Dispatched, and nobody knows whether the effect happened.
  kAbortedBeforeDispatch = 6,  ///< Its body never began.
};

/// "OK", "ERROR", "DENIED", "TIMEOUT", "ABORTED", "UNKNOWN",
/// "ABORTED_BEFORE_DISPATCH".
const char* ToolOutcomeName(ToolOutcome outcome);

/// A file that a call changed.
struct ChangedFile {
  std::string path;           ///< Below the workspace.
  std::string before, after;  ///< SHA-256 in hex; empty: there was no file.
};

struct ToolResult {
  std::string call_id;
  ToolOutcome outcome = ToolOutcome::kOk;
  std::string content;        ///< UTF-8 text for the model.
  int64_t content_bytes = 0;  ///< Size before truncation; 0 means content.size().
  /// Written down by the runtime, for hosts and for a rewind of files.
  std::vector<ChangedFile> files = {};
};

/// One message. Which fields apply depends on the role (model/text/chat_encoder.h).
struct Message {
  Role role = Role::kUser;
  std::string content;
  std::string reasoning;             ///< Assistant only.
  std::vector<ToolCall> tool_calls;  ///< Assistant only.
  std::string tool_call_id;          ///< Tool only.
  std::vector<std::string> tools;    ///< System/developer: function objects as JSON text.
};

}  // namespace baleen
