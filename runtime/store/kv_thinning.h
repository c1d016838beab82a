// Thinning: which checkpoints of a timeline stay as it grows. A pure function.
//
// Kept are pins and fork points, the newest, and one in each of a set of cells that widen with the
// distance from the head: 2,048 tokens near it, doubling with every doubling of the distance. Cells
// lie on fixed borders and the wider ones consist of the narrower ones, so that what is kept now
// was kept before. Within a cell a turn's border is preferred to a periodic checkpoint, then the
// later one.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/store/kv_claims.h"
#include "runtime/store/kv_records.h"

namespace baleen {

/// Checkpoints kept per million tokens of a timeline, besides pins and fork points.
inline constexpr int64_t kCheckpointsPerMillion = 32;

/// Indices into `entries`, ascending, of those to drop. `entries` lie on one timeline of `head`
/// tokens, in any order. At most kCheckpointsPerMillion of the rest per begun million tokens are
/// neither pins nor fork points.
std::vector<size_t> PlanThinning(std::span<const CheckpointEntry> entries, int64_t head);

/// The same for timelines that share checkpoints: a checkpoint goes when every claim on it lets it.
/// A pin counts while a pinned claim is on it.
/// Indices into `checkpoints`, which is the list that the claims index.
std::vector<size_t> PlanThinning(std::span<const CheckpointEntry> checkpoints,
                                 std::span<const KvClaim> claims);

/// Whether a checkpoint is to be marked as a pin.
struct CheckpointMark {
  size_t index = 0;  ///< Into `checkpoints`.
  bool pinned = false;
};
/// Pins: a pinned timeline without a pinned checkpoint gets its newest marked; a mark that no
/// pinned timeline has any more is taken away.
std::vector<CheckpointMark> PlanPins(std::span<const CheckpointEntry> checkpoints,
                                     std::span<const KvClaim> claims);

/// Checkpoints marked as a fork's where no timeline branches off any more: they are to be thinned
/// like others. Indices into `checkpoints`, ascending.
std::vector<size_t> PlanForkMarks(std::span<const CheckpointEntry> checkpoints,
                                  std::span<const KvClaim> claims);

}  // namespace baleen
