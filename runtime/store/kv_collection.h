// Collection: which blocks and checkpoints nobody claims any more. A pure function.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/store/kv_claims.h"
#include "runtime/store/kv_records.h"

namespace baleen {

struct CollectionPlan {
  std::vector<BlockKey> blocks;
  std::vector<CheckpointEntry> checkpoints;
  int64_t bytes = 0;  ///< Stored, of both.
};

/// What was stored before the claims were made and is in none of them. A checkpoint also goes when
/// a block that it stands on isn't stored: nothing can be resumed from it.
/// `checkpoints` is the list that the claims index; those created at `start_ms` or later stay.
CollectionPlan PlanCollection(std::span<const BlockUsage> blocks,
                              std::span<const CheckpointEntry> checkpoints,
                              std::span<const KvClaim> claims, uint64_t start_number,
                              int64_t start_ms);

}  // namespace baleen
