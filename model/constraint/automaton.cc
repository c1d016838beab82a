#include "model/constraint/automaton.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace baleen {
namespace {

size_t MixHash(size_t hash, uint64_t value) {
  return (hash ^ value) * 0x9E3779B97F4A7C15ULL + (hash >> 29);
}

// A members rule's progress: a = members seen (bits, or the next index if ordered).
constexpr uint64_t kWritten = 1;   // b: there was a member.
constexpr uint64_t kNameNext = 2;  // b: the separator is written, a name must follow.
constexpr size_t kUnorderedMax = 64;

bool IsOrdered(const Rule& rule) { return rule.ordered || rule.parts.size() > kUnorderedMax; }

bool Seen(const Rule& rule, uint64_t seen, size_t member) {
  return IsOrdered(rule) ? member < seen : ((seen >> member) & 1) != 0;
}

uint64_t WithMember(const Rule& rule, uint64_t seen, size_t member) {
  return IsOrdered(rule) ? member + 1 : seen | uint64_t{1} << member;
}

/// The first required member that is missing; parts.size(): none.
size_t FirstMissing(const Rule& rule, uint64_t seen) {
  for (size_t i = 0; i < rule.parts.size(); ++i) {
    if (rule.required[i] && !Seen(rule, seen, i)) return i;
  }
  return rule.parts.size();
}

}  // namespace

size_t Automaton::FrameHash::operator()(const Frame& frame) const {
  size_t hash = MixHash(frame.rule, frame.parent);
  return MixHash(MixHash(hash, frame.at.a), frame.at.b);
}

size_t Automaton::FramesHash::operator()(const std::vector<FrameId>& frames) const {
  size_t hash = frames.size();
  for (const FrameId frame : frames) hash = MixHash(hash, frame);
  return hash;
}

Automaton::Automaton(std::shared_ptr<const Grammar> grammar) : grammar_(std::move(grammar)) {
  Clear();
  ++round_;
  open_.clear();
  Enter(grammar_->root(), kDone);
  start_ = Intern(open_);
}

void Automaton::Clear() {
  frames_.assign(1, Frame{});
  frame_ids_.clear();
  states_.clear();
  state_ids_.clear();
  marks_.clear();
  Intern({});  // kDeadState
}

Automaton::FrameId Automaton::Push(RuleId rule, FrameId parent, Progress at) {
  const Frame frame{rule, parent, frames_[parent].depth + 1, at};
  const auto [found, added] = frame_ids_.try_emplace(frame, static_cast<FrameId>(frames_.size()));
  if (added) frames_.push_back(frame);
  return found->second;
}

StateId Automaton::Intern(const std::vector<FrameId>& frames) {
  const auto [found, added] = state_ids_.try_emplace(frames, static_cast<StateId>(states_.size()));
  if (added) {
    State state;
    state.frames = frames;
    state.complete = std::find(frames.begin(), frames.end(), kDone) != frames.end();
    Prepare(&state);
    states_.push_back(std::move(state));
  }
  return found->second;
}

void Automaton::Prepare(State* state) const {
  state->next.assign(256, kDeadState);
  for (const FrameId id : state->frames) {
    if (id == kDone) continue;
    const Frame& frame = frames_[id];
    const Rule& rule = grammar_->rule(frame.rule);
    if (rule.kind == Rule::Kind::kLiteral) {
      const Symbol symbol = rule.symbols[frame.at.a];
      if (symbol < 256) state->next[symbol] = kUnknown;
    } else if (rule.kind == Rule::Kind::kInteger || rule.kind == Rule::Kind::kNumber) {
      for (const char byte : std::string_view("-+.eE0123456789")) {
        state->next[static_cast<uint8_t>(byte)] = kUnknown;
      }
    } else {
      std::fill(state->next.begin(), state->next.end(), kUnknown);
      return;
    }
  }
}

void Automaton::AddOpen(FrameId frame) {
  if (marks_.size() <= frame) marks_.resize(frames_.size() + 64);
  if (marks_[frame] == round_) return;
  marks_[frame] = round_;
  open_.push_back(frame);
}

StateId Automaton::Compute(StateId state, Symbol symbol) {
  ++round_;
  open_.clear();
  // By index: a step adds frames, but never to a state that exists.
  for (size_t i = 0; i < states_[state].frames.size(); ++i) Step(states_[state].frames[i], symbol);
  const StateId next = Intern(open_);
  if (symbol < 256) states_[state].next[symbol] = next;
  return next;
}

bool Automaton::Fits(RuleId rule, FrameId parent) const {
  return frames_[parent].depth + grammar_->height(rule) <= kStackDepthMax;
}

void Automaton::Enter(RuleId id, FrameId parent) {
  const Rule& rule = grammar_->rule(id);
  switch (rule.kind) {
    case Rule::Kind::kNever: return;
    case Rule::Kind::kLiteral:
      if (rule.symbols.empty()) return Resume(parent);
      return AddOpen(Push(id, parent, {}));
    case Rule::Kind::kSequence:
      if (rule.parts.empty()) return Resume(parent);
      return Enter(rule.parts[0], rule.parts.size() == 1 ? parent : Push(id, parent, {1, 0}));
    case Rule::Kind::kChoice:
      for (const RuleId part : rule.parts) {
        if (Fits(part, parent)) Enter(part, parent);
      }
      return;
    case Rule::Kind::kMembers: return EnterMembers(id, {}, parent);
    case Rule::Kind::kItems: return EnterItems(id, 0, parent);
    case Rule::Kind::kChars:
      if (rule.max > 0) AddOpen(Push(id, parent, BeginProgress(rule)));
      if (MayBeEmpty(rule)) Resume(parent);
      return;
    case Rule::Kind::kInteger:
    case Rule::Kind::kNumber:
    case Rule::Kind::kText:
      AddOpen(Push(id, parent, BeginProgress(rule)));
      if (MayBeEmpty(rule)) Resume(parent);
      return;
  }
}

