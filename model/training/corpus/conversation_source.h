// ConversationSource: an endless stream of samples made by the tasks, encoded as a session would
// be.
//
// Sample i depends on the options and on i alone. Called by the sample packer.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/text/chat_encoder.h"
#include "model/text/tokenizer.h"
#include "model/training/corpus/conversation.h"
#include "model/training/corpus/tasks.h"
#include "model/training/sample_source.h"

namespace baleen::training {

struct ConversationOptions {
  std::string tokenizer;  ///< Path of a tokenizer.json.
  uint64_t seed = 1;
  Split split = Split::kTrain;
  int64_t tokens_max = 1024;  ///< No sample is longer.
  /// Shares by task, instead of the tasks' own; a task that isn't named gets none.
  std::map<std::string, double> shares;
  /// Files of plain text or code, cut into paragraphs, which fall into splits by their hash.
  std::vector<std::string> texts;
  LossWeights weights;
  double pieced_words = 0;  ///< Share of the invented words that are put together from tokens.
  double varied = 0;        ///< How often a choice is wider than what evaluations ask for.

  /// Errors: INVALID_ARGUMENT naming the field and, for a task, the known ones.
  Status Validate() const;
};

/// The paragraphs of a text that are worth learning: 80 to 1,500 bytes of valid UTF-8.
std::vector<std::string> ParagraphsOf(const std::string& text);

class ConversationSource final : public SampleSource {
 public:
  /// Errors: those of Validate; NOT_FOUND or INVALID_ARGUMENT for a file; INVALID_ARGUMENT if no
  /// task with a share fits into tokens_max.
  static Result<std::unique_ptr<ConversationSource>> Open(const ConversationOptions& options);

  Result<Sample> Next() override;
  uint64_t position() const override { return position_; }
  Status Seek(uint64_t position) override;
  std::string identity() const override { return identity_; }
  int64_t vocab() const { return tokenizer_->vocab(); }

  /// The conversation at position() and its tokens; the position grows by one.
  Result<Conversation> NextConversation(EncodedConversation* encoded);

 private:
  ConversationSource() = default;
  const TaskKind& Choose(Draw& draw) const;

  ConversationOptions options_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<SessionEncoder> encoder_;
  std::vector<std::string> texts_;
  std::unique_ptr<WordStock> stock_;                       ///< Null: neither pieced nor varied.
  std::vector<std::pair<const TaskKind*, double>> kinds_;  ///< With their shares, which sum to one.
  std::string identity_;
  uint64_t position_ = 0;
};

}  // namespace baleen::training
