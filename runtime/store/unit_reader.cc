#include "runtime/store/unit_reader.h"

#include <algorithm>
#include <utility>

#include "runtime/store/block_codec.h"
#include "runtime/store/index_codec.h"

namespace baleen {
namespace {

// A task is long enough for read-ahead to pay, and short enough that foreground reads get in soon.
constexpr int64_t kTaskBytes = 8 << 20;
// A small batch is spread over all threads all the same.
constexpr size_t kTasksPerThread = 2;
constexpr size_t kTaskUnitsMin = 8;

using Place = UnitPlace;

bool InDiskOrder(const Place& a, const Place& b) {
  const bool a_rows = a.unit != 0;
  const bool b_rows = b.unit != 0;
  return std::tie(a_rows, a.number, a.unit) < std::tie(b_rows, b.number, b.unit);
}

}  // namespace

/// Reads that end together. Owners: its tasks, and who waits for it.
class UnitBatch {
 public:
  UnitBatch(std::span<UnitRead> reads, const BlockShape& shape) : reads_(reads), shape_(&shape) {
    Prepare();
  }
  UnitBatch(std::vector<UnitRead> reads, const BlockShape& shape, KvStore::UnitsDone done)
      : owned_(std::move(reads)),
        owned_shape_(shape),
        reads_(owned_),
        shape_(&owned_shape_),
        done_(std::move(done)) {
    Prepare();
  }

  std::vector<Place> TakePlaces() { return std::move(places_); }
  bool empty() const { return reads_.empty(); }

  /// Ends read `index`: `finish` fills it in. false: the batch is closed, and nothing was done.
  bool Deliver(size_t index, const std::function<void(UnitRead&)>& finish) {
    {
      const std::lock_guard lock(mutex_);
      if (closed_) return false;
      ++copies_;
    }
    finish(reads_[index]);
    std::unique_lock lock(mutex_);
    ended_[index] = true;
    --copies_;
    --left_;
    if (left_ == 0) {
      CallDone(lock);
    } else if (copies_ == 0) {
      changed_.notify_all();
    }
    return true;
  }

  /// For a batch without reads.
  void DeliverNothing() {
    std::unique_lock lock(mutex_);
    CallDone(lock);
  }

  bool closed() const {
    const std::lock_guard lock(mutex_);
    return closed_;
  }

  /// Waits for the end of all reads, or `deadline`.
  void Wait(std::optional<std::chrono::steady_clock::time_point> deadline) {
    std::unique_lock lock(mutex_);
    const auto ended = [this] { return left_ == 0; };
    if (deadline.has_value()) {
      changed_.wait_until(lock, *deadline, ended);
    } else {
      changed_.wait(lock, ended);
    }
  }

  /// Nobody touches the reads after this; those that have not ended get `status`. Returns how many.
  int64_t Close(const Status& status) {
    std::unique_lock lock(mutex_);
    closed_ = true;
    changed_.wait(lock, [this] {
      return copies_ == 0 && (!calling_ || caller_ == std::this_thread::get_id());
    });
    int64_t cut_off = 0;
    for (size_t i = 0; i < reads_.size(); ++i) {
      if (ended_[i]) continue;
      ended_[i] = true;
      reads_[i].status = status;
      ++cut_off;
    }
    return cut_off;
  }

  const BlockShape& shape() const { return *shape_; }

 private:
  void Prepare() {
    left_ = reads_.size();
    ended_.assign(reads_.size(), false);
    places_.reserve(reads_.size());
    for (size_t i = 0; i < reads_.size(); ++i) {
      const UnitRead& read = reads_[i];
      places_.push_back({read.key, read.number, read.unit, i, std::ssize(read.out)});
    }
  }

  void CallDone(std::unique_lock<std::mutex>& lock) {
    calling_ = true;
    caller_ = std::this_thread::get_id();
    lock.unlock();
    if (done_) done_(reads_);
    lock.lock();
    calling_ = false;
    changed_.notify_all();
  }

