// ChatAnswerReader: one answer of a chat endpoint, out of the JSON that its stream carries.
//
// Everything in it is hostile: bounded, checked, and turned into text, calls and an end, or into a
// status. Runs nothing and repairs no arguments. Fuzzed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "agent/effect.h"
#include "tools_sdk/message.h"
#include "tools_sdk/status.h"

namespace baleen {

/// Text that came with one piece.
struct AnswerText {
  std::string reasoning;
  std::string content;

  bool empty() const { return reasoning.empty() && content.empty(); }
};

/// The engine's own count; -1: it didn't say.
struct AnswerUsage {
  int64_t prompt_tokens = -1;
  int64_t cached_tokens = -1;  ///< Of the prompt's.
  int64_t completion_tokens = -1;
};

struct ChatAnswer {
  Message message;  ///< Role assistant; calls without ids.
  FinishReason reason = FinishReason::kStop;
  AnswerUsage usage;
  /// Not empty: calls came that can't be read, for the model to be told. None of them is in
  /// `message`.
  std::string fault;
  bool calls_cut = false;          ///< The token limit cut the calls: none of them is in `message`.
  std::vector<std::string> notes;  ///< What was not as documented, and read all the same.
};

class ChatAnswerReader {
 public:
  struct Limits {
    size_t text_bytes_max = 16 << 20;  ///< Of content, reasoning and arguments together.
    size_t calls_max = 128;
  };
  explicit ChatAnswerReader(const Limits& limits) : limits_(limits) {}

  /// One chunk (`chat.completion.chunk`), or a whole answer (`chat.completion`); "[DONE]".
  /// Errors: UNAVAILABLE/ENGINE_FAULT (the server reports an error inside the stream),
  /// INVALID_ARGUMENT/ENGINE_GARBAGE, RESOURCE_EXHAUSTED/ANSWER_TOO_LARGE,
  /// PERMISSION_DENIED/ENGINE_REFUSED (its content filter).
  Result<AnswerText> Push(std::string_view data);
  /// The answer's end has been said.
  bool ended() const { return finished_ || done_; }
  bool done() const { return done_; }             ///< Nothing more is to come.
  bool begun() const { return text_bytes_ > 0; }  ///< Something of the answer has come.
  /// Takes what has come as an answer that the token limit ended.
  void CutHere();
  /// Of all that came. Errors: UNAVAILABLE/ENGINE_BROKEN_OFF before its end; what Push ended with.
  Result<ChatAnswer> Finish() const;

 private:
  struct Call {
    int64_t index = 0;
    std::string id;
    std::string name;
    std::string arguments;
  };
  struct Piece;

  Status TakeChoice(const Piece& choice, AnswerText* text);
  Status TakeText(const Piece& delta, AnswerText* text);
  Status TakeCalls(const Piece& delta);
  Status TakeCall(const Piece& entry);
  Status TakeFinish(const std::string& reason);
  void TakeUsage(const Piece& usage);
  Status Count(size_t bytes);

  Limits limits_;
  size_t text_bytes_ = 0;
  std::string content_;
  std::string reasoning_;
  std::vector<Call> calls_;
  std::string finish_;
  AnswerUsage usage_;
  bool finished_ = false;
  bool done_ = false;
  Status failure_;
};

/// What an answer that isn't 200 says, as a status: UNAUTHENTICATED/ENGINE_REFUSED (401),
/// PERMISSION_DENIED/ENGINE_REFUSED (402, 403), NOT_FOUND/ENGINE_REFUSED,
/// RESOURCE_EXHAUSTED/ENGINE_BUSY (429), UNAVAILABLE/ENGINE_FAULT (5xx, 408), OUT_OF_RANGE/
/// CONTEXT_FULL (the prompt is too long, as far as that can be told), else
/// INVALID_ARGUMENT/ENGINE_REFUSED.
Status ErrorOfAnswer(int http_status, std::string_view body);

}  // namespace baleen
