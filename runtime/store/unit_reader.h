// UnitReader: the threads that read units of blocks, several at once, two lanes deep.
//
// Orders reads by place, cuts them into tasks, verifies and copies. A reader that is given up
// (deadline, cancellation) never touches its caller's memory again. Internal to runtime/store;
// knows the database only as a source of bytes. Called by kv_store.cc.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/store/kv_database.h"
#include "runtime/store/kv_store.h"

namespace baleen {

/// What readers have done, since Open.
struct UnitReadCounts {
  std::atomic<int64_t> units{0};
  std::atomic<int64_t> bytes{0};
  std::atomic<int64_t> late{0};
  std::atomic<int64_t> damaged{0};
  std::atomic<int64_t> blocks_found{0};
  std::atomic<int64_t> blocks_missed{0};
};

class UnitBatch;

/// Where one read finds its unit: what a task may look at without asking the batch.
struct UnitPlace {
  BlockKey key{};
  uint64_t number = 0;
  int32_t unit = 0;
  size_t index = 0;  ///< Of the read.
  int64_t bytes = 0;
};

/// Threads: any.
class UnitReader {
 public:
  /// Borrows: database.
  UnitReader(const KvDatabase* database, int threads);
  /// Ends the tasks that wait; their batches stay unfinished.
  ~UnitReader();
  UnitReader(const UnitReader&) = delete;
  UnitReader& operator=(const UnitReader&) = delete;

  Status Load(std::span<UnitRead> reads, const BlockShape& shape,
              std::optional<std::chrono::steady_clock::time_point> deadline);
  std::unique_ptr<UnitLoad> Start(std::vector<UnitRead> reads, const BlockShape& shape,
                                  UnitPriority priority, KvStore::UnitsDone done);

  const UnitReadCounts& counts() const { return counts_; }

  /// Called with each block whose unit 0 was read, from the reading thread. Set once, before use.
  std::function<void(const BlockKey& key)> on_block_used;

 private:
  using Task = std::function<void()>;

  void Loop();
  void Push(UnitPriority priority, std::vector<Task> tasks);
  void Submit(const std::shared_ptr<UnitBatch>& batch, UnitPriority priority);
  void Plan(const std::shared_ptr<UnitBatch>& batch, UnitPriority priority);
  void ReadPlaces(UnitBatch& batch, std::span<const UnitPlace> places);
  void Take(const Status& status, const std::string_view* value, const BlockShape& shape,
            UnitRead& read);

  const KvDatabase* const database_;
  UnitReadCounts counts_;
  std::mutex mutex_;
  std::condition_variable work_;
  std::deque<Task> lanes_[2];  // guarded by mutex_; [UnitPriority]
  bool stop_ = false;          // guarded by mutex_
  std::vector<std::thread> threads_;
};

}  // namespace baleen
