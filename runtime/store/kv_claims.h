// KvClaim: what one timeline of a session needs of the KV store.
//
// Pure: made from token ids and a list of what is stored. Collection, eviction and thinning decide
// by claims. Filled in by the sessions (journal) and the engine (live sequences).
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "runtime/store/kv_records.h"

namespace baleen {

struct KvClaim {
  std::vector<BlockKey> keys;  ///< Of the timeline's full blocks, first to last.
  /// Indices into the list that the claimant was made from: those that lie on the timeline.
  std::vector<size_t> checkpoints;
  int64_t tokens = 0;   ///< The timeline's length: its head.
  int64_t used_ms = 0;  ///< When its session was used last.
  bool held = false;    ///< Open or pinned: nothing of it may go.
  bool pinned = false;
};

/// Makes claims over one list of checkpoints. Threads: one at a time.
class KvClaimant {
 public:
  /// Borrows: checkpoints. `block_tokens` as in the blocks' keys.
  KvClaimant(std::span<const CheckpointEntry> checkpoints, int64_t block_tokens);

  /// The claim of a timeline of `tokens`; `used_ms` and `held` are the caller's to set.
  /// Cost: one SHA-256 per block, about 3 us.
  KvClaim Claim(std::span<const int32_t> tokens, const KvScope& scope) const;

 private:
  const std::span<const CheckpointEntry> checkpoints_;
  const int64_t block_tokens_;
  std::map<BlockKey, std::vector<size_t>> by_parent_;
};

}  // namespace baleen
