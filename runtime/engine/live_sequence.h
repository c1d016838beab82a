// LiveSequence: tokens + KV of one timeline inside the engine, and its writing to the KV store.
//
// Sealed blocks and checkpoints are handed to the KV thread; nobody waits for them. Used by
// the engine thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/engine/kv_tiers.h"
#include "runtime/engine/token_list.h"
#include "tools_sdk/status.h"

namespace baleen {

/// The key of each whole block of `tokens`.
std::vector<BlockKey> BlockKeys(const TokenList& tokens, const KvScope& scope);

/// What steps of a sequence met besides arithmetic; for the turn's report.
struct StepReport {
  RowWaits waits;
  int64_t tokens_repaired = 0;       ///< Recomputed because a unit was damaged or missing.
  std::vector<std::string> reasons;  ///< Why.
};

class LiveSequence {
 public:
  /// An empty one. Borrows: tiers, for its life.
  explicit LiveSequence(KvTiers& tiers);
  /// Continues from a restored cache. `tokens` are those that it holds, or that its blocks hold if
  /// that is more (a replay); `keys` of its blocks.
  LiveSequence(KvTiers& tiers, KvCache cache, TokenList tokens, std::vector<BlockKey> keys);
  ~LiveSequence();
  LiveSequence(const LiveSequence&) = delete;
  LiveSequence& operator=(const LiveSequence&) = delete;

  /// Another timeline over the same blocks. Cost: copies the private tail.
  std::unique_ptr<LiveSequence> Fork() const;

  /// Whether this can become `tokens` by appending.
  bool IsPrefixOf(const TokenList& tokens) const { return tokens.StartsWith(tokens_); }

  /// Runs the model over `tokens`, then hands newly sealed blocks to the KV thread. Units that
  /// can't be read are computed again.
  /// Errors: DEADLINE_EXCEEDED when rows came late (KvTiers::loader says which): append what lies
  /// behind position() once more. Those of the forward pass.
  Status Append(std::span<const int32_t> tokens, LogitsWanted wanted, std::vector<float>* logits);

  /// Stores what a resume at the current position needs, unless the policy is kZero, and makes it
  /// and the blocks durable. `kinds`: CheckpointKind bits. What is stored already is left alone.
  void Checkpoint(uint32_t kinds);

  /// Starts reading what is absent, behind the steps.
  void StreamRows();
  /// Reads what is absent. Errors: DEADLINE_EXCEEDED: not all has come yet, call again; those of
  /// the forward pass during a repair.
  Status FetchRows();

  int64_t position() const { return cache_.tokens(); }
  const KvCache& cache() const { return cache_; }
  const std::vector<BlockKey>& keys() const { return keys_; }
  StepReport TakeReport() { return std::exchange(report_, {}); }

 private:
  void PersistSealedBlocks();
  void StoreCheckpoint(uint32_t kinds);
  /// Computes the blocks of units that can't be read again, and fills the units.
  Status Repair(std::vector<UnitFailure> failures);

  KvTiers& tiers_;
  KvCache cache_;
  TokenList tokens_;
  std::vector<BlockKey> keys_;       ///< One per sealed block.
  int64_t checkpoint_position_ = 0;  ///< Of the newest stored checkpoint; 0 needs none.
  uint32_t checkpoint_kinds_ = 0;    ///< Its kinds, as far as known.
  int64_t durable_blocks_ = 0;       ///< Blocks that a flush was asked for.
  StepReport report_;
};

}  // namespace baleen
