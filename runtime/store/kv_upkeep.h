// KvUpkeep: collection, thinning and eviction, carried out beside live work.
//
// Decides by the pure planners, from claims that sessions and engine make; drops in small batches,
// so that puts and loads wait microseconds; gives space back file by file. Its thread sleeps until
// it is asked, and runs at a low priority. Used by the runtime.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/store/kv_claims.h"
#include "runtime/store/kv_store.h"
#include "runtime/worker.h"
#include "tools_sdk/status.h"

namespace baleen {

struct KvUpkeepOptions {
  int64_t block_tokens = 0;  ///< As in the blocks' keys.
  int64_t quota_bytes = 0;   ///< On disk; 0: none.
  bool thins = true;         ///< false: every checkpoint of a timeline stays as long as it does.
};

struct KvUpkeepReport {
  int64_t blocks_collected = 0;
  int64_t checkpoints_collected = 0;
  int64_t checkpoints_thinned = 0;
  int64_t blocks_evicted = 0;
  int64_t checkpoints_evicted = 0;
  int64_t bytes_freed = 0;  ///< On disk.
  int64_t bytes_on_disk = 0;
  std::vector<std::string> notes;  ///< Why something could not be done, and what to do.
};

class KvUpkeep {
 public:
  /// Every timeline of every session, those of live sequences held. Called on the upkeep's thread;
  /// may take its time. An error ends the run, and nothing is dropped.
  using Claims = std::function<Result<std::vector<KvClaim>>(const KvClaimant& claimant)>;
  using Done = std::function<void(const Result<KvUpkeepReport>& report)>;

  /// Borrows: store.
  KvUpkeep(KvStore* store, const KvUpkeepOptions& options, Claims claims);
  /// Ends a run after its current batch or file.
  ~KvUpkeep();
  KvUpkeep(const KvUpkeep&) = delete;
  KvUpkeep& operator=(const KvUpkeep&) = delete;

  /// Asks for a run; never blocks. Those asked for before one begins are one. `done` (may be empty)
  /// is called on the upkeep's thread. Threads: any.
  void Schedule(Done done);
  /// The same if the store is over its quota, or got so many checkpoints since the last run that
  /// thinning pays; for after writes. Threads: any.
  void ScheduleIfDue();
  /// A run on this thread. Waits for one that goes on. Errors: of the claims and of the store;
  /// CANCELLED when the upkeep is being destroyed. Threads: any.
  Result<KvUpkeepReport> Run();
  /// What the last run could not do, and what to do about it. Threads: any.
  std::vector<std::string> Notes();
  /// Because of the quota, since the start. Threads: any.
  int64_t blocks_evicted() const { return blocks_evicted_.load(std::memory_order_relaxed); }

 private:
  class Pass;

  void Queue();
  void RunQueued();
  bool OverQuota() const;
  bool ThinningDue() const;

  KvStore* const store_;
  const KvUpkeepOptions options_;
  const Claims claims_;

  std::mutex run_mutex_;  ///< One run at a time.
  std::mutex mutex_;
  bool queued_ = false;             // guarded by mutex_
  bool wanted_ = false;             // guarded by mutex_
  std::vector<Done> waiting_;       // guarded by mutex_
  std::vector<std::string> notes_;  // guarded by mutex_; few
  std::atomic<bool> stop_{false};
  std::atomic<int64_t> blocks_evicted_{0};
  std::atomic<int64_t> checkpoints_seen_{0};  ///< Of the store's count, when a run last began.
  Worker worker_;                             ///< Last: its thread uses the rest.
};

}  // namespace baleen
