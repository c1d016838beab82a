#include "runtime/store/kv_upkeep.h"

#include <sys/resource.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "runtime/store/index_codec.h"
#include "runtime/store/kv_collection.h"
#include "runtime/store/kv_eviction.h"
#include "runtime/store/kv_thinning.h"

namespace baleen {
namespace {

// Rewriting pays from here on; below, the dead part is left until more is dead around it.
constexpr double kDeadFraction = 0.3;
// Over the quota even a little is worth it.
constexpr double kDeadFractionUnderPressure = 0.02;
// Eviction goes this far below the quota, so that it isn't called for again at once.
constexpr double kQuotaAim = 0.9;
constexpr size_t kBlocksPerBatch = 64;
// Between two looks at what lives, each of which walks the index and flushes.
constexpr int64_t kFilesPerStep = 64;
/// A million tokens bring about 250 of which 32 stay: a run for every 64 keeps what waits for one
/// within twice of what stays.
constexpr int64_t kCheckpointsPerRun = 64;
constexpr int kNiceness = 10;

}  // namespace

/// One run.
class KvUpkeep::Pass {
 public:
  explicit Pass(const KvUpkeep& upkeep) : upkeep_(upkeep), store_(*upkeep.store_) {}

  Result<KvUpkeepReport> Run() {
    ASSIGN_OR_RETURN(const int64_t before, store_.BytesOnDisk());
    start_ = store_.BeginSweep();
    ASSIGN_OR_RETURN(checkpoints_, store_.ListAllCheckpoints());
    const KvClaimant claimant(checkpoints_, upkeep_.options_.block_tokens);
    ASSIGN_OR_RETURN(claims_, upkeep_.claims_(claimant));
    RETURN_IF_ERROR(Collect());
    RETURN_IF_ERROR(MarkPinsAndForks());
    RETURN_IF_ERROR(Thin());
    RETURN_IF_ERROR(Reclaim(kDeadFraction));
    RETURN_IF_ERROR(EnforceQuota());
    ASSIGN_OR_RETURN(report_.bytes_on_disk, store_.BytesOnDisk());
    report_.bytes_freed = std::max<int64_t>(before - report_.bytes_on_disk, 0);
    return std::move(report_);
  }

 private:
  Status CheckStop() const {
    if (!upkeep_.stop_) return OkStatus();
    return CancelledError("the store's upkeep was ended; the rest waits for the next run");
  }

  Result<int64_t> Sweep(std::span<const BlockKey> keys, DropReason reason, int64_t detail) {
    int64_t dropped = 0;
    while (!keys.empty()) {
      RETURN_IF_ERROR(CheckStop());
      const auto batch = keys.first(std::min(keys.size(), kBlocksPerBatch));
      keys = keys.subspan(batch.size());
      ASSIGN_OR_RETURN(const int64_t part, store_.SweepBlocks(batch, start_, reason, detail));
      dropped += part;
    }
    return dropped;
  }

  /// Those that went hold no bytes any more: an eviction that counted on them would end too early.
  Status Drop(std::span<const CheckpointEntry> entries) {
    RETURN_IF_ERROR(store_.DropCheckpoints(entries));
    std::set<std::string> gone;
    for (const CheckpointEntry& entry : entries) gone.insert(CheckpointIndexKey(entry));
    for (CheckpointEntry& entry : checkpoints_) {
      if (gone.contains(CheckpointIndexKey(entry))) entry.bytes = 0;
    }
    return OkStatus();
  }

  Status Collect() {
    ASSIGN_OR_RETURN(const auto blocks, store_.ListBlocks());
    const CollectionPlan plan =
        PlanCollection(blocks, checkpoints_, claims_, start_.number, start_.time_ms);
    ASSIGN_OR_RETURN(report_.blocks_collected, Sweep(plan.blocks, DropReason::kCollected, 0));
    RETURN_IF_ERROR(Drop(plan.checkpoints));
    report_.checkpoints_collected = std::ssize(plan.checkpoints);
    return OkStatus();
  }

  Status Mark(size_t index, uint32_t add, uint32_t remove) {
    CheckpointEntry& entry = checkpoints_[index];
    const Status set = store_.SetCheckpointKinds(entry, add, remove);
    if (set.code() == StatusCode::kNotFound) return OkStatus();  // collected or replaced meanwhile
    RETURN_IF_ERROR(set);
    entry.kinds = (entry.kinds & ~remove) | add;
    return OkStatus();
  }

  Status MarkPinsAndForks() {
    for (const CheckpointMark& mark : PlanPins(checkpoints_, claims_)) {
      RETURN_IF_ERROR(mark.pinned ? Mark(mark.index, kPinnedCheckpoint, 0)
                                  : Mark(mark.index, 0, kPinnedCheckpoint));
    }
    for (const size_t index : PlanForkMarks(checkpoints_, claims_)) {
      RETURN_IF_ERROR(Mark(index, 0, kForkCheckpoint));
    }
    return OkStatus();
  }

