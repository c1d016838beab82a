#include "model/constraint/token_constraint.h"

#include <array>
#include <utility>

namespace baleen {
namespace {

/// A state takes a KiB; a mask a bit per token. Beyond these they are made anew when needed.
constexpr size_t kStatesMax = 8192;
constexpr size_t kMasksMax = 512;

}  // namespace

TokenConstraint::TokenConstraint(const ConstraintParts& parts)
    : parts_(parts),
      automaton_(parts.grammar),
      state_(automaton_.start()),
      reasoning_(parts.thinking) {}

StateId TokenConstraint::After(int32_t id) {
  if (id == parts_.ids.eos) return automaton_.Next(state_, kEosSymbol);
  if (id == parts_.ids.dsml) return automaton_.Next(state_, kDsmlSymbol);
  if (id == parts_.ids.think_close) return automaton_.Next(state_, kThinkCloseSymbol);
  const std::string_view bytes = parts_.tokenizer->TokenBytes(id);
  if (bytes.empty() || parts_.tokenizer->IsAddedToken(id)) return kDeadState;
  StateId state = state_;
  for (const char byte : bytes) state = automaton_.Next(state, static_cast<uint8_t>(byte));
  return state;
}

bool TokenConstraint::Accept(int32_t id) {
  const StateId next = After(id);
  if (next == kDeadState) return false;
  state_ = next;
  if (reasoning_) ++reasoning_tokens_;
  if (id == parts_.ids.think_close) reasoning_ = false;
  return true;
}

TokenMask TokenConstraint::Walk(StateId from) {
  TokenMask mask(parts_.trie->vocab());
  const auto control = [&](int32_t id, Symbol symbol) {
    if (id < 0 || id >= parts_.trie->vocab()) return;
    if (automaton_.Next(from, symbol) != kDeadState) mask.Allow(id);
  };
  control(parts_.ids.eos, kEosSymbol);
  control(parts_.ids.dsml, kDsmlSymbol);
  control(parts_.ids.think_close, kThinkCloseSymbol);
  const std::vector<VocabularyTrie::Node>& nodes = parts_.trie->nodes();
  std::array<StateId, 256> path{from};  // by depth
  for (size_t i = 0; i < nodes.size();) {
    const VocabularyTrie::Node& node = nodes[i];
    const StateId next = automaton_.Next(path[node.depth - 1U], node.byte);
    if (next == kDeadState) {
      i = node.end;
      continue;
    }
    path[node.depth] = next;
    if (node.token >= 0) mask.Allow(node.token);
    ++i;
  }
  return mask;
}

/// The reasoning must end now: its closer, or what completes a character before it.
TokenMask TokenConstraint::ReasoningEnd(const TokenMask& allowed) const {
  TokenMask mask(parts_.trie->vocab());
  if (allowed.Allows(parts_.ids.think_close)) {
    mask.Allow(parts_.ids.think_close);
    return mask;
  }
  allowed.ForEach([&](int32_t id) {
    bool continues = true;
    for (const char byte : parts_.tokenizer->TokenBytes(id)) continues &= (byte & 0xC0) == 0x80;
    if (continues) mask.Allow(id);
  });
  return mask;
}

const TokenMask& TokenConstraint::Mask() {
  if (automaton_.states() > kStatesMax || masks_.size() > kMasksMax) {
    masks_.clear();
    state_ = automaton_.Trim(state_);
  }
  const StateId clamped =
      automaton_.Clamped(state_, static_cast<uint32_t>(parts_.trie->token_bytes_max()));
  auto found = masks_.find(clamped);
  if (found == masks_.end()) found = masks_.emplace(clamped, Walk(clamped)).first;
  if (!reasoning_ || parts_.thinking_tokens < 0 || reasoning_tokens_ < parts_.thinking_tokens) {
    return found->second;
  }
  narrowed_ = ReasoningEnd(found->second);
  return narrowed_;
}

}  // namespace baleen
