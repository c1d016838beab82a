#include "model/text/bpe.h"

#include <algorithm>

namespace baleen {
namespace {

uint64_t PairOf(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

}  // namespace

MergeTable::MergeTable(size_t merges) {
  while ((size_t{1} << bits_) < merges * 2) ++bits_;
  slots_.resize(size_t{1} << bits_);
}

size_t MergeTable::SlotOf(uint64_t pair) const {
  // Fibonacci hashing: only the product's top bits depend on both halves of the pair.
  size_t slot = static_cast<size_t>((pair * 0x9E3779B97F4A7C15ULL) >> (64 - bits_));
  while (slots_[slot].pair != kEmpty && slots_[slot].pair != pair) {
    slot = (slot + 1) & (slots_.size() - 1);
  }
  return slot;
}

bool MergeTable::Add(int32_t left, int32_t right, int32_t rank, int32_t result) {
  const uint64_t pair = PairOf(left, right);
  Merge& merge = slots_[SlotOf(pair)];
  if (merge.pair == pair) return false;
  merge = {pair, rank, result};
  return true;
}

const MergeTable::Merge* MergeTable::Find(int32_t left, int32_t right) const {
  const Merge& merge = slots_[SlotOf(PairOf(left, right))];
  return merge.pair == kEmpty ? nullptr : &merge;
}

bool BpeMerger::Later(const Candidate& a, const Candidate& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.at > b.at;
}

bool BpeMerger::Propose(int32_t at, Candidate* candidate) const {
  const Symbol& left = symbols_[at];
  if (left.next < 0) return false;
  const int32_t right = symbols_[left.next].id;
  const MergeTable::Merge* merge = table_.Find(left.id, right);
  if (merge == nullptr) return false;
  *candidate = {merge->rank, at, left.id, right, merge->result};
  return true;
}

void BpeMerger::Push(int32_t at) {
  Candidate candidate;
  if (at < 0 || !Propose(at, &candidate)) return;
  heap_.push_back(candidate);
  std::push_heap(heap_.begin(), heap_.end(), Later);
}

void BpeMerger::Apply(const Candidate& candidate) {
  Symbol& left = symbols_[candidate.at];
  Symbol& right = symbols_[left.next];
  left.id = candidate.result;
  left.next = right.next;
  right.id = -1;
  if (left.next >= 0) symbols_[left.next].previous = candidate.at;
  Push(left.previous);
  Push(candidate.at);
}

void BpeMerger::Encode(std::string_view piece, std::vector<int32_t>* out, EncodeStats* stats) {
  const auto size = static_cast<int32_t>(piece.size());
  if (size == 0) return;
  symbols_.resize(piece.size());
  heap_.clear();
  for (int32_t i = 0; i < size; ++i) {
    const int32_t next = i + 1 < size ? i + 1 : -1;
    symbols_[i] = {byte_ids_[static_cast<uint8_t>(piece[i])], i - 1, next};
  }
  Candidate candidate;
  for (int32_t i = 0; i < size; ++i) {
    if (Propose(i, &candidate)) heap_.push_back(candidate);
  }
  std::make_heap(heap_.begin(), heap_.end(), Later);
  uint64_t pops = 0;
  uint64_t merges = 0;
  while (!heap_.empty()) {
    std::pop_heap(heap_.begin(), heap_.end(), Later);
    candidate = heap_.back();
    heap_.pop_back();
    ++pops;
    // A candidate is stale once either of its symbols has merged with someone else.
    const Symbol& left = symbols_[candidate.at];
    if (left.id != candidate.left || left.next < 0) continue;
    if (symbols_[left.next].id != candidate.right) continue;
    Apply(candidate);
    ++merges;
  }
  for (int32_t i = 0; i >= 0; i = symbols_[i].next) out->push_back(symbols_[i].id);
  if (stats != nullptr) {
    stats->pieces += 1;
    stats->heap_pops += pops;
    stats->merges += merges;
  }
}

}  // namespace baleen
