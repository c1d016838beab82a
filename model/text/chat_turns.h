// Messages on their way into a prompt: read from JSON or taken from a session, fused into turns,
// tool results put into call order.
//
// Writes no prompt text (chat_encoder.cc does). Internal to the chat encoder.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/text/json_value.h"
#include "tools_sdk/message.h"
#include "tools_sdk/status.h"

namespace baleen {

/// Part of a user turn.
struct TurnBlock {
  bool is_result = false;
  std::string text;
  std::string call_id;  ///< Results only.
};

struct TurnParameter {
  std::string name;
  std::string value;
  bool is_string = false;  ///< Raw text; else JSON.
};

struct TurnCall {
  std::string id;
  std::string name;
  std::vector<TurnParameter> parameters;
};

/// One message as the renderer sees it.
struct Turn {
  std::string role;
  std::string content;
  std::string reasoning;
  std::vector<TurnBlock> blocks;   ///< User only.
  std::vector<TurnCall> calls;     ///< Assistant only.
  std::vector<std::string> tools;  ///< Function objects, as JSON text.
  std::string response_format;     ///< JSON text; empty: none.
  std::optional<std::string> task;
  bool without_eos = false;
};

/// Reads an array of OpenAI-like messages; results in one Turn per message, not fused.
/// Errors: INVALID_ARGUMENT naming the message and field.
Result<std::vector<Turn>> ReadTurns(const JsonValue& messages, std::string_view where);

/// The same for one message of a session. Tool schemas that aren't JSON are kept as they are.
Turn MakeTurn(const Message& message);

/// Attaches request-level tools to the first message if that is system or developer, else puts a
/// system message before all.
Status AttachTools(const JsonValue& tools, std::vector<Turn>* turns);

/// Fuses consecutive user and tool messages into user turns.
std::vector<Turn> FuseTurns(std::vector<Turn> turns);

/// Puts the results inside each turn into the order of the calls they answer. `before` only
/// supplies calls; it isn't changed.
void SortResults(const std::vector<Turn>& before, std::vector<Turn>* turns);

}  // namespace baleen
