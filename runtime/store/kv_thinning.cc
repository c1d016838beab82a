#include "runtime/store/kv_thinning.h"

#include <algorithm>
#include <bit>
#include <map>
#include <utility>

namespace baleen {
namespace {

constexpr int64_t kCellTokensMin = 2048;
constexpr uint32_t kAlwaysKept = kForkCheckpoint | kPinnedCheckpoint;

/// Width of the cells at `distance` from the head: a quarter to a half of it. The largest octave
/// of a million tokens so has 2 cells and a part, and all octaves together at most 28.
int64_t CellTokens(int64_t distance) {
  const auto octave = std::bit_floor(static_cast<uint64_t>(std::max<int64_t>(distance, 1)));
  return std::max(kCellTokensMin, static_cast<int64_t>(octave / 2));
}

/// Of each checkpoint, whether a pinned timeline has it.
std::vector<bool> OnPinned(size_t count, std::span<const KvClaim> claims) {
  std::vector<bool> pinned(count, false);
  for (const KvClaim& claim : claims) {
    if (!claim.pinned) continue;
    for (const size_t index : claim.checkpoints) pinned[index] = true;
  }
  return pinned;
}

/// Which of two checkpoints in one cell stays.
bool Better(const CheckpointEntry& a, const CheckpointEntry& b) {
  const auto rank = [](const CheckpointEntry& entry) {
    return std::pair((entry.kinds & kTurnCheckpoint) != 0, entry.position);
  };
  return rank(a) > rank(b);
}

}  // namespace

std::vector<size_t> PlanThinning(std::span<const CheckpointEntry> entries, int64_t head) {
  // [cell width, cell number] -> the best so far.
  std::map<std::pair<int64_t, int64_t>, size_t> kept;
  std::vector<bool> keep(entries.size(), false);
  size_t newest = entries.size();
  for (size_t i = 0; i < entries.size(); ++i) {
    if ((entries[i].kinds & kAlwaysKept) != 0) {
      keep[i] = true;
      continue;
    }
    if (newest == entries.size() || entries[i].position > entries[newest].position) newest = i;
    // By where the cell ends, not the checkpoint, so that all of a cell agree on its width.
    int64_t width = kCellTokensMin;
    while (true) {
      const int64_t end = (entries[i].position / width + 1) * width;
      if (CellTokens(head - end) <= width) break;
      width *= 2;
    }
    const std::pair cell(width, entries[i].position / width);
    const auto [best, inserted] = kept.emplace(cell, i);
    if (!inserted && Better(entries[i], entries[best->second])) best->second = i;
  }
  for (const auto& [cell, index] : kept) keep[index] = true;
  if (newest < entries.size()) keep[newest] = true;
  std::vector<size_t> drop;
  for (size_t i = 0; i < entries.size(); ++i) {
    if (!keep[i]) drop.push_back(i);
  }
  return drop;
}

std::vector<size_t> PlanThinning(std::span<const CheckpointEntry> checkpoints,
                                 std::span<const KvClaim> claims) {
  const std::vector<bool> pinned = OnPinned(checkpoints.size(), claims);
  std::vector<int> wanted(checkpoints.size(), 0);
  std::vector<int> let_go(checkpoints.size(), 0);
  for (const KvClaim& claim : claims) {
    std::vector<CheckpointEntry> entries;
    for (const size_t index : claim.checkpoints) {
      entries.push_back(checkpoints[index]);
      if (!pinned[index]) entries.back().kinds &= ~static_cast<uint32_t>(kPinnedCheckpoint);
      ++wanted[index];
    }
    for (const size_t i : PlanThinning(entries, claim.tokens)) ++let_go[claim.checkpoints[i]];
  }
  std::vector<size_t> drop;
  for (size_t i = 0; i < checkpoints.size(); ++i) {
    if (wanted[i] > 0 && wanted[i] == let_go[i]) drop.push_back(i);
  }
  return drop;
}

std::vector<CheckpointMark> PlanPins(std::span<const CheckpointEntry> checkpoints,
                                     std::span<const KvClaim> claims) {
  const auto is_marked = [&](size_t index) {
    return (checkpoints[index].kinds & kPinnedCheckpoint) != 0;
  };
  const std::vector<bool> pinned = OnPinned(checkpoints.size(), claims);
  std::vector<CheckpointMark> marks;
  for (size_t i = 0; i < checkpoints.size(); ++i) {
    if (!is_marked(i) || pinned[i]) continue;
    marks.push_back({i, false});
  }
  std::vector<bool> marked(checkpoints.size(), false);
  for (const KvClaim& claim : claims) {
    const auto& own = claim.checkpoints;
    if (!claim.pinned || own.empty() || std::any_of(own.begin(), own.end(), is_marked)) continue;
    const size_t newest = *std::max_element(own.begin(), own.end(), [&](size_t a, size_t b) {
      return checkpoints[a].position < checkpoints[b].position;
    });
    if (marked[newest]) continue;  // of another timeline that shares it
    marked[newest] = true;
    marks.push_back({newest, true});
  }
  return marks;
}

std::vector<size_t> PlanForkMarks(std::span<const CheckpointEntry> checkpoints,
                                  std::span<const KvClaim> claims) {
  std::vector<bool> needed(checkpoints.size(), false);
  for (const KvClaim& claim : claims) {
    if (claim.fork_position == 0) continue;
    for (const size_t index : claim.checkpoints) {
      if (checkpoints[index].position == claim.fork_position) needed[index] = true;
    }
  }
  std::vector<size_t> unmark;
  for (size_t i = 0; i < checkpoints.size(); ++i) {
    if ((checkpoints[i].kinds & kForkCheckpoint) != 0 && !needed[i]) unmark.push_back(i);
  }
  return unmark;
}

}  // namespace baleen
