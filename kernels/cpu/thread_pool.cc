// Fork-join pool, see the header.
// A worker that wakes late finds the gate shut and goes back to sleep, so the caller never waits
// for a thread that the system has not scheduled, only for units that have begun.
#include "kernels/cpu/thread_pool.h"

#include <algorithm>

namespace baleen::kernels::cpu {
namespace {

constexpr int kSpins = 500;  // A pause takes up to 140 cycles: some tens of microseconds.

inline void Pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads, int64_t fork_cost) : fork_cost_(fork_cost) {
  if (threads <= 0) threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { WorkerLoop(i); });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stop_.store(true);
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::Run(int64_t units, Function function, const void* body) {
  function_ = function;
  body_ = body;
  units_ = units;
  next_.store(0, std::memory_order_relaxed);
  gate_.store(1, std::memory_order_release);
  loops_.fetch_add(1);
  // Sequentially consistent with the sleeper's own pair (sleepers, then loops): one sees the other.
  if (sleepers_.load() > 0) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
    }
    wake_.notify_all();
  }
  for (int64_t unit; (unit = next_.fetch_add(1, std::memory_order_relaxed)) < units;) {
    function(body, unit, 0);
  }
  gate_.fetch_and(~1u, std::memory_order_acq_rel);
  for (int spins = 0; gate_.load(std::memory_order_acquire) != 0; ++spins) {
    if (spins < kSpins) {
      Pause();
    } else {
      std::this_thread::yield();
    }
  }
}

void ThreadPool::Help(int worker) {
  uint32_t gate = gate_.load(std::memory_order_relaxed);
  do {
    if ((gate & 1u) == 0) return;
  } while (!gate_.compare_exchange_weak(gate, gate + 2, std::memory_order_acq_rel));
  for (int64_t unit; (unit = next_.fetch_add(1, std::memory_order_relaxed)) < units_;) {
    function_(body_, unit, worker);
  }
  gate_.fetch_sub(2, std::memory_order_release);
}

// False when the pool stops.
bool ThreadPool::WaitForLoop(uint64_t seen) {
  for (int spins = 0; spins < kSpins; ++spins) {
    if (stop_.load(std::memory_order_relaxed)) return false;
    if (loops_.load(std::memory_order_acquire) != seen) return true;
    Pause();
  }
  std::unique_lock<std::mutex> lock(mutex_);
  sleepers_.fetch_add(1);
  wake_.wait(lock, [&] { return stop_.load() || loops_.load() != seen; });
  sleepers_.fetch_sub(1);
  return !stop_.load();
}

void ThreadPool::WorkerLoop(int worker) {
  uint64_t seen = 0;
  while (WaitForLoop(seen)) {
    seen = loops_.load(std::memory_order_acquire);
    Help(worker);
  }
}

}  // namespace baleen::kernels::cpu
