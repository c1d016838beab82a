// The counted characters, integers, numbers and running text of a grammar, one byte at a time.
//
// Each state is two words that the automaton keeps in a frame. Every state that a step yields can
// still be brought to an end. Internal to the automaton.
#pragma once

#include <cstdint>
#include <optional>

#include "model/constraint/grammar.h"

namespace baleen {

/// The words of a frame: what they mean is the rule's business.
struct Progress {
  uint64_t a = 0;
  uint64_t b = 0;
  friend bool operator==(const Progress&, const Progress&) = default;
};

/// What a byte leads to.
struct ProgressStep {
  std::optional<Progress> more;  ///< The rule can go on from here.
  bool done = false;             ///< The rule may end here.
};

/// Requires: rule.kind is kChars, kInteger, kNumber or kText.
Progress BeginProgress(const Rule& rule);
/// Whether the rule may end before its first byte.
bool MayBeEmpty(const Rule& rule);
/// Neither `more` nor `done`: the byte can't follow.
ProgressStep StepProgress(const Rule& rule, Progress at, uint8_t byte);
/// The same progress as far as the next `bytes` bytes can tell: counters that they can't exhaust
/// are cut down.
Progress Clamp(const Rule& rule, Progress at, uint32_t bytes);

}  // namespace baleen
