// Strict parsing of completions: text -> reasoning, content, tool calls. Incremental, and invariant
// under any split of the input.
//
// Repairs nothing and validates no arguments. Called by the engine's sessions and the command line.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/text/chat_encoder.h"
#include "tools_sdk/message.h"
#include "tools_sdk/status.h"

namespace baleen {

/// Parses a whole completion, EOS included, as DeepSeek's reference parser does. Stricter in one
/// point: text that ends inside the calls block is an error wherever it ends (the reference lets
/// two such places pass), since half a batch of calls must not run. Arguments given as JSON are
/// copied without validation. Errors: INVALID_ARGUMENT with the byte offset and what was expected;
/// reason REASONING_UNFINISHED, EOS_MISSING or CALLS_UNFINISHED if the text was cut short, else
/// CHAT_SYNTAX. Source: DeepSeek-V4, encoding/encoding_dsv4.py, parse_message_from_completion_text.
Result<Message> ParseCompletion(std::string_view text, ThinkingMode mode);

/// What became certain with the last piece of text.
struct ChatDelta {
  std::string reasoning;
  std::string content;
  std::vector<ToolCall> finished_calls;  ///< `id` left empty.
};

/// Feeds on detokenised text (control tokens as literals). Holds back what might be markup. How the
/// text is cut into pieces makes no difference to the message, to an error, or to the joined
/// deltas. Once the text is wrong, nothing more is emitted. Threads: one at a time.
class StreamingChatParser {
 public:
  explicit StreamingChatParser(ThinkingMode mode);
  ~StreamingChatParser();
  StreamingChatParser(StreamingChatParser&&) noexcept;
  StreamingChatParser& operator=(StreamingChatParser&&) noexcept;

  ChatDelta Push(std::string_view text);
  /// The whole message, as ParseCompletion of everything pushed. At most once.
  Result<Message> Finish();

  /// Releases as text what is held back, for a stream that was cut short and gets no Finish.
  /// Unfinished calls are dropped.
  ChatDelta Flush();
  /// All that the deltas carried so far, as one message.
  const Message& partial() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace baleen
