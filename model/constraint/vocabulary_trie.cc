#include "model/constraint/vocabulary_trie.h"

#include <algorithm>
#include <limits>
#include <string_view>
#include <utility>

namespace baleen {

VocabularyTrie::VocabularyTrie(const Tokenizer& tokenizer, int64_t vocab) : vocab_(vocab) {
  std::vector<std::pair<std::string_view, int32_t>> tokens;
  const int64_t ids = std::min(vocab, tokenizer.vocab());
  for (int32_t id = 0; id < ids; ++id) {
    const std::string_view bytes = tokenizer.TokenBytes(id);
    if (bytes.empty() || bytes.size() > std::numeric_limits<uint8_t>::max()) continue;
    if (!tokenizer.IsAddedToken(id)) tokens.emplace_back(bytes, id);
  }
  std::sort(tokens.begin(), tokens.end());
  std::vector<uint32_t> open;  // nodes from the root to the last one
  std::string_view last;
  for (const auto& [bytes, id] : tokens) {
    token_bytes_max_ = std::max(token_bytes_max_, static_cast<int64_t>(bytes.size()));
    const auto shared = static_cast<size_t>(
        std::mismatch(bytes.begin(), bytes.end(), last.begin(), last.end()).first - bytes.begin());
    while (open.size() > shared) {
      nodes_[open.back()].end = static_cast<uint32_t>(nodes_.size());
      open.pop_back();
    }
    for (size_t at = shared; at < bytes.size(); ++at) {
      open.push_back(static_cast<uint32_t>(nodes_.size()));
      Node node;
      node.byte = static_cast<uint8_t>(bytes[at]);
      node.depth = static_cast<uint8_t>(at + 1);
      nodes_.push_back(node);
    }
    if (nodes_[open.back()].token < 0) nodes_[open.back()].token = id;
    last = bytes;
  }
  for (const uint32_t node : open) nodes_[node].end = static_cast<uint32_t>(nodes_.size());
}

}  // namespace baleen
