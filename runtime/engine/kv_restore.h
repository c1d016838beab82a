// Restoring a sequence from what is stored: nearest checkpoint, blocks, repair of damaged spans.
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
  int64_t tokens_from_ram = 0;
  int64_t tokens_from_disk = 0;
  int64_t tokens_repaired = 0;       ///< Recomputed because a block was damaged or missing.
  int64_t tokens_to_replay = 0;      ///< To be computed again over stored rows, from the start of
                                     ///< the sequence returned on.
  int64_t bytes_read = 0;            ///< Blocks and checkpoint; rows read lazily come later.
  std::vector<std::string> reasons;  ///< Why anything was missing, for the turn's report.
  std::string miss;                  ///< Why the first block beyond isn't stored; empty: it is.
};

/// The longest stored prefix of `tokens` as a live sequence, whose rows may still be on their way;
/// null if nothing is stored that leads beyond position `floor`. Starts at the nearest checkpoint,
/// or where a replay over stored rows has to, whichever leaves less to compute. A damaged block is
/// recomputed from the nearest checkpoint before it and stored anew.
/// Threads: the engine thread. Errors: those of the model's forward pass during a repair.
Result<std::unique_ptr<LiveSequence>> RestoreSequence(KvTiers& tiers, const TokenList& tokens,
                                                      int64_t floor, RestoreReport* report);

/// Computes the blocks of `failures` again and fills their absent units; `tokens` are at least
/// those of the blocks of `cache`. Errors: as RestoreSequence.
Status RepairUnits(KvTiers& tiers, const TokenList& tokens, const KvCache& cache,
                   std::span<const UnitFailure> failures, RestoreReport* report);

}  // namespace baleen