void Automaton::Resume(FrameId id) {
  if (id == kDone) return AddOpen(kDone);
  const Frame frame = frames_[id];
  const Rule& rule = grammar_->rule(frame.rule);
  switch (rule.kind) {
    case Rule::Kind::kSequence: {
      const auto part = static_cast<size_t>(frame.at.a);
      const bool last = part + 1 == rule.parts.size();
      return Enter(rule.parts[part],
                   last ? frame.parent : Push(frame.rule, frame.parent, {part + 1, 0}));
    }
    case Rule::Kind::kMembers:
      if ((frame.at.b & kNameNext) != 0) return EnterNames(frame.rule, frame.at, frame.parent);
      return EnterMembers(frame.rule, frame.at, frame.parent);
    case Rule::Kind::kItems: return EnterItems(frame.rule, frame.at.a, frame.parent);
    default: return;  // nothing else is pushed below another frame
  }
}

void Automaton::EnterMembers(RuleId id, Progress at, FrameId parent) {
  const Rule& rule = grammar_->rule(id);
  const bool written = (at.b & kWritten) != 0;
  if (FirstMissing(rule, at.a) == rule.parts.size()) {
    Enter(written || rule.close_empty == kNoRule ? rule.close : rule.close_empty, parent);
  }
  if (!written || rule.separator == kNoRule) return EnterNames(id, at, parent);
  const FrameId frame = Push(id, parent, {at.a, kWritten | kNameNext});
  bool any = rule.additional != kNoRule && Fits(rule.additional, frame);
  for (size_t i = 0; i < rule.parts.size() && !any; ++i) {
    any = !Seen(rule, at.a, i) && Fits(rule.parts[i], frame);
  }
  if (any) Enter(rule.separator, frame);
}

void Automaton::EnterNames(RuleId id, Progress at, FrameId parent) {
  const Rule& rule = grammar_->rule(id);
  const size_t missing = FirstMissing(rule, at.a);
  for (size_t i = 0; i < rule.parts.size(); ++i) {
    if (IsOrdered(rule) && i > missing) break;  // a required one must not be passed over
    if (Seen(rule, at.a, i)) continue;
    const FrameId frame = Push(id, parent, {WithMember(rule, at.a, i), kWritten});
    if (Fits(rule.parts[i], frame)) Enter(rule.parts[i], frame);
  }
  if (rule.additional == kNoRule) return;
  const FrameId frame = Push(id, parent, {at.a, kWritten});
  if (Fits(rule.additional, frame)) Enter(rule.additional, frame);
}

void Automaton::EnterItems(RuleId id, uint64_t count, FrameId parent) {
  const Rule& rule = grammar_->rule(id);
  if (count >= rule.min) Enter(rule.close, parent);
  if (count >= rule.max) return;
  // Without an upper bound the count matters up to the lower one only.
  uint64_t next = count + 1;
  if (rule.max == UINT32_MAX) next = std::min<uint64_t>(next, std::max<uint32_t>(1, rule.min));
  const FrameId frame = Push(id, parent, {next, 0});
  const RuleId item = rule.parts[count == 0 ? 0 : 1];
  if (Fits(item, frame)) Enter(item, frame);
}

void Automaton::Step(FrameId id, Symbol symbol) {
  if (id == kDone) return;
  const Frame frame = frames_[id];
  const Rule& rule = grammar_->rule(frame.rule);
  if (rule.kind == Rule::Kind::kLiteral) {
    if (rule.symbols[frame.at.a] != symbol) return;
    if (frame.at.a + 1 == rule.symbols.size()) return Resume(frame.parent);
    return AddOpen(Push(frame.rule, frame.parent, {frame.at.a + 1, 0}));
  }
  if (symbol >= 256) return;
  const ProgressStep step = StepProgress(rule, frame.at, static_cast<uint8_t>(symbol));
  if (step.more.has_value()) AddOpen(Push(frame.rule, frame.parent, *step.more));
  if (step.done) Resume(frame.parent);
}

StateId Automaton::Clamped(StateId state, uint32_t bytes) {
  std::vector<FrameId> frames = states_[state].frames;
  for (FrameId& id : frames) {
    if (id == kDone) continue;
    const Frame frame = frames_[id];
    const Progress at = Clamp(grammar_->rule(frame.rule), frame.at, bytes);
    if (!(at == frame.at)) id = Push(frame.rule, frame.parent, at);
  }
  return Intern(frames);
}

Automaton::FrameId Automaton::Copy(FrameId id, const std::vector<Frame>& from) {
  if (id == kDone) return kDone;
  // At most kStackDepthMax deep.
  return Push(from[id].rule, Copy(from[id].parent, from), from[id].at);
}

StateId Automaton::Trim(StateId keep) {
  const std::vector<FrameId> kept = std::move(states_[keep].frames);
  const std::vector<FrameId> start = start_ == keep ? kept : std::move(states_[start_].frames);
  const std::vector<Frame> old = std::move(frames_);
  Clear();
  const auto copy = [&](std::vector<FrameId> ids) {
    for (FrameId& id : ids) id = Copy(id, old);
    return Intern(ids);
  };
  start_ = copy(start);
  return copy(kept);
}

}  // namespace baleen
