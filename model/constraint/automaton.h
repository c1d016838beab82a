// Automaton: runs a grammar over bytes and control tokens, exactly.
//
// A state is the list of all ways in which the text so far can be read; each can still be brought
// to an end, so a state never is a trap. States and steps are made as they are met and kept. Which
// number a state has depends on what was asked before; what it allows does not.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "model/constraint/character_rules.h"
#include "model/constraint/grammar.h"

namespace baleen {

using StateId = uint32_t;
inline constexpr StateId kDeadState = 0;  ///< No reading of the text.

/// Threads: one at a time.
class Automaton {
 public:
  /// Owners of the grammar: whoever compiled it, and the automata over it.
  explicit Automaton(std::shared_ptr<const Grammar> grammar);

  StateId start() const { return start_; }
  StateId Next(StateId state, Symbol symbol) {
    return symbol < 256 && states_[state].next[symbol] != kUnknown ? states_[state].next[symbol]
                                                                   : Compute(state, symbol);
  }
  /// Whether the text may end here.
  bool Complete(StateId state) const { return states_[state].complete; }
  /// A state that allows the same as this one for the next `bytes` bytes, and is the same for many
  /// states that do: key of what is remembered about them.
  StateId Clamped(StateId state, uint32_t bytes);

  size_t states() const { return states_.size(); }
  /// Forgets all states but this one; returns its new number.
  StateId Trim(StateId keep);

 private:
  using FrameId = uint32_t;
  static constexpr FrameId kDone = 0;  ///< The frame below the root: the text is complete.
  static constexpr StateId kUnknown = UINT32_MAX;

  /// One rule in progress, on top of what comes after it.
  struct Frame {
    RuleId rule = kNoRule;
    FrameId parent = kDone;
    uint32_t depth = 0;
    Progress at;
  };
  struct State {
    std::vector<FrameId> frames;
    bool complete = false;
    std::vector<StateId> next;  // [256]
  };
  struct FrameHash {
    size_t operator()(const Frame& frame) const;
  };
  struct FrameEqual {
    bool operator()(const Frame& x, const Frame& y) const {
      return x.rule == y.rule && x.parent == y.parent && x.at == y.at;
    }
  };
  struct FramesHash {
    size_t operator()(const std::vector<FrameId>& frames) const;
  };

  StateId Compute(StateId state, Symbol symbol);
  FrameId Push(RuleId rule, FrameId parent, Progress at);
  StateId Intern(const std::vector<FrameId>& frames);
  /// Which bytes a new state has to be asked about: all others lead nowhere.
  void Prepare(State* state) const;
  void Clear();

  // Each adds to open_ the frames by which the text can go on.
  void Enter(RuleId rule, FrameId parent);
  void Resume(FrameId frame);
  void EnterMembers(RuleId id, Progress at, FrameId parent);
  void EnterNames(RuleId id, Progress at, FrameId parent);
  void EnterItems(RuleId id, uint64_t count, FrameId parent);
  void Step(FrameId frame, Symbol symbol);
  void AddOpen(FrameId frame);
  bool Fits(RuleId rule, FrameId parent) const;
  FrameId Copy(FrameId frame, const std::vector<Frame>& from);

  const std::shared_ptr<const Grammar> grammar_;
  std::vector<Frame> frames_;
  std::unordered_map<Frame, FrameId, FrameHash, FrameEqual> frame_ids_;
  std::vector<State> states_;
  std::unordered_map<std::vector<FrameId>, StateId, FramesHash> state_ids_;
  std::vector<FrameId> open_;
  std::vector<uint32_t> marks_;  ///< By frame: the round in which it was added to open_.
  uint32_t round_ = 0;
  StateId start_ = kDeadState;
};

}  // namespace baleen
