#include "runtime/store/kv_claims.h"

#include <algorithm>
#include <utility>

#include "runtime/store/index_codec.h"

namespace baleen {
namespace {

constexpr int64_t kPageBlocks = 256;

}  // namespace

KvClaimant::KvClaimant(std::span<const CheckpointEntry> checkpoints, int64_t block_tokens)
    : checkpoints_(checkpoints), block_tokens_(block_tokens) {
  for (size_t i = 0; i < checkpoints.size(); ++i) by_parent_[checkpoints[i].parent].push_back(i);
}

Result<KvClaim> KvClaimant::Claim(int64_t tokens, const ReadTokens& read, const KvScope& scope,
                                  KvChain* chain) const {
  if (std::ssize(chain->keys) > tokens / block_tokens_) *chain = {};  // cut: not what it was
  KvClaim claim;
  claim.tokens = tokens;
  decltype(chain->checkpoints) checkpoints;
  // Few reads of many blocks: a session that is new here may have a million tokens.
  std::vector<int32_t> page;
  int64_t page_begin = 0;
  const auto ids = [&](int64_t begin, int64_t count) -> Result<std::span<const int32_t>> {
    if (begin < page_begin || begin + count > page_begin + std::ssize(page)) {
      const bool known = begin / block_tokens_ < std::ssize(chain->keys);
      ASSIGN_OR_RETURN(
          page, read(begin, known ? count : std::min(tokens - begin, kPageBlocks * block_tokens_)));
      page_begin = begin;
      if (std::ssize(page) < count) return NotFoundError("the timeline was cut meanwhile");
    }
    return std::span<const int32_t>(page).subspan(static_cast<size_t>(begin - page_begin),
                                                  static_cast<size_t>(count));
  };
  BlockKey parent{};
  for (size_t block = 0;; ++block) {
    const int64_t begin = static_cast<int64_t>(block) * block_tokens_;
    const int64_t length = std::min(tokens - begin, block_tokens_);
    if (const auto found = by_parent_.find(parent); found != by_parent_.end()) {
      for (const size_t index : found->second) {
        const CheckpointEntry& entry = checkpoints_[index];
        const auto tail = static_cast<int64_t>(entry.tail_length);
        if (tail > length || tail >= block_tokens_) continue;
        const std::tuple name(block, size_t{entry.tail_length}, entry.tail_hash);
        if (!chain->checkpoints.contains(name)) {
          ASSIGN_OR_RETURN(const auto rest, ids(begin, length));
          const auto hash = CheckpointName(parent, rest.first(entry.tail_length)).tail_hash;
          if (hash != entry.tail_hash) continue;
        }
        checkpoints.insert(name);
        claim.checkpoints.push_back(index);
      }
    }
    if (length < block_tokens_) break;
    if (block == chain->keys.size()) {
      ASSIGN_OR_RETURN(const auto full, ids(begin, length));
      chain->keys.push_back(NextBlockKey(parent, full, scope));
    }
    parent = chain->keys[block];
  }
  chain->checkpoints = std::move(checkpoints);
  claim.keys = chain->keys;
  return claim;
}

KvClaim KvClaimant::Claim(std::span<const int32_t> tokens, const KvScope& scope) const {
  KvChain chain;
  auto claim = Claim(
      std::ssize(tokens),
      [&](int64_t begin, int64_t count) -> Result<std::vector<int32_t>> {
        const auto part = tokens.subspan(static_cast<size_t>(begin), static_cast<size_t>(count));
        return std::vector<int32_t>(part.begin(), part.end());
      },
      scope, &chain);
  return claim.ok() ? *std::move(claim) : KvClaim();
}

}  // namespace baleen
