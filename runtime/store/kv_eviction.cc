#include "runtime/store/kv_eviction.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace baleen {
namespace {

/// What decides on a block: who claims it, and how deep in the chain it lies.
struct Claims {
  int sessions = 0;
  int64_t used_ms = INT64_MIN;  ///< Of the claimant used last.
  int64_t depth = 0;
  bool held = false;
};

struct Candidate {
  const BlockUsage* block = nullptr;
  Claims claims;
};

/// Whether `a` goes before `b`. A chain's block is claimed by no more sessions than the block
/// before it, and used no later, so that within every chain this runs from the tail backwards.
bool GoesFirst(const Candidate& a, const Candidate& b) {
  const auto rank = [](const Candidate& candidate) {
    const Claims& claims = candidate.claims;
    // Unclaimed blocks have no depth; the newest is the likeliest tail.
    return std::make_tuple(std::min(claims.sessions, 2),
                           claims.sessions == 0 ? candidate.block->used_ms : claims.used_ms,
                           -claims.depth, ~candidate.block->number);
  };
  return rank(a) < rank(b);
}

}  // namespace

EvictionPlan PlanEviction(std::span<const BlockUsage> blocks,
                          std::span<const CheckpointEntry> checkpoints,
                          std::span<const KvClaim> claims, int64_t bytes_to_free) {
  std::map<BlockKey, Claims> by_key;
  std::vector<bool> held_checkpoints(checkpoints.size(), false);
  for (const KvClaim& claim : claims) {
    for (size_t i = 0; i < claim.keys.size(); ++i) {
      Claims& all = by_key[claim.keys[i]];
      ++all.sessions;
      all.used_ms = std::max(all.used_ms, claim.used_ms);
      all.depth = static_cast<int64_t>(i);
      all.held |= claim.held;
    }
    if (!claim.held) continue;
    for (const size_t index : claim.checkpoints) held_checkpoints[index] = true;
  }
  std::map<BlockKey, std::vector<size_t>> behind;
  EvictionPlan plan;
  for (size_t i = 0; i < checkpoints.size(); ++i) {
    if (held_checkpoints[i]) {
      plan.held_bytes += checkpoints[i].bytes;
    } else {
      behind[checkpoints[i].parent].push_back(i);
    }
  }
  std::vector<Candidate> candidates;
  for (const BlockUsage& block : blocks) {
    const auto found = by_key.find(block.key);
    const Claims of = found == by_key.end() ? Claims{} : found->second;
    if (of.held) {
      plan.held_bytes += block.bytes;
    } else {
      candidates.push_back({&block, of});
    }
  }
  std::sort(candidates.begin(), candidates.end(), GoesFirst);
  for (const Candidate& candidate : candidates) {
    if (plan.bytes >= bytes_to_free) break;
    plan.blocks.push_back(candidate.block->key);
    plan.bytes += candidate.block->bytes;
    for (const size_t index : behind[candidate.block->key]) {
      plan.checkpoints.push_back(checkpoints[index]);
      plan.bytes += checkpoints[index].bytes;
    }
  }
  plan.enough = plan.bytes >= bytes_to_free;
  return plan;
}

}  // namespace baleen
