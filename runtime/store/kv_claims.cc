#include "runtime/store/kv_claims.h"

#include <algorithm>

#include "runtime/store/index_codec.h"

namespace baleen {

KvClaimant::KvClaimant(std::span<const CheckpointEntry> checkpoints, int64_t block_tokens)
    : checkpoints_(checkpoints), block_tokens_(block_tokens) {
  for (size_t i = 0; i < checkpoints.size(); ++i) by_parent_[checkpoints[i].parent].push_back(i);
}

KvClaim KvClaimant::Claim(std::span<const int32_t> tokens, const KvScope& scope) const {
  KvClaim claim;
  claim.tokens = std::ssize(tokens);
  const auto block = static_cast<size_t>(block_tokens_);
  BlockKey parent{};
  for (size_t begin = 0;; begin += block) {
    const auto rest = tokens.subspan(begin);
    if (const auto found = by_parent_.find(parent); found != by_parent_.end()) {
      for (const size_t index : found->second) {
        const CheckpointEntry& entry = checkpoints_[index];
        if (entry.tail_length > rest.size() || entry.tail_length >= block) continue;
        if (CheckpointName(parent, rest.first(entry.tail_length)).tail_hash == entry.tail_hash) {
          claim.checkpoints.push_back(index);
        }
      }
    }
    if (rest.size() < block) return claim;
    parent = NextBlockKey(parent, rest.first(block), scope);
    claim.keys.push_back(parent);
  }
}

}  // namespace baleen
