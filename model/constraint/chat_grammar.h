// The grammar of one assistant message: reasoning, then text, calls or an answer by schema.
//
// Calls follow the chat encoding's markup exactly as the strict parser reads it
// (model/text/chat_parser.h); names come from the declared tools, arguments obey their schemas.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/constraint/grammar.h"
#include "model/text/chat_encoder.h"
#include "tools_sdk/status.h"
#include "tools_sdk/tool.h"

namespace baleen {

/// Calls that one message may hold; what a script may dispatch at once.
inline constexpr uint32_t kCallsPerMessageMax = 128;

enum class ToolChoice {
  kNone,      ///< No calls.
  kAuto,      ///< The model decides: text, and then maybe calls.
  kRequired,  ///< Calls at once, of any tool.
  kNamed,     ///< One call of one tool.
};

struct ChatShape {
  ThinkingMode thinking = ThinkingMode::kChat;
  ToolChoice choice = ToolChoice::kAuto;
  std::string tool;  ///< kNamed only.
  std::vector<ToolSpec> tools;
  std::string answer_schema;  ///< JSON Schema of a final answer; empty: free text.
};

/// Errors: INVALID_ARGUMENT (a schema that can't be read; kRequired without tools; kNamed without
/// that tool), FAILED_PRECONDITION/UNSATISFIABLE naming the tool or the answer,
/// RESOURCE_EXHAUSTED/SCHEMA_TOO_LARGE.
Result<std::shared_ptr<const Grammar>> CompileChat(const ChatShape& shape);

}  // namespace baleen
