#include "runtime/engine/unit_loader.h"

#include <algorithm>
#include <string>

namespace baleen {
namespace {

using SteadyClock = std::chrono::steady_clock;

/// Units per read of the stream: long enough for the disk, short enough to stop soon.
constexpr size_t kStreamUnits = 64;
/// Failed reads that are remembered; a store with more of them is past saving.
constexpr size_t kBrokenMax = 65536;

}  // namespace

void RowWaits::Add(const RowWaits& other) {
  units += other.units;
  bytes += other.bytes;
  waits += other.waits;
  late += other.late;
  wait_ms += other.wait_ms;
}

UnitLoader::UnitLoader(KvStore* store, const KvLayout* layout, const BlockShape* shape, KvRam* ram,
                       std::chrono::milliseconds wait)
    : store_(store), layout_(layout), shape_(shape), ram_(ram), wait_(wait) {
  if (store_ != nullptr) stream_thread_ = std::thread([this] { StreamLoop(); });
}

UnitLoader::~UnitLoader() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  if (stream_thread_.joinable()) stream_thread_.join();
  for (const auto& load : loads_) load->handle.reset();  // waits: no callback runs after this
}

std::shared_ptr<UnitLoader::Load> UnitLoader::Start(std::span<const KvUnitRef> units,
                                                    UnitPriority priority) {
  std::vector<UnitRead> reads;
  auto load = std::make_shared<Load>();
  for (const KvUnitRef& ref : units) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (broken_.count(NameOf(ref)) != 0) continue;
    }
    const std::span<std::byte> room =
        ref.block->Claim(ref.unit, layout_->units[static_cast<size_t>(ref.unit)].bytes);
    if (room.empty()) continue;
    UnitRead read;
    read.key = ref.block->id();
    read.unit = ref.unit;
    read.out = room.first(static_cast<size_t>(shape_->extent(ref.unit).bytes));
    reads.push_back(std::move(read));
    load->refs.push_back(ref);
  }
  if (reads.empty()) return nullptr;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    loads_.push_back(load);
  }
  // A load stays in the list until its handle is there and its callback has run.
  auto handle = store_->StartUnits(
      std::move(reads), *shape_, priority,
      [this, load = load.get()](std::span<const UnitRead> done) { OnDone(*load, done); });
  const std::lock_guard<std::mutex> lock(mutex_);
  load->handle = std::move(handle);
  return load;
}

void UnitLoader::OnDone(Load& load, std::span<const UnitRead> reads) {
  for (size_t i = 0; i < reads.size(); ++i) {
    if (!reads[i].status.ok()) continue;
    const KvUnitRef& ref = load.refs[i];
    ram_->Grew(layout_->units[static_cast<size_t>(ref.unit)].bytes);
    ref.block->Publish(ref.unit);
  }
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (broken_.size() > kBrokenMax) broken_.clear();
    for (size_t i = 0; i < reads.size(); ++i) {
      if (reads[i].status.ok()) continue;
      const KvUnitRef& ref = load.refs[i];
      if (reads[i].status.code() != StatusCode::kCancelled) {
        broken_.insert_or_assign(NameOf(ref), reads[i].status);
      }
      ref.block->Abandon(ref.unit);
    }
    load.done = true;
  }
  changed_.notify_all();
}

void UnitLoader::Reap() {
  std::vector<std::shared_ptr<Load>> done;  // destroyed without the lock, which the callback takes
  const std::lock_guard<std::mutex> lock(mutex_);
  std::erase_if(loads_, [&](const std::shared_ptr<Load>& load) {
    if (!load->done || load->handle == nullptr) return false;
    done.push_back(load);
    return true;
  });
}

Status UnitLoader::Fetch(std::span<const KvUnitRef> units) {
  const auto begin = SteadyClock::now();
  const bool arrived = Await(units, wait_);
  ++waits_.waits;
  waits_.wait_ms += std::chrono::duration<double, std::milli>(SteadyClock::now() - begin).count();
  failures_.clear();
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const KvUnitRef& ref : units) {
      const auto found = broken_.find(NameOf(ref));
      if (ref.block->present(ref.unit) || found == broken_.end()) continue;
      failures_.push_back({ref, found->second});
      broken_.erase(found);  // whoever asks again has mended it, or learns it anew
    }
  }
  if (!failures_.empty()) return failures_.front().status;
  if (arrived) {
    waits_.units += std::ssize(units);
    for (const KvUnitRef& ref : units) {
      waits_.bytes += layout_->units[static_cast<size_t>(ref.unit)].bytes;
    }
    return OkStatus();
  }
  ++waits_.late;
  late_.assign(units.begin(), units.end());
  return DeadlineExceededError("rows of " + std::to_string(units.size()) +
                                   " units did not come from the disk within " +
                                   std::to_string(wait_.count()) + " ms; the sequence waits",
                               "DISK_LATE");
}

bool UnitLoader::Await(std::span<const KvUnitRef> units, std::chrono::milliseconds wait) {
  const auto deadline = SteadyClock::now() + wait;
  Reap();
  while (true) {
    Start(units, UnitPriority::kForeground);
    std::unique_lock<std::mutex> lock(mutex_);
    bool abandoned = false;
    const auto settled = [&] {
      bool all = true;
      for (const KvUnitRef& ref : units) {
        if (ref.block->present(ref.unit) || broken_.count(NameOf(ref)) != 0) continue;
        all = false;
        abandoned = abandoned || !ref.block->claimed(ref.unit);
      }
      return all || abandoned;
    };
    if (!changed_.wait_until(lock, deadline, settled)) return false;
    if (!abandoned) return true;
    // A read that somebody else had begun was given up: it is ours now.
  }
}

void UnitLoader::Mended(const KvBlockId& block) {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::erase_if(broken_, [&](const auto& entry) { return entry.first.first == block; });
}

void UnitLoader::ReadAhead(std::span<const KvUnitRef> units) {
  if (units.empty()) return;
  Reap();
  Start(units, UnitPriority::kForeground);
}

void UnitLoader::Stream(const void* owner, std::vector<KvUnitRef> units) {
  if (units.empty()) return;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    streams_.push_back({owner, {units.begin(), units.end()}});
  }
  changed_.notify_all();
}

void UnitLoader::StopStream(const void* owner) {
  std::deque<StreamTask> stopped;  // its references go without the lock
  const std::lock_guard<std::mutex> lock(mutex_);
  for (auto task = streams_.begin(); task != streams_.end();) {
    if (task->owner != owner) {
      ++task;
      continue;
    }
    stopped.push_back(std::move(*task));
    task = streams_.erase(task);
  }
}

void UnitLoader::StreamLoop() {
  while (true) {
    std::vector<KvUnitRef> batch;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [this] { return stop_ || !streams_.empty(); });
      if (stop_) return;
      StreamTask& task = streams_.front();
      int64_t bytes = 0;
      while (!task.units.empty() && batch.size() < kStreamUnits) {
        const KvUnitRef& ref = task.units.front();
        bytes += layout_->units[static_cast<size_t>(ref.unit)].bytes;
        if (bytes > ram_->room()) task.units.clear();  // the rest is read when it is selected
        if (task.units.empty()) break;
        batch.push_back(ref);
        task.units.pop_front();
      }
      if (task.units.empty()) streams_.pop_front();
    }
    const std::shared_ptr<Load> load = Start(batch, UnitPriority::kBackground);
    if (load == nullptr) continue;
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return stop_ || load->done; });
  }
}

}  // namespace baleen
