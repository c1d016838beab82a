// Conversation: what a task made, before it is tokens: the context's start, then exchanges.
//
// The same structure is trained on (encode_conversation.h) and asked in an evaluation. Knows no
// model.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/text/chat_encoder.h"
#include "model/text/tokenizer.h"
#include "model/training/corpus/draw.h"
#include "model/training/sample_source.h"
#include "tools_sdk/message.h"
#include "tools_sdk/status.h"
#include "tools_sdk/tool.h"

namespace baleen::training {

/// What an exchange is a test of.
enum class Skill {
  kNone,     ///< Small talk, acknowledgements.
  kCall,     ///< One or more tool calls: name and all arguments.
  kAnswer,   ///< A value found in a result or in the context.
  kNoTool,   ///< Says that no tool fits.
  kMissing,  ///< Asks for the missing argument.
};

/// One generation: what the runtime appends, and what the assistant shall write.
struct Exchange {
  std::vector<Message> append;  ///< The user's message, or one result per call.
  Message reply;                ///< Content, or tool calls with arguments as JSON text.
  Skill skill = Skill::kNone;
  std::string value;  ///< kAnswer: what the reply must state.
};

struct Conversation {
  std::string task;  ///< Name of the kind of task.
  std::string system;
  std::vector<ToolSpec> tools;
  std::vector<Exchange> exchanges;
  std::vector<int32_t> raw;  ///< Instead of exchanges: BOS, then these tokens.
  int64_t raw_free = 0;      ///< How many of `raw` can't be predicted.
  UsedTexts used;
};

/// Loss weights of the tokens.
struct LossWeights {
  float assistant = 1.0F;
  float other = 0.1F;
};

/// Where the exchanges lie in the tokens.
struct EncodedExchange {
  int64_t reply_begin = 0;  ///< First token of the reply.
  int64_t reply_end = 0;    ///< Behind its end-of-sentence token.
};

struct EncodedConversation {
  Sample sample;
  std::vector<EncodedExchange> exchanges;
};

/// The context's start as the runtime renders it for these tools.
ContextStart StartOf(const Conversation& conversation);

/// Token for token what a session holds after this conversation: the start and the first message
/// encoded as one text, every reply and every later message as a text of its own. The runtime's
/// generations in the mode without thinking.
/// Errors: INVALID_ARGUMENT for text that isn't UTF-8.
Result<EncodedConversation> EncodeConversation(const Conversation& conversation,
                                               const SessionEncoder& encoder,
                                               const Tokenizer& tokenizer,
                                               const LossWeights& weights);

}  // namespace baleen::training
