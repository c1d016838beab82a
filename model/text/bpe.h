// Byte-pair merging inside one piece of text.
//
// A heap over a linked list, so that a piece of n bytes costs O(n log n) whatever is in it. Knows
// no text and no files. Called by the tokenizer.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace baleen {

/// What encoding cost, in steps rather than in time.
struct EncodeStats {
  uint64_t pieces = 0;
  uint64_t heap_pops = 0;
  uint64_t merges = 0;
};

/// (left, right) -> result, by rank. Open addressing; immutable once filled.
class MergeTable {
 public:
  struct Merge {
    uint64_t pair = kEmpty;
    int32_t rank = 0;
    int32_t result = 0;
  };

  explicit MergeTable(size_t merges);
  /// False if the pair is there already.
  bool Add(int32_t left, int32_t right, int32_t rank, int32_t result);
  /// nullptr if the pair doesn't merge.
  const Merge* Find(int32_t left, int32_t right) const;

 private:
  static constexpr uint64_t kEmpty = ~uint64_t{0};
  size_t SlotOf(uint64_t pair) const;

  int bits_ = 4;
  std::vector<Merge> slots_;  ///< [2^bits], at most half full.
};

/// Merges pieces; keeps its working memory from piece to piece. Threads: one at a time.
class BpeMerger {
 public:
  /// Borrows: both arguments, for the merger's life.
  BpeMerger(const MergeTable& table, const std::array<int32_t, 256>& byte_ids)
      : table_(table), byte_ids_(byte_ids) {}

  /// Appends the ids of `piece` to `out`: the lowest-ranked neighbours merge first, leftmost on
  /// ties. Requires: piece.size() < 2^31.
  void Encode(std::string_view piece, std::vector<int32_t>* out, EncodeStats* stats);

 private:
  struct Symbol {
    int32_t id = 0;  ///< < 0: merged into its left neighbour.
    int32_t previous = -1;
    int32_t next = -1;
  };
  struct Candidate {
    int32_t rank = 0;
    int32_t at = 0;  ///< Left symbol.
    int32_t left = 0;
    int32_t right = 0;
    int32_t result = 0;
  };
  static bool Later(const Candidate& a, const Candidate& b);
  bool Propose(int32_t at, Candidate* candidate) const;
  void Push(int32_t at);
  void Apply(const Candidate& candidate);

  const MergeTable& table_;
  const std::array<int32_t, 256>& byte_ids_;
  std::vector<Symbol> symbols_;
  std::vector<Candidate> heap_;
};

}  // namespace baleen
