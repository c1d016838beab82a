#include "runtime/engine/token_list.h"

#include <algorithm>

namespace baleen {

void TokenList::Append(std::span<const int32_t> ids) {
  while (!ids.empty()) {
    const size_t count = std::min(ids.size(), kPieceTokens - tail_.size());
    tail_.insert(tail_.end(), ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(count));
    ids = ids.subspan(count);
    if (tail_.size() < kPieceTokens) continue;
    // Copied, not moved: it grew by doubling, and the piece stays for long.
    pieces_.push_back(std::make_shared<const Piece>(tail_.begin(), tail_.end()));
    tail_.clear();
  }
}

TokenList TokenList::First(size_t count) const {
  TokenList first;
  const size_t whole = std::min(count / kPieceTokens, pieces_.size());
  first.pieces_.assign(pieces_.begin(), pieces_.begin() + static_cast<std::ptrdiff_t>(whole));
  const size_t begin = whole * kPieceTokens;
  first.Append(Together(begin, count - begin));
  return first;
}

TokenList TokenList::From(size_t begin) const {
  if (begin == 0) return *this;
  TokenList rest;
  while (begin < size()) {
    const std::span<const int32_t> piece = Together(begin, kPieceTokens);
    rest.Append(piece);
    begin += piece.size();
  }
  return rest;
}

std::vector<int32_t> TokenList::Ids(size_t begin, size_t end) const {
  std::vector<int32_t> ids;
  ids.reserve(end - begin);
  while (begin < end) {
    const std::span<const int32_t> piece = Together(begin, end - begin);
    ids.insert(ids.end(), piece.begin(), piece.end());
    begin += piece.size();
  }
  return ids;
}

std::span<const int32_t> TokenList::Together(size_t begin, size_t count) const {
  const size_t piece = begin / kPieceTokens;
  const std::span<const int32_t> ids(piece < pieces_.size() ? *pieces_[piece] : tail_);
  const size_t at = begin - piece * kPieceTokens;
  return ids.subspan(at, std::min(count, ids.size() - at));
}

bool TokenList::StartsWith(const TokenList& prefix) const {
  if (prefix.size() > size()) return false;
  for (size_t i = 0; i < prefix.pieces_.size(); ++i) {
    if (pieces_[i] != prefix.pieces_[i] && *pieces_[i] != *prefix.pieces_[i]) return false;
  }
  const auto rest = Together(prefix.pieces_.size() * kPieceTokens, prefix.tail_.size());
  return std::equal(rest.begin(), rest.end(), prefix.tail_.begin(), prefix.tail_.end());
}

}  // namespace baleen
