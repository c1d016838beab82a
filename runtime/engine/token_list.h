// TokenList: the token ids of a context, in pieces that copies of it share.
//
// A session, its job and its live sequence each know the whole context, and so does every fork. A
// million ids are 4 MB: whole pieces never change, so all of them may stand in the same ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "model/kv_block.h"

namespace baleen {

/// A plain value. Threads: copies of one may be used on different threads, each by its own.
class TokenList {
 public:
  /// Tokens of a piece. Blocks of the KV cache lie within one.
  static constexpr size_t kPieceTokens = 4 * static_cast<size_t>(kBlockTokens);

  TokenList() = default;
  TokenList(const std::vector<int32_t>& ids) { Append(ids); }  // as a vector would be copied
  explicit TokenList(std::span<const int32_t> ids) { Append(ids); }

  size_t size() const { return pieces_.size() * kPieceTokens + tail_.size(); }
  bool empty() const { return pieces_.empty() && tail_.empty(); }
  int32_t operator[](size_t at) const {
    const size_t piece = at / kPieceTokens;
    return piece < pieces_.size() ? (*pieces_[piece])[at % kPieceTokens]
                                  : tail_[at - pieces_.size() * kPieceTokens];
  }
  /// Requires: not empty.
  int32_t back() const { return (*this)[size() - 1]; }

  void push_back(int32_t id) { Append({&id, 1}); }
  void Append(std::span<const int32_t> ids);

  /// The first `count`, which are there. Cost: a pointer for each piece, and less than a piece.
  TokenList First(size_t count) const;
  /// From `begin` on; from 0 on it shares what it can, else it is a copy.
  TokenList From(size_t begin) const;
  /// A copy of [begin, end).
  std::vector<int32_t> Ids(size_t begin, size_t end) const;
  /// As many from `begin` on as lie together, at most `count`: a block of the KV cache does.
  /// Borrows: from this list, until it changes.
  std::span<const int32_t> Together(size_t begin, size_t count) const;
  /// Cost: what they share isn't compared.
  bool StartsWith(const TokenList& prefix) const;

 private:
  using Piece = std::vector<int32_t>;  // of kPieceTokens

  std::vector<std::shared_ptr<const Piece>> pieces_;  // owners: all lists that begin so
  std::vector<int32_t> tail_;                         // less than a piece
};

}  // namespace baleen
