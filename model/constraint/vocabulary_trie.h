// The ordinary tokens of a vocabulary as a trie over their bytes, in one array for fast walks.
//
// Added (control) tokens are not in it: a constraint names the few that it allows by id.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "model/text/tokenizer.h"

namespace baleen {

/// Immutable. Threads: any.
class VocabularyTrie {
 public:
  /// A node, in pre-order: the node's subtree is [its index, end).
  struct Node {
    uint8_t byte = 0;    ///< On the edge to this node.
    uint8_t depth = 0;   ///< 1 for children of the root, which isn't stored.
    int32_t token = -1;  ///< Whose bytes end here; -1: none.
    uint32_t end = 0;
  };

  /// Tokens of more than 255 bytes are left out (DeepSeek-V4's longest has 128), and ids from
  /// `vocab` on, which the model can't produce. Of tokens with equal bytes the lowest id counts.
  VocabularyTrie(const Tokenizer& tokenizer, int64_t vocab);

  const std::vector<Node>& nodes() const { return nodes_; }
  int64_t vocab() const { return vocab_; }
  int64_t token_bytes_max() const { return token_bytes_max_; }

 private:
  std::vector<Node> nodes_;
  int64_t vocab_ = 0;
  int64_t token_bytes_max_ = 0;
};

}  // namespace baleen
