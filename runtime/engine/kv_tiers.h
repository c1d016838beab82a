// KvTiers: where the KV of an engine's sequences lives: in RAM, on the disk, under which keys.
//
// What LiveSequence, the restoring of sequences and the engine share. One per engine.
#pragma once

#include <chrono>
#include <cstdint>

#include "model/model.h"
#include "runtime/engine/kv_ram.h"
#include "runtime/engine/unit_loader.h"
#include "runtime/store/kv_store.h"
#include "runtime/work_queue.h"

namespace baleen {

/// Where a sequence's KV is kept, and under which keys.
/// Borrows: store, storage queue and model, for the life of the engine.
struct KvHome {
  Model* model = nullptr;
  KvStore* store = nullptr;      ///< Null: nothing is persisted (tools that only compute).
  WorkQueue* storage = nullptr;  ///< The KV thread's queue.
  KvScope scope;
};

/// Which positions get a checkpoint (the window rows and compressor partials that a resume needs
/// besides blocks).
/// Source: spec section 5.3.
enum class CheckpointPolicy {
  kPeriodic,  ///< At turn borders, fork points, and every so many tokens; thinned with age.
  kFull,      ///< Besides, every 128 tokens; never thinned: a resume replays 127 tokens at most.
  kZero,      ///< None: a resume computes window x layers tokens again over the stored rows.
};

struct KvTierOptions {
  int64_t ram_bytes = int64_t{4} << 30;
  bool lazy = true;  ///< A resume reads rows when they are selected, and the rest behind.
  std::chrono::milliseconds row_wait{100};
  CheckpointPolicy policy = CheckpointPolicy::kPeriodic;
};

/// How blocks of `layout` are stored.
BlockShape StoredShape(const KvLayout& layout);

/// Threads: the engine thread.
struct KvTiers {
  KvTiers(const KvHome& where, const KvTierOptions& wanted);

  const KvHome home;
  const KvTierOptions options;
  const KvLayout layout;
  const BlockShape shape;
  KvRam ram;
  UnitLoader loader;
};

}  // namespace baleen
