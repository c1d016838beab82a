// What is sent to a chat endpoint: a conversation as the JSON of `POST /chat/completions`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/engine_options.h"
#include "runtime/session.h"
#include "tools_sdk/message.h"
#include "tools_sdk/status.h"
#include "tools_sdk/tool.h"

namespace baleen {

/// One generation, as a conversation has it.
struct ChatRequest {
  std::string system;             ///< May be empty.
  std::vector<Message> messages;  ///< In order; calls and results by ids that are unique in it.
  std::vector<ToolSpec> tools;
  SamplingSettings sampling;
  std::string reasoning_effort;  ///< "": none is named.
  std::string tool_choice = "auto";
  std::string answer_schema;  ///< JSON Schema of the answer; empty: free text.
  int64_t tokens_max = 0;
};

/// As UTF-8 JSON. Adjacent user messages are joined by a blank line, which some servers' templates
/// ask for. Nothing of `options` but the model's name, `extra` and `pass_reasoning` is in it.
std::string ChatRequestJson(const ChatRequest& request, const RemoteEngineOptions& options);

}  // namespace baleen
