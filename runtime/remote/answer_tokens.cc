#include "runtime/remote/answer_tokens.h"

#include <utility>

namespace baleen {
namespace {

Segment Control(int32_t id) { return {Segment::Kind::kControl, id, ""}; }
Segment Data(const std::string& text) { return {Segment::Kind::kData, 0, text}; }

}  // namespace

void AnswerTokens::Close(std::vector<Segment>* segments) {
  if (!reasoning_) return;
  segments->push_back(Control(encoder_->ids().think_close));
  reasoning_ = false;
}

Result<std::vector<int32_t>> AnswerTokens::Push(const AnswerText& text) {
  std::vector<Segment> segments;
  if (!text.reasoning.empty()) {
    if (!reasoning_) segments.push_back(Control(encoder_->ids().think_open));
    reasoning_ = true;
    segments.push_back(Data(text.reasoning));
  }
  if (!text.content.empty()) {
    Close(&segments);
    segments.push_back(Data(text.content));
  }
  return tokenizer_->EncodeSegments(segments);
}

Result<std::vector<int32_t>> AnswerTokens::Finish(const ChatAnswer& answer) {
  std::vector<Segment> segments;
  if (answer.reason == FinishReason::kLength) return std::vector<int32_t>();
  Close(&segments);
  if (answer.message.tool_calls.empty()) {
    segments.push_back(Control(encoder_->ids().eos));
    return tokenizer_->EncodeSegments(segments);
  }
  // An assistant message without text renders as its calls and the end.
  Message calls;
  calls.role = Role::kAssistant;
  calls.tool_calls = answer.message.tool_calls;
  for (Segment& segment : encoder_->UserTurn({calls}, ThinkingMode::kChat, false)) {
    segments.push_back(std::move(segment));
  }
  return tokenizer_->EncodeSegments(segments);
}

}  // namespace baleen
