// KvStore: giving back space, and copies of the whole.
#include <algorithm>
#include <utility>

#include "runtime/store/kv_store_impl.h"

namespace baleen {
namespace {

constexpr double kCompactDeadFraction = 0.05;

}  // namespace

Result<KvStore::Impl::LiveSets> KvStore::Impl::ListLive() {
  uint64_t block_horizon = 0;
  uint64_t checkpoint_horizon = 0;
  {
    const std::lock_guard lock(write_mutex);
    block_horizon = next_block;
    checkpoint_horizon = next_checkpoint;
  }
  std::vector<std::pair<uint64_t, int64_t>> residents;
  std::vector<std::pair<uint64_t, int64_t>> rows;
  std::vector<std::pair<uint64_t, int64_t>> states;
  RETURN_IF_ERROR(
      database->Scan(KvFamily::kIndex, "", [&](std::string_view index_key, std::string_view value) {
        if (KeyInIndex(index_key, kBlockTag).has_value()) {
          if (const auto entry = DecodeBlockEntry(value); entry.has_value()) {
            residents.emplace_back(entry->number, entry->resident_bytes);
            rows.emplace_back(entry->number, entry->bytes - entry->resident_bytes);
          }
        } else if (const auto found = DecodeCheckpointEntry(index_key, value); found.has_value()) {
          states.emplace_back(found->number, found->entry.bytes);
        }
        return true;
      }));
  for (auto* values : {&residents, &rows, &states}) std::sort(values->begin(), values->end());
  LiveSets live;
  live.blocks = std::make_shared<const LiveNumbers>(std::move(residents), block_horizon);
  live.rows = std::make_shared<const LiveNumbers>(std::move(rows), block_horizon);
  live.checkpoints = std::make_shared<const LiveNumbers>(std::move(states), checkpoint_horizon);
  return live;
}

Result<int64_t> KvStore::Impl::DropDamaged(KvFamily family, uint64_t first, uint64_t last) {
  std::vector<KvWrite> writes;
  std::vector<BlockKey> keys;
  const std::lock_guard lock(write_mutex);
  RETURN_IF_ERROR(
      database->Scan(KvFamily::kIndex, "", [&](std::string_view index_key, std::string_view value) {
        const auto in_file = [&](uint64_t number) { return number >= first && number <= last; };
        const auto key = KeyInIndex(index_key, kBlockTag);
        const auto block = key.has_value() ? DecodeBlockEntry(value) : std::nullopt;
        const auto state = DecodeCheckpointEntry(index_key, value);
        if (family == KvFamily::kCheckpoints) {
          if (state.has_value() && in_file(state->number)) {
            writes.push_back({KvFamily::kIndex, std::string(index_key), std::nullopt});
          }
        } else if (block.has_value() && in_file(block->number)) {
          keys.push_back(*key);
        }
        return true;
      }));
  RETURN_IF_ERROR(database->Apply(writes));
  ASSIGN_OR_RETURN(const int64_t dropped, DropPart(keys, {NowMs(), 0, DropReason::kDamaged}));
  return dropped + std::ssize(writes);
}

Result<ReclaimReport> KvStore::Impl::ReclaimFiles(ReclaimLimits limits) {
  RETURN_IF_ERROR(CheckWritable());
  ASSIGN_OR_RETURN(const LiveSets live, ListLive());
  // What is about to vanish must be gone from the index for good: a crash must not bring a name
  // back without its value.
  RETURN_IF_ERROR(database->Flush());
  ReclaimReport report;
  const int64_t files_max = limits.files_max;
  for (const auto& [family, numbers] : {std::pair(KvFamily::kRows, live.rows),
                                        {KvFamily::kBlocks, live.blocks},
                                        {KvFamily::kCheckpoints, live.checkpoints}}) {
    while (true) {
      if (report.files >= files_max) {
        report.more = true;
        return report;
      }
      limits.files_max = files_max - report.files;
      ASSIGN_OR_RETURN(const ReclaimStep step, database->ReclaimOnce(family, numbers, limits));
      if (step.damaged_first != 0) {
        ASSIGN_OR_RETURN(const int64_t dropped,
                         DropDamaged(family, step.damaged_first, step.damaged_last));
        report.blocks_damaged += dropped;
        report.more = true;  // The file itself goes the next time.
      }
      if (step.done) break;
      report.files += step.files;
      report.bytes_freed += step.bytes_freed;
    }
  }
  return report;
}

Result<ReclaimReport> KvStore::Reclaim(double dead_fraction_min, int64_t files_max) {
  return impl_->ReclaimFiles({dead_fraction_min, /*join_small_files=*/false, files_max});
}

Result<ReclaimReport> KvStore::Compact() {
  ASSIGN_OR_RETURN(ReclaimReport report,
                   impl_->ReclaimFiles({kCompactDeadFraction, /*join_small_files=*/true}));
  RETURN_IF_ERROR(impl_->database->CompactIndex());
  return report;
}

Status KvStore::Backup(const std::string& directory) { return impl_->database->Backup(directory); }

}  // namespace baleen
