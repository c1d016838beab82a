// TokenMask: which tokens may come next, one bit per id. What a constraint tells the sampler.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace baleen {

class TokenMask {
 public:
  TokenMask() = default;
  /// Nothing allowed yet.
  explicit TokenMask(int64_t vocab) : words_((static_cast<size_t>(vocab) + 63) / 64) {}

  void Allow(int32_t id) {
    words_[static_cast<size_t>(id) >> 6] |= uint64_t{1} << (static_cast<size_t>(id) & 63);
  }
  void Forbid(int32_t id) {
    words_[static_cast<size_t>(id) >> 6] &= ~(uint64_t{1} << (static_cast<size_t>(id) & 63));
  }
  bool Allows(int32_t id) const {
    const auto at = static_cast<size_t>(id);
    return (at >> 6) < words_.size() && ((words_[at >> 6] >> (at & 63)) & 1) != 0;
  }
  int64_t count() const {
    int64_t total = 0;
    for (const uint64_t word : words_) total += std::popcount(word);
    return total;
  }
  /// Calls `visit(id)` for every allowed id, ascending.
  template <typename Visit>
  void ForEach(Visit visit) const {
    for (size_t i = 0; i < words_.size(); ++i) {
      for (uint64_t word = words_[i]; word != 0; word &= word - 1) {
        visit(static_cast<int32_t>(i * 64 + static_cast<size_t>(std::countr_zero(word))));
      }
    }
  }
  friend bool operator==(const TokenMask&, const TokenMask&) = default;

 private:
  std::vector<uint64_t> words_;  // [vocab / 64], bit i of word w is id 64 w + i
};

}  // namespace baleen
