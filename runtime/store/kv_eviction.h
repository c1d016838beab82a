// Eviction: what goes when the store is over its quota. A pure function.
//
// The order: first what nobody claims; then, of sessions that are neither open nor pinned, blocks
// that only one of them has before shared ones, those of the session used longest ago first, and
// each chain from its tail backwards, so that a prefix stays usable and what is lost costs least to
// compute again. A block takes the checkpoints behind it along.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/store/kv_claims.h"
#include "runtime/store/kv_records.h"

namespace baleen {

struct EvictionPlan {
  std::vector<BlockKey> blocks;              ///< In the order in which to drop them.
  std::vector<CheckpointEntry> checkpoints;  ///< Behind dropped blocks.
  int64_t bytes = 0;                         ///< Stored, of both.
  int64_t held_bytes = 0;                    ///< What open and pinned sessions need.
  bool enough = true;                        ///< false: all that may go is less than wanted.
};

/// Frees at least `bytes_to_free` stored bytes if what may go suffices, else all of that.
/// `checkpoints` is the list that the claims index.
EvictionPlan PlanEviction(std::span<const BlockUsage> blocks,
                          std::span<const CheckpointEntry> checkpoints,
                          std::span<const KvClaim> claims, int64_t bytes_to_free);

}  // namespace baleen
