// KvClaim: what one timeline of a session needs of the KV store.
//
// Pure: made from token ids and a list of what is stored. Collection, eviction and thinning decide
// by claims. Filled in by the sessions (journal) and the engine (live sequences).
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "runtime/store/kv_records.h"
#include "tools_sdk/status.h"

namespace baleen {

struct KvClaim {
  std::vector<BlockKey> keys;  ///< Of the timeline's full blocks, first to last.
  /// Indices into the list that the claimant was made from: those that lie on the timeline.
  std::vector<size_t> checkpoints;
  int64_t tokens = 0;  ///< The timeline's length: its head.
  int64_t fork_position =
      0;                ///< Where its fork's checkpoint lies, if it branched off; 0: it didn't.
  int64_t used_ms = 0;  ///< When its session was used last.
  bool held = false;    ///< Open or pinned: nothing of it may go.
  bool pinned = false;
};

/// What is known of a timeline, which only grows, from one claim to the next.
struct KvChain {
  std::vector<BlockKey> keys;  ///< Of its full blocks.
  /// Checkpoints that were found to lie on it: number of their parent block, tail's length and
  /// hash.
  std::set<std::tuple<size_t, size_t, std::array<uint8_t, 16>>> checkpoints;
};

/// Makes claims over one list of checkpoints. Threads: one at a time.
class KvClaimant {
 public:
  /// Borrows: checkpoints. `block_tokens` as in the blocks' keys.
  KvClaimant(std::span<const CheckpointEntry> checkpoints, int64_t block_tokens);

  /// Ids [begin, begin + count) of a timeline.
  using ReadTokens = std::function<Result<std::vector<int32_t>>(int64_t begin, int64_t count)>;
  /// The claim of a timeline of `tokens` ids; the rest is the caller's to set. Reads what `chain`
  /// doesn't know yet. Cost: one SHA-256 per new block, about 3 us.
  Result<KvClaim> Claim(int64_t tokens, const ReadTokens& read, const KvScope& scope,
                        KvChain* chain) const;
  /// Of a timeline that nothing is known of.
  KvClaim Claim(std::span<const int32_t> tokens, const KvScope& scope) const;

 private:
  const std::span<const CheckpointEntry> checkpoints_;
  const int64_t block_tokens_;
  std::map<BlockKey, std::vector<size_t>> by_parent_;
};

}  // namespace baleen
