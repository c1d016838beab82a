#include "runtime/store/kv_collection.h"

#include <set>
#include <vector>

namespace baleen {

CollectionPlan PlanCollection(std::span<const BlockUsage> blocks,
                              std::span<const CheckpointEntry> checkpoints,
                              std::span<const KvClaim> claims, uint64_t start_number,
                              int64_t start_ms) {
  std::set<BlockKey> claimed;
  std::vector<bool> claimed_checkpoints(checkpoints.size(), false);
  for (const KvClaim& claim : claims) {
    claimed.insert(claim.keys.begin(), claim.keys.end());
    for (const size_t index : claim.checkpoints) claimed_checkpoints[index] = true;
  }
  CollectionPlan plan;
  std::set<BlockKey> kept = {BlockKey{}};
  for (const BlockUsage& block : blocks) {
    if (block.number >= start_number || claimed.contains(block.key)) {
      kept.insert(block.key);
      continue;
    }
    plan.blocks.push_back(block.key);
    plan.bytes += block.bytes;
  }
  for (size_t i = 0; i < checkpoints.size(); ++i) {
    const CheckpointEntry& entry = checkpoints[i];
    if (entry.created_ms >= start_ms) continue;
    if (claimed_checkpoints[i] && kept.contains(entry.parent)) continue;
    plan.checkpoints.push_back(entry);
    plan.bytes += entry.bytes;
  }
  return plan;
}

}  // namespace baleen
