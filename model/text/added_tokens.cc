#include "model/text/added_tokens.h"

namespace baleen {
namespace {

constexpr uint32_t kNodesMax = 1U << 24;

}  // namespace

bool AddedTokenMatcher::Add(std::string_view literal, int32_t id) {
  if (literal.empty() || nodes_ + literal.size() >= kNodesMax) return false;
  uint32_t node = 0;
  for (const char byte : literal) {
    const auto [edge, inserted] = edges_.try_emplace(Edge(node, byte), nodes_);
    if (inserted) ++nodes_;
    node = edge->second;
  }
  starts_[static_cast<uint8_t>(literal[0])] = true;
  return ends_.try_emplace(node, id).second;
}

AddedTokenMatcher::Match AddedTokenMatcher::Find(std::string_view text, size_t from) const {
  for (size_t begin = from; begin < text.size(); ++begin) {
    if (!starts_[static_cast<uint8_t>(text[begin])]) continue;
    Match match;
    uint32_t node = 0;
    for (size_t at = begin; at < text.size(); ++at) {
      const auto edge = edges_.find(Edge(node, text[at]));
      if (edge == edges_.end()) break;
      node = edge->second;
      if (const auto end = ends_.find(node); end != ends_.end()) {
        match = {begin, at + 1, end->second};
      }
    }
    if (match.end != 0) return match;
  }
  return {};
}

}  // namespace baleen
