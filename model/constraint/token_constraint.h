// TokenConstraint: which tokens a generation may sample next, kept up to date token by token.
//
// Its state depends on the grammar, the budget and the tokens only: a restart that accepts the
// journalled tokens again stands where the broken-off run stood.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>

#include "model/constraint/automaton.h"
#include "model/constraint/vocabulary_trie.h"
#include "model/text/chat_encoder.h"
#include "model/text/tokenizer.h"
#include "model/token_mask.h"

namespace baleen {

/// What a constraint is made of.
/// Borrows: tokenizer and trie, which must belong together.
struct ConstraintParts {
  std::shared_ptr<const Grammar> grammar;  ///< Owners: see Automaton.
  const Tokenizer* tokenizer = nullptr;
  const VocabularyTrie* trie = nullptr;
  ControlIds ids;
  bool thinking = false;         ///< The generation starts inside the reasoning.
  int64_t thinking_tokens = -1;  ///< Tokens of reasoning, after which it is closed; -1: any number.
};

/// Threads: one at a time.
class TokenConstraint {
 public:
  explicit TokenConstraint(const ConstraintParts& parts);

  /// Borrows: until the next call of any method. Cost: a walk over the vocabulary's trie, or
  /// nothing if a like state was met before.
  const TokenMask& Mask();
  /// Takes the next token of the generation. false: it isn't allowed here; nothing changed.
  bool Accept(int32_t id);
  /// Whether the message is complete: nothing may follow.
  bool Complete() const { return automaton_.Complete(state_); }

 private:
  StateId After(int32_t id);
  TokenMask Walk(StateId from);
  TokenMask ReasoningEnd(const TokenMask& allowed) const;

  const ConstraintParts parts_;
  Automaton automaton_;
  StateId state_;
  bool reasoning_;
  int64_t reasoning_tokens_ = 0;
  std::unordered_map<StateId, TokenMask> masks_;  ///< By clamped state.
  TokenMask narrowed_;
};

}  // namespace baleen
