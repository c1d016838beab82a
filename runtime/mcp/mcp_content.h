// What MCP's results say: of tools, of a call, of the server. Pure functions of JSON text. Fuzzed.
//
// All of it is the server's word: bounded, made valid UTF-8, and JSON written with its members
// sorted, so that the same definition is the same text however the server orders it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools_sdk/status.h"

namespace baleen {

inline constexpr size_t kMcpDescriptionBytesMax = 8192;
inline constexpr size_t kMcpSchemaBytesMax = 64 << 10;

/// The one revision without a handshake, and those with one that are spoken here, newest first.
inline constexpr std::string_view kMcpStateless = "2026-07-28";
const std::vector<std::string>& McpHandshakeVersions();

struct McpToolListing {
  std::string name;           ///< As the server has it.
  std::string description;    ///< A longer one is cut, and says so.
  std::string parameters;     ///< JSON Schema text.
  std::string output_schema;  ///< Of structured results; empty: none.
  std::string unfit;          ///< Why it can't be had; empty: it can.
};

struct McpToolPage {
  std::vector<McpToolListing> tools;
  std::string next_cursor;  ///< JSON text; empty: the last page.
};
/// Errors: INVALID_ARGUMENT (no list of tools).
Result<McpToolPage> ReadMcpToolPage(std::string_view result);

struct McpCallAnswer {
  bool is_error = false;
  /// The server wants to ask its user first (`input_required`); nothing else is set.
  bool wants_input = false;
  /// Text for the model: the parts a line apart; of what is no text, what it is.
  std::string content;
  std::string structured;  ///< JSON text; empty: none.
};
/// Structured output is part of `content` unless a part says the same already.
/// Errors: INVALID_ARGUMENT (no answer to a call).
Result<McpCallAnswer> ReadMcpCallAnswer(std::string_view result);

struct McpGreeting {
  std::vector<std::string> versions;  ///< Of `initialize` one, of `server/discover` all.
  std::string server;                 ///< "NAME VERSION", at most 200 bytes.
  bool has_tools = false;
};
/// The result of `initialize` or `server/discover`. Errors: INVALID_ARGUMENT (it names no version).
Result<McpGreeting> ReadMcpGreeting(std::string_view result);

/// The `supported` versions of an error's data; empty: none are named.
std::vector<std::string> ReadSupportedVersions(std::string_view error_body);

struct McpProgress {
  std::string token;  ///< JSON text.
  std::string text;   ///< "3 of 10: half way", at most 200 bytes.
  std::optional<double> done;
  std::optional<double> total;
  std::string message;  ///< "half way", at most 200 bytes.
};
/// Of `notifications/progress`. Errors: INVALID_ARGUMENT.
Result<McpProgress> ReadMcpProgress(std::string_view params);

}  // namespace baleen
