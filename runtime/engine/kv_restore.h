// Restoring a sequence from the KV store: nearest checkpoint, blocks, repair of damaged spans.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/engine/live_sequence.h"

namespace baleen {

/// Where the tokens of a restored sequence came from.
struct RestoreReport {
  int64_t tokens_from_disk = 0;      ///< Position of the checkpoint that was used.
  int64_t tokens_repaired = 0;       ///< Recomputed because a block was damaged or missing.
  int64_t bytes_read = 0;            ///< Blocks and checkpoint.
  std::vector<std::string> reasons;  ///< Why anything was missing, for the turn's report.
};

/// The longest stored prefix of `tokens` as a live sequence (empty if nothing is stored). A damaged
/// block is recomputed from the nearest checkpoint before it and stored anew.
/// Threads: the engine thread. Errors: those of the model's forward pass during a repair.
Result<std::unique_ptr<LiveSequence>> RestoreSequence(const KvHome& home,
                                                      std::span<const int32_t> tokens,
                                                      RestoreReport* report);

}  // namespace baleen
