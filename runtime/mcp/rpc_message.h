// JSON-RPC 2.0 as MCP has it: messages read from text, and written.
//
// Knows no method. What a server sends is hostile: nesting is bounded, ids are compared as text.
// Fuzzed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tools_sdk/status.h"

namespace baleen {

struct RpcMessage {
  enum class Kind { kResult, kError, kRequest, kNotification };
  Kind kind = Kind::kNotification;
  std::string id;      ///< JSON text: `7`, `"x"`; empty: none, or null.
  std::string method;  ///< Of requests and notifications.
  /// JSON text: the result, the parameters, or the error's `data`; empty: none.
  std::string body;
  int64_t code = 0;  ///< Of an error.
  std::string text;  ///< Of an error; valid UTF-8 of at most 2 KiB.
};

/// Of one text: a message, or several in a list (protocol 2025-03-26).
/// Errors: INVALID_ARGUMENT: no JSON, nested over 64 deep, not of these kinds, over 256 messages.
Result<std::vector<RpcMessage>> ReadRpcMessages(std::string_view text);

/// `params`: JSON text. Without a line break.
std::string RpcRequest(int64_t id, const std::string& method, const std::string& params);
std::string RpcNotification(const std::string& method, const std::string& params);
/// The answer to a server's request: an empty result, or "method not found".
std::string RpcEmptyResult(const std::string& id);
std::string RpcRefusal(const std::string& id, const std::string& method);

/// Whether JSON text opens at most `depth_max` lists and objects inside each other.
bool NestsAtMost(std::string_view json, int depth_max);

/// Lines out of pieces of a stream cut anywhere.
class LineReader {
 public:
  explicit LineReader(size_t line_bytes_max) : limit_(line_bytes_max) {}

  /// Adds the lines that are whole now to `lines`, without their ends; empty ones are left out.
  /// Errors: RESOURCE_EXHAUSTED/ANSWER_TOO_LARGE; for good, once it was said.
  Status Push(std::string_view piece, std::vector<std::string>* lines);

 private:
  const size_t limit_;
  std::string line_;
  Status failure_;
};

}  // namespace baleen
