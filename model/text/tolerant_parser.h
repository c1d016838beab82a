// Tolerant parsing of completions from engines that let a model write what it likes.
//
// Recovers calls from near misses of the markup: other names of the block, missing wrappers, plain
// or doubled bars, stray closers, calls inside the reasoning. A call is taken only if its end is
// there, its tool is declared and its arguments validate; nothing is invented and nothing cut short
// is taken. Our own generations are kept to the grammar (model/constraint) and read strictly
// (chat_parser.h).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "model/text/chat_encoder.h"
#include "tools_sdk/message.h"
#include "tools_sdk/tool_set.h"

namespace baleen {

struct RecoveredMessage {
  Message message;  ///< Calls have no ids.
  /// What was not as the encoding has it and was read all the same; empty: a perfect completion.
  std::vector<std::string> repairs;
  /// Calls that were not taken, and why, in words for a model.
  std::vector<std::string> refused;
  /// The text ends inside a block of calls: none of its calls was taken.
  bool cut = false;
};

/// How the text came to its end, as the engine reports it.
enum class CompletionEnd { kStopped, kTokenLimit };

struct CompletionSource {
  ThinkingMode mode = ThinkingMode::kChat;
  CompletionEnd end = CompletionEnd::kStopped;
};

/// Any text gives an answer. Cost: O(text bytes x calls), with at most 512 calls looked at.
RecoveredMessage RecoverCompletion(std::string_view text, const CompletionSource& source,
                                   const ToolSet& tools);

}  // namespace baleen