  std::vector<UnitRead> owned_;
  BlockShape owned_shape_;
  const std::span<UnitRead> reads_;
  const BlockShape* const shape_;
  const KvStore::UnitsDone done_;
  std::vector<Place> places_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<bool> ended_;  // guarded by mutex_; [reads]
  size_t left_ = 0;          // guarded by mutex_
  int copies_ = 0;           // guarded by mutex_
  bool closed_ = false;      // guarded by mutex_
  bool calling_ = false;     // guarded by mutex_
  std::thread::id caller_;   // guarded by mutex_
};

namespace {

class BatchLoad : public UnitLoad {
 public:
  explicit BatchLoad(std::shared_ptr<UnitBatch> batch) : batch_(std::move(batch)) {}
  ~BatchLoad() override { BatchLoad::Cancel(); }
  void Cancel() override { batch_->Close(CancelledError("the load was cancelled")); }

 private:
  const std::shared_ptr<UnitBatch> batch_;  // owners: this and the tasks
};

/// Units without bytes aren't stored.
void EndEmptyReads(UnitBatch& batch, std::vector<Place>& places) {
  std::erase_if(places, [&](const Place& place) {
    if (place.unit == 0 || place.bytes > 0) return false;
    batch.Deliver(place.index, [&](UnitRead& read) {
      read.status = CheckUnit(batch.shape(), read.unit, read.out.size());
    });
    return true;
  });
}

/// Looks up the numbers of places that don't know theirs; ends the reads of missing blocks.
void ResolveNumbers(const KvDatabase& database, UnitBatch& batch, UnitReadCounts& counts,
                    std::vector<Place>& places) {
  std::sort(places.begin(), places.end(),
            [](const Place& a, const Place& b) { return a.key < b.key; });
  Result<std::optional<std::string>> found = std::optional<std::string>();
  for (size_t i = 0; i < places.size(); ++i) {
    Place& place = places[i];
    if (place.number != 0) continue;
    const bool again = i > 0 && places[i - 1].key == place.key && places[i - 1].number != 0;
    if (again) {
      place.number = places[i - 1].number;
      continue;
    }
    found = database.Get(KvFamily::kIndex, BlockIndexKey(place.key));
    Status status = found.status();
    if (found.ok() && !found->has_value()) status = BlockNotStored(place.key);
    if (status.ok()) {
      const auto entry = DecodeBlockEntry(**found);
      if (entry.has_value()) {
        place.number = entry->number;
        ++counts.blocks_found;
        continue;
      }
      status = DataLossError("KV block " + BlockKeyHex(place.key) + ": its index entry is damaged");
    }
    ++counts.blocks_missed;
    batch.Deliver(place.index, [&](UnitRead& read) { read.status = status; });
  }
  std::erase_if(places, [](const Place& place) { return place.number == 0; });
}

}  // namespace

UnitReader::UnitReader(const KvDatabase* database, int threads) : database_(database) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Loop(); });
}

UnitReader::~UnitReader() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  work_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void UnitReader::Loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    work_.wait(lock, [this] { return stop_ || !lanes_[0].empty() || !lanes_[1].empty(); });
    if (stop_) return;
    std::deque<Task>& lane = lanes_[0].empty() ? lanes_[1] : lanes_[0];
    const Task task = std::move(lane.front());
    lane.pop_front();
    lock.unlock();
    task();
    lock.lock();
  }
}

void UnitReader::Push(UnitPriority priority, std::vector<Task> tasks) {
  const bool one = tasks.size() == 1;
  {
    const std::lock_guard lock(mutex_);
    auto& lane = lanes_[priority == UnitPriority::kForeground ? 0 : 1];
    std::move(tasks.begin(), tasks.end(), std::back_inserter(lane));
  }
  one ? work_.notify_one() : work_.notify_all();
}

void UnitReader::Submit(const std::shared_ptr<UnitBatch>& batch, UnitPriority priority) {
  if (batch->empty()) return batch->DeliverNothing();
  Push(priority, {[this, batch, priority] { Plan(batch, priority); }});
}

