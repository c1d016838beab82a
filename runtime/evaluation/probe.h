// Probe: puts a conversation to a model, exchange by exchange, and lets it reply by itself.
//
// Before each reply the history is the expected one, so that one mistake isn't counted twice; the
// reply itself runs freely (greedy, no teacher). Called by the evaluation's tasks.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "model/constraint/vocabulary_trie.h"
#include "model/model.h"
#include "model/text/chat_encoder.h"
#include "model/training/corpus/conversation.h"
#include "tools_sdk/status.h"

namespace baleen::evaluation {

/// A reply that wasn't the expected one.
struct WrongReply {
  const training::Exchange& exchange;
  const std::string& text;  ///< As it was written.
};

struct ProbeOptions {
  int64_t reply_tokens_max = 256;
  /// Names and arguments that the tools don't have can't be written: the grammar of the message
  /// masks the tokens.
  bool constrained = false;
  std::function<void(const WrongReply&)> on_wrong;  ///< May be empty.
};

struct ReplyOutcome {
  training::Skill skill = training::Skill::kNone;
  bool correct = false;
  Message got;  ///< Empty if what was written can't be parsed.
};

struct LogLoss {
  double sum = 0;  ///< Nats.
  int64_t tokens = 0;
};

/// Threads: one at a time. Borrows: the model, which must have a tokenizer.
class Probe {
 public:
  /// Errors: FAILED_PRECONDITION without a tokenizer; those of SessionEncoder::Create.
  static Result<std::unique_ptr<Probe>> Create(Model& model, const ProbeOptions& options);

  /// One outcome per exchange whose skill is tested.
  /// Errors: those of Model::Forward.
  Result<std::vector<ReplyOutcome>> Run(const training::Conversation& conversation);

  /// What the expected replies' tokens cost.
  Result<LogLoss> ReplyLoss(const training::Conversation& conversation);
  /// What the tokens of a plain text cost, the first one after BOS included.
  Result<LogLoss> TextLoss(const std::string& text);

  const Tokenizer& tokenizer() const { return *model_.tokenizer(); }

 private:
  Probe(Model& model, const ProbeOptions& options, SessionEncoder encoder)
      : model_(model), options_(options), encoder_(std::move(encoder)) {}

  /// `text`: what was written, whether or not it is a message.
  Result<Message> Generate(KvCache cache, std::vector<float> logits,
                           const std::vector<ToolSpec>& tools, std::string* text);
  Status AddLoss(KvCache& cache, std::span<const int32_t> tokens, int64_t skip, LogLoss* loss);

  Model& model_;
  ProbeOptions options_;
  SessionEncoder encoder_;
  std::unique_ptr<VocabularyTrie> trie_;  ///< Null: not constrained.
};

}  // namespace baleen::evaluation
