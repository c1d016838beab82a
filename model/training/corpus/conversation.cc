#include "model/training/corpus/conversation.h"

#include <utility>

#include "tools_sdk/schema.h"

namespace baleen::training {
namespace {

/// Appends tokens of one loss weight.
void Append(const std::vector<int32_t>& ids, float weight, Sample* sample) {
  sample->tokens.insert(sample->tokens.end(), ids.begin(), ids.end());
  sample->weights.insert(sample->weights.end(), ids.size(), weight);
}

Sample EncodeRaw(const Conversation& conversation, int32_t bos, const LossWeights& weights) {
  Sample sample;
  Append({bos}, 0, &sample);
  Append(conversation.raw, weights.assistant, &sample);
  for (int64_t i = 0; i < conversation.raw_free; ++i)
    sample.weights[static_cast<size_t>(1 + i)] = 0;
  return sample;
}

}  // namespace

ContextStart StartOf(const Conversation& conversation) {
  ContextStart start;
  start.system = conversation.system;
  for (const ToolSpec& tool : conversation.tools) start.tools.push_back(FunctionObjectJson(tool));
  return start;
}

Result<EncodedConversation> EncodeConversation(const Conversation& conversation,
                                               const SessionEncoder& encoder,
                                               const Tokenizer& tokenizer,
                                               const LossWeights& weights) {
  EncodedConversation encoded;
  Sample& sample = encoded.sample;
  if (!conversation.raw.empty()) {
    sample = EncodeRaw(conversation, encoder.ids().bos, weights);
    return encoded;
  }
  std::vector<Segment> prompt = encoder.Start(StartOf(conversation));
  for (const Exchange& exchange : conversation.exchanges) {
    for (Segment& segment : encoder.UserTurn(exchange.append, ThinkingMode::kChat, false)) {
      prompt.push_back(std::move(segment));
    }
    ASSIGN_OR_RETURN(const std::vector<int32_t> ids, tokenizer.EncodeSegments(prompt));
    Append(ids, weights.other, &sample);
    prompt.clear();
    EncodedExchange place;
    place.reply_begin = static_cast<int64_t>(sample.tokens.size());
    // An assistant's message of an imported history: its text, then end-of-sentence.
    ASSIGN_OR_RETURN(
        const std::vector<int32_t> reply,
        tokenizer.EncodeSegments(encoder.UserTurn({exchange.reply}, ThinkingMode::kChat, false)));
    Append(reply, weights.assistant, &sample);
    place.reply_end = static_cast<int64_t>(sample.tokens.size());
    encoded.exchanges.push_back(place);
  }
  return encoded;
}

}  // namespace baleen::training