void UnitReader::Plan(const std::shared_ptr<UnitBatch>& batch, UnitPriority priority) {
  if (batch->closed()) return;
  std::vector<Place> places = batch->TakePlaces();
  EndEmptyReads(*batch, places);
  ResolveNumbers(*database_, *batch, counts_, places);
  std::sort(places.begin(), places.end(), InDiskOrder);
  const size_t spread =
      std::max(kTaskUnitsMin, places.size() / (threads_.size() * kTasksPerThread));
  std::vector<Task> tasks;
  for (size_t begin = 0; begin < places.size();) {
    size_t end = begin;
    const bool rows = places[begin].unit != 0;
    for (int64_t bytes = 0; end < places.size() && end - begin < spread && bytes < kTaskBytes &&
                            (places[end].unit != 0) == rows;
         ++end) {
      bytes += places[end].bytes;
    }
    std::vector<Place> part(places.begin() + static_cast<int64_t>(begin),
                            places.begin() + static_cast<int64_t>(end));
    begin = end;
    tasks.push_back([this, batch, part = std::move(part)] { ReadPlaces(*batch, part); });
  }
  if (!tasks.empty()) Push(priority, std::move(tasks));
}

void UnitReader::ReadPlaces(UnitBatch& batch, std::span<const UnitPlace> places) {
  if (batch.closed()) return;
  const bool rows = places[0].unit != 0;
  std::vector<std::string> keys;
  keys.reserve(places.size());
  for (const Place& place : places) {
    keys.push_back(rows ? KvRowKey(place.number, place.unit) : NumberKey(place.number));
  }
  const auto sink = [&](size_t i, const Status& status, const std::string_view* value) {
    return batch.Deliver(places[i].index, [&](UnitRead& read) {
      read.number = places[i].number;
      Take(status, value, batch.shape(), read);
    });
  };
  database_->Visit(rows ? KvFamily::kRows : KvFamily::kBlocks, keys, sink);
}

void UnitReader::Take(const Status& status, const std::string_view* value, const BlockShape& shape,
                      UnitRead& read) {
  if (value != nullptr) {
    read.status = LoadUnit(*value, read.key, read.tokens, shape, read.unit, read.out);
  } else {
    read.status = CheckUnit(shape, read.unit, read.out.size());
    if (read.status.ok()) read.status = status;
    if (read.status.ok()) {
      read.status = DataLossError("value " + std::to_string(read.number) +
                                  " is indexed but missing; recompute it");
    }
  }
  if (read.status.ok()) {
    ++counts_.units;
    counts_.bytes += std::ssize(read.out);
    if (read.unit == 0 && on_block_used) on_block_used(read.key);
    return;
  }
  read.number = 0;
  read.status = read.status.WithContext("KV block " + BlockKeyHex(read.key) + ", unit " +
                                        std::to_string(read.unit));
  if (read.status.code() == StatusCode::kDataLoss) ++counts_.damaged;
}

Status UnitReader::Load(std::span<UnitRead> reads, const BlockShape& shape,
                        std::optional<std::chrono::steady_clock::time_point> deadline) {
  const auto batch = std::make_shared<UnitBatch>(reads, shape);  // owners: this call and the tasks
  Submit(batch, UnitPriority::kForeground);
  batch->Wait(deadline);
  counts_.late += batch->Close(DeadlineExceededError(
      "the disk was slower than the deadline; the unit was not read", "DISK_LATE"));
  for (const UnitRead& read : reads) RETURN_IF_ERROR(read.status);
  return OkStatus();
}

std::unique_ptr<UnitLoad> UnitReader::Start(std::vector<UnitRead> reads, const BlockShape& shape,
                                            UnitPriority priority, KvStore::UnitsDone done) {
  const auto batch = std::make_shared<UnitBatch>(std::move(reads), shape, std::move(done));
  auto load = std::make_unique<BatchLoad>(batch);
  Submit(batch, priority);
  return load;
}

}  // namespace baleen
