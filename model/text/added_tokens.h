// Finds added (control) tokens in text: literal, leftmost, longest.
//
// Knows nothing of trust; the tokenizer asks only about text that may name control tokens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <unordered_map>

namespace baleen {

class AddedTokenMatcher {
 public:
  struct Match {
    size_t begin = 0;
    size_t end = 0;  ///< 0: no match.
    int32_t id = -1;
  };

  /// False if the literal is empty or there already.
  bool Add(std::string_view literal, int32_t id);

  /// The first match in text[from..). Cost: O(text * longest literal) at worst.
  Match Find(std::string_view text, size_t from) const;

 private:
  static uint32_t Edge(uint32_t node, char byte) { return node << 8 | static_cast<uint8_t>(byte); }
  // A byte-wise trie; node 0 is the root. Literals are few and share prefixes, so that edges fit in
  // one hash map; nodes stay below 2^24 by the limit on a vocabulary's size.
  std::unordered_map<uint32_t, uint32_t> edges_;
  std::unordered_map<uint32_t, int32_t> ends_;
  bool starts_[256] = {};
  uint32_t nodes_ = 1;
};

}  // namespace baleen
