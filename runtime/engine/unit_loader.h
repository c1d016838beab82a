// UnitLoader: brings absent units of blocks from the KV store into RAM, for steps and behind them.
//
// Three customers: a step that waits for rows it selected (with a deadline), read-ahead of what the
// next step will likely select, and the stream that fills a lazily resumed sequence. The store's
// reader threads do the reading; one thread here keeps the stream going.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "model/kv_block.h"
#include "runtime/engine/kv_ram.h"
#include "runtime/store/kv_store.h"
#include "tools_sdk/status.h"

namespace baleen {

/// What steps had to wait for, for the turn's report.
struct RowWaits {
  int64_t units = 0;  ///< Read because a step needed them at once.
  int64_t bytes = 0;
  int64_t waits = 0;  ///< Times that a step waited.
  int64_t late = 0;   ///< Of these, deadlines missed.
  double wait_ms = 0;

  void Add(const RowWaits& other);
};

/// A unit that can't be read.
struct UnitFailure {
  KvUnitRef ref;
  Status status;
};

/// Threads: the engine thread.
class UnitLoader final : public KvRowSource {
 public:
  /// Borrows: everything, for its life. `store` null: nothing is ever absent.
  UnitLoader(KvStore* store, const KvLayout* layout, const BlockShape* shape, KvRam* ram,
             std::chrono::milliseconds wait);
  ~UnitLoader() override;

  /// Starts reading what nobody reads yet, and waits until all is there.
  /// Errors: DEADLINE_EXCEEDED after `wait`: late() says for what; the reading goes on. Another
  /// status: a unit can't be read; failures() says which.
  Status Fetch(std::span<const KvUnitRef> units) override;
  /// What the last Fetch that was late is waiting for.
  std::vector<KvUnitRef> TakeLate() { return std::exchange(late_, {}); }
  /// Waits for `units` once more. false: some are neither there nor known to be unreadable.
  bool Await(std::span<const KvUnitRef> units, std::chrono::milliseconds wait);
  /// The units on which the last Fetch failed.
  std::vector<UnitFailure> TakeFailures() { return std::exchange(failures_, {}); }
  /// The block was computed again: what is known of its bad units is out of date.
  void Mended(const KvBlockId& block);
  /// What was waited for since the last call.
  RowWaits TakeWaits() { return std::exchange(waits_, {}); }

  /// Starts reading and returns.
  void ReadAhead(std::span<const KvUnitRef> units);
  /// Fills `units` behind everything else, as long as there is room in RAM. `owner` names them.
  void Stream(const void* owner, std::vector<KvUnitRef> units);
  void StopStream(const void* owner);

  std::chrono::milliseconds wait() const { return wait_; }

 private:
  using UnitName = std::pair<KvBlockId, int32_t>;
  /// Reads that were started together.
  struct Load {
    std::vector<KvUnitRef> refs;
    std::unique_ptr<UnitLoad> handle;
    bool done = false;
  };

  static UnitName NameOf(const KvUnitRef& ref) { return {ref.block->id(), ref.unit}; }
  /// Claims those of `units` that are absent and not broken; null: none.
  std::shared_ptr<Load> Start(std::span<const KvUnitRef> units, UnitPriority priority);
  void OnDone(Load& load, std::span<const UnitRead> reads);
  /// Forgets loads that are done.
  void Reap();
  void StreamLoop();

  KvStore* const store_;
  const KvLayout* const layout_;
  const BlockShape* const shape_;
  KvRam* const ram_;
  const std::chrono::milliseconds wait_;
  std::vector<KvUnitRef> late_;
  std::vector<UnitFailure> failures_;
  RowWaits waits_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::shared_ptr<Load>> loads_;  // guarded by mutex_; owners: this and StreamLoop
  std::map<UnitName, Status> broken_;  // guarded by mutex_; failed reads that no step has met yet
  struct StreamTask {
    const void* owner = nullptr;
    std::deque<KvUnitRef> units;
  };
  std::deque<StreamTask> streams_;  // guarded by mutex_
  bool stop_ = false;               // guarded by mutex_
  std::thread stream_thread_;
};

}  // namespace baleen
