// Chat encoding: messages -> segments, in DeepSeek-V4's preview and 0731 dialects.
//
// Full rendering reproduces DeepSeek's reference encoder byte for byte. Incremental rendering
// appends one turn's suffix to a live context and never rewrites what was rendered before. Produces
// segments, not ids (tokenizer.h). Called by the engine's sessions and the command line.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/config.h"
#include "model/text/tokenizer.h"
#include "tools_sdk/message.h"
#include "tools_sdk/status.h"

namespace baleen {

enum class ThinkingMode { kChat, kThinking };

/// Renders a request given as JSON text, `{"messages":[...],"kwargs":{...}}`, exactly as the
/// reference; kwargs are its keyword arguments, `thinking_mode` is required. An array `tools`
/// beside `messages` is attached to the first message if that is system or developer, else to one
/// put before it. All of the messages' own text is data, never control. Source: DeepSeek-V4,
/// encoding/encoding_dsv4.py, encode_messages. Errors: INVALID_ARGUMENT naming the message and
/// field.
Result<std::vector<Segment>> RenderRequest(std::string_view request_json, ChatDialect dialect,
                                           const Tokenizer& tokenizer);

/// The literal text of segments: control tokens by their string.
Result<std::string> SegmentsText(const std::vector<Segment>& segments, const Tokenizer& tokenizer);

/// Control ids, looked up by string in the loaded tokenizer.
struct ControlIds {
  int32_t bos = -1;
  int32_t eos = -1;
  int32_t user = -1;
  int32_t assistant = -1;
  int32_t think_open = -1;
  int32_t think_close = -1;
  int32_t dsml = -1;
  int32_t latest_reminder = -1;

  /// Errors: NOT_FOUND naming the missing token; DATA_LOSS if a 129,280-entry vocabulary has other
  /// ids.
  static Result<ControlIds> Lookup(const Tokenizer& tokenizer);
};

/// What opens a session's context.
struct ContextStart {
  std::string system;              ///< May be empty.
  std::vector<std::string> tools;  ///< Function objects as JSON text.
  ThinkingMode thinking = ThinkingMode::kChat;
  std::string reasoning_effort;  ///< "", "low", "high", "max" (per dialect).
};

/// Append-only rendering of a live session: reasoning is kept, nothing earlier is rewritten, so the
/// concatenation of all suffixes equals RenderRequest of the whole conversation with
/// drop_thinking=false.
class SessionEncoder {
 public:
  /// Errors: NOT_FOUND for missing control tokens; INVALID_ARGUMENT for an unknown dialect.
  static Result<SessionEncoder> Create(const Tokenizer& tokenizer, ChatDialect dialect);

  /// Whether Start can render this: an effort that the dialect knows, tools that are JSON objects.
  /// Ask once, when a session is created.
  /// Errors: INVALID_ARGUMENT naming the field.
  Status Check(const ContextStart& start) const;

  /// BOS, effort prefix, system text, tools. What Check refuses is left out (effort) or written as
  /// it is (tools).
  std::vector<Segment> Start(const ContextStart& start) const;

  /// User turn made of user text and/or tool results (already in call order), with the generation
  /// prompt. Reminders go before the user message. Assistant messages, for an imported history, are
  /// rendered as the reference does, reasoning included. `previous_needs_eos`: the assistant's last
  /// token wasn't EOS.
  std::vector<Segment> UserTurn(const std::vector<Message>& messages, ThinkingMode thinking,
                                bool previous_needs_eos) const;

  const ControlIds& ids() const { return ids_; }

 private:
  ControlIds ids_;
  ChatDialect dialect_ = ChatDialect::k0731;
};

}  // namespace baleen
