// AnswerTokens: a remote answer as tokens of the local tokenizer, piece by piece.
//
// Writes it as the local model would have: reasoning, its end, content, calls, end of sentence. So
// histories, cuts, exports and training samples of a session are the same wherever it thinks.
#pragma once

#include <cstdint>
#include <vector>

#include "model/text/chat_encoder.h"
#include "model/text/tokenizer.h"
#include "runtime/remote/chat_answer.h"

namespace baleen {

class AnswerTokens {
 public:
  /// `thinking`: the prompt ended inside reasoning. Borrows: tokenizer, encoder.
  AnswerTokens(const Tokenizer& tokenizer, const SessionEncoder& encoder, bool thinking)
      : tokenizer_(&tokenizer), encoder_(&encoder), reasoning_(thinking) {}

  /// All text is data: no control token can come of it. Errors: as Tokenizer::Encode.
  Result<std::vector<int32_t>> Push(const AnswerText& text);
  /// What closes the answer: its calls, and the end of sentence unless the token limit cut it.
  Result<std::vector<int32_t>> Finish(const ChatAnswer& answer);

 private:
  void Close(std::vector<Segment>* segments);

  const Tokenizer* tokenizer_;
  const SessionEncoder* encoder_;
  bool reasoning_;  ///< The context stands inside reasoning.
};

}  // namespace baleen