  Status Thin() {
    if (!upkeep_.options_.thins) return OkStatus();
    std::vector<CheckpointEntry> entries;
    for (const size_t index : PlanThinning(checkpoints_, claims_)) {
      entries.push_back(checkpoints_[index]);
    }
    report_.checkpoints_thinned = std::ssize(entries);
    return Drop(entries);
  }

  Status EnforceQuota() {
    const int64_t quota = upkeep_.options_.quota_bytes;
    if (!upkeep_.OverQuota()) return OkStatus();
    RETURN_IF_ERROR(Reclaim(kDeadFractionUnderPressure));
    if (!upkeep_.OverQuota()) return OkStatus();
    ASSIGN_OR_RETURN(const int64_t on_disk, store_.BytesOnDisk());
    ASSIGN_OR_RETURN(const auto blocks, store_.ListBlocks());
    const auto aim = static_cast<int64_t>(static_cast<double>(quota) * kQuotaAim);
    const EvictionPlan plan = PlanEviction(blocks, checkpoints_, claims_, on_disk - aim);
    ASSIGN_OR_RETURN(report_.blocks_evicted, Sweep(plan.blocks, DropReason::kQuota, quota));
    RETURN_IF_ERROR(store_.DropCheckpoints(plan.checkpoints));
    report_.checkpoints_evicted = std::ssize(plan.checkpoints);
    RETURN_IF_ERROR(Reclaim(kDeadFractionUnderPressure));
    if (!plan.enough && upkeep_.OverQuota()) {
      report_.notes.push_back(
          "the KV quota of " + std::to_string(quota) + " bytes is smaller than the " +
          std::to_string(plan.held_bytes) +
          " bytes that open and pinned sessions need; nothing of theirs was evicted: raise the "
          "quota, or unpin or release sessions");
    }
    return OkStatus();
  }

  Status Reclaim(double dead_fraction_min) {
    while (true) {
      RETURN_IF_ERROR(CheckStop());
      ASSIGN_OR_RETURN(const ReclaimReport step, store_.Reclaim(dead_fraction_min, kFilesPerStep));
      if (step.blocks_damaged > 0) {
        report_.notes.push_back(std::to_string(step.blocks_damaged) +
                                " blocks or checkpoints lay in a damaged file and were dropped; "
                                "they will be recomputed when needed");
      }
      if (!step.more || step.files == 0) return OkStatus();
    }
  }

  const KvUpkeep& upkeep_;
  KvStore& store_;
  SweepStart start_;
  std::vector<CheckpointEntry> checkpoints_;
  std::vector<KvClaim> claims_;
  KvUpkeepReport report_;
};

KvUpkeep::KvUpkeep(KvStore* store, const KvUpkeepOptions& options, Claims claims)
    : store_(store), options_(options), claims_(std::move(claims)), worker_(1, 1) {
  // Of the worker's thread alone on Linux. Refused: it then runs as the others do.
  worker_.queue().Push([] { setpriority(PRIO_PROCESS, 0, kNiceness); });
}

KvUpkeep::~KvUpkeep() {
  stop_ = true;
  worker_.Stop();
}

void KvUpkeep::Queue() {
  {
    const std::lock_guard lock(mutex_);
    if (queued_) return;
    queued_ = true;
  }
  worker_.queue().Push([this] { RunQueued(); });
}

void KvUpkeep::Schedule(Done done) {
  {
    const std::lock_guard lock(mutex_);
    wanted_ = true;
    if (done) waiting_.push_back(std::move(done));
  }
  Queue();
}

void KvUpkeep::ScheduleIfDue() {
  if (options_.quota_bytes != 0 || ThinningDue()) Queue();
}

bool KvUpkeep::ThinningDue() const {
  return options_.thins && store_->checkpoints_put() - checkpoints_seen_ >= kCheckpointsPerRun;
}

bool KvUpkeep::OverQuota() const {
  if (options_.quota_bytes == 0) return false;
  const auto bytes = store_->BytesOnDisk();
  return bytes.ok() && *bytes > options_.quota_bytes;
}

Result<KvUpkeepReport> KvUpkeep::Run() {
  const std::lock_guard lock(run_mutex_);
  checkpoints_seen_ = store_->checkpoints_put();
  auto report = Pass(*this).Run();
  const std::lock_guard notes_lock(mutex_);
  if (report.ok()) {
    notes_ = report->notes;
    blocks_evicted_ += report->blocks_evicted;
  } else if (!stop_) {
    notes_ = {"the KV store's space could not be given back; the next run tries again: " +
              report.status().ToString()};
  }
  return report;
}

std::vector<std::string> KvUpkeep::Notes() {
  const std::lock_guard lock(mutex_);
  return notes_;
}

void KvUpkeep::RunQueued() {
  std::vector<Done> waiting;
  bool wanted = false;
  {
    const std::lock_guard lock(mutex_);
    queued_ = false;
    wanted = std::exchange(wanted_, false);
    waiting.swap(waiting_);
  }
  if (!wanted && !OverQuota() && !ThinningDue()) return;
  const auto report = Run();
  for (const Done& done : waiting) done(report);
}

}  // namespace baleen
