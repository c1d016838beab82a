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

#include "model/model.h"
#include "runtime/store/kv_store.h"
#include "runtime/work_queue.h"
#include "tools_sdk/status.h"

namespace baleen {

/// Where a sequence's KV is kept, and under which keys.
/// Borrows: store, storage queue and model, for the life of the engine.
struct KvHome {
  Model* model = nullptr;
  KvStore* store = nullptr;      ///< Null: nothing is persisted (tools that only compute).
  WorkQueue* storage = nullptr;  ///< The KV thread's queue.
  KvScope scope;
};

/// How blocks of `layout` are stored.
BlockShape StoredShape(const KvLayout& layout);

class LiveSequence {
 public:
  explicit LiveSequence(const KvHome& home);
  /// Continues from a restored cache; `tokens` are those that it holds, `keys` of its blocks.
  LiveSequence(const KvHome& home, KvCache cache, std::vector<int32_t> tokens,
               std::vector<BlockKey> keys);

  /// Runs the model over `tokens`, then hands newly sealed blocks to the KV thread.
  Status Append(std::span<const int32_t> tokens, LogitsWanted wanted, std::vector<float>* logits);

  /// Stores what a resume at the current position needs, and makes it and its blocks durable. A
  /// position that has its checkpoint already is left alone.
  void Checkpoint();

  const std::vector<int32_t>& tokens() const { return tokens_; }
  const KvCache& cache() const { return cache_; }
  const std::vector<BlockKey>& keys() const { return keys_; }

 private:
  void PersistSealedBlocks();

  KvHome home_;
  KvCache cache_;
  std::vector<int32_t> tokens_;
  std::vector<BlockKey> keys_;       ///< One per sealed block.
  int64_t checkpoint_position_ = 0;  ///< Of the newest stored checkpoint; 0 needs none.
};

}  // namespace baleen
