// Compaction: what a context that nears its limit is replaced by. The texts, and their measures.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/text/chat_encoder.h"
#include "model/text/tokenizer.h"
#include "runtime/session.h"
#include "tools_sdk/message.h"
#include "tools_sdk/status.h"

namespace baleen {

/// What asks the model for the summary.
Message CompactionInstruction();
/// How many tokens it takes, with its frame.
int64_t InstructionTokens(const SessionEncoder& encoder, const Tokenizer& tokenizer);
/// What a summary may have, of a context that may have `context_tokens`.
int64_t SummaryTokensMax(int64_t context_tokens);

/// What the new context begins with.
std::string CompactedHead(const std::string& goal, const std::vector<std::string>& notes,
                          const std::string& summary);

/// `append` without tool messages: what they said, as the user's text, since the calls that they
/// answer (`calls`) are not in the context any more.
std::vector<Message> FoldedResults(const std::vector<Message>& append,
                                   const std::vector<ToolCall>& calls);

/// Errors: INVALID_ARGUMENT/BAD_FIELD.
Status CheckCompaction(const SessionSettings& settings);

}  // namespace baleen
