// What an agent asks of the world (Effect) and what the world tells it (AgentEvent).
//
// Values only. The runtime performs effects and journals events; replaying the same events into a
// fresh agent yields the same effects.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tools_sdk/message.h"
#include "tools_sdk/status.h"

namespace baleen {

/// Append messages to the context, then let the model write one assistant message.
struct GenerateEffect {
  std::vector<Message> append;  ///< User and tool messages only; in order.
  int64_t tokens_max = 0;       ///< 0: the turn's default.
  std::optional<float> temperature;
  std::optional<uint64_t> seed;
  // What the generation is kept to; unset: the turn's (runtime/session.h, ConstraintSettings).
  std::optional<std::string> tool_choice;
  std::optional<std::string> answer_schema;
  std::optional<int64_t> thinking_tokens;
};

/// What the default loop asks first: the user says `text`.
GenerateEffect UserSays(std::string_view text);

/// Run these calls; results come back in the same order.
struct CallToolsEffect {
  std::vector<ToolCall> calls;
};

/// The turn is over.
struct FinishEffect {
  std::string text;
};

using Effect = std::variant<GenerateEffect, CallToolsEffect, FinishEffect>;

/// A turn begins with what the user said.
struct UserTurnEvent {
  std::string text;
};

enum class FinishReason { kStop, kLength, kToolCalls };

struct GeneratedEvent {
  Message message;  ///< Role assistant. Tool calls carry ids.
  FinishReason reason = FinishReason::kStop;
  std::string parse_error;  ///< Not empty: the text did not parse; `message.content` holds it raw.
  int64_t tokens = 0;
};

struct ToolResultsEvent {
  std::vector<ToolResult> results;
};

using AgentEvent = std::variant<UserTurnEvent, GeneratedEvent, ToolResultsEvent>;

/// Messages as a JSON array, all members of each. Errors: as AgentEventFromJson.
std::string MessagesToJson(const std::vector<Message>& messages);
Result<std::vector<Message>> MessagesFromJson(std::string_view json);

/// JSON text with a "kind" member; stable member order, so that equal values give equal text.
/// What is empty or zero is left out.
std::string EffectToJson(const Effect& effect);
/// Whether `recorded`, text that this or an older EffectToJson gave, is of an equal effect.
bool IsRecordedEffect(const Effect& effect, std::string_view recorded);
std::string AgentEventToJson(const AgentEvent& event);
/// Errors: INVALID_ARGUMENT naming the member. Sizes are bounded by the caller.
Result<AgentEvent> AgentEventFromJson(std::string_view json);

}  // namespace baleen
