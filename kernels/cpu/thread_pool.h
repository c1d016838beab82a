// Fork-join pool of the cpu backend: one caller splits a loop, idle workers help. Workers spin for
// some microseconds after a loop (the next op of a token follows at once), then sleep on a
// condition variable: an idle engine uses no processor. Not a task queue; knows nothing of what it
// runs.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace baleen::kernels::cpu {

class ThreadPool {
 public:
  /// Operations below which a loop stays on its caller: about ten microseconds of arithmetic, which
  /// is what waking a thread costs.
  static constexpr int64_t kForkCost = 200'000;

  /// `threads` counts the caller; <= 0: one per core.
  ThreadPool(int threads, int64_t fork_cost);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  /// Calls body(unit, worker) once for every unit in [0, units), in any order, on the caller and on
  /// whichever workers are free; returns when all have returned. `worker` < threads().
  /// `unit_cost` is the rough number of floating-point operations of a unit: small loops stay on
  /// the caller.
  /// Threads: one caller at a time; not from inside a body.
  template <class Body>
  void For(int64_t units, int64_t unit_cost, const Body& body) {
    if (workers_.empty() || units <= 1 || units * unit_cost < fork_cost_) {
      for (int64_t unit = 0; unit < units; ++unit) body(unit, 0);
      return;
    }
    Run(units, &Invoke<Body>, &body);
  }

 private:
  using Function = void (*)(const void* body, int64_t unit, int worker);

  template <class Body>
  static void Invoke(const void* body, int64_t unit, int worker) {
    (*static_cast<const Body*>(body))(unit, worker);
  }

  void Run(int64_t units, Function function, const void* body);
  void WorkerLoop(int worker);
  bool WaitForLoop(uint64_t seen);
  void Help(int worker);

  const int64_t fork_cost_;

  // The loop in progress; written while no worker has joined.
  Function function_ = nullptr;
  const void* body_ = nullptr;
  int64_t units_ = 0;
  std::atomic<int64_t> next_{0};
  // Bit 0: the loop accepts workers. Above: number of workers inside, times two.
  std::atomic<uint32_t> gate_{0};
  std::atomic<uint64_t> loops_{0};  // Loops started so far.
  std::atomic<bool> stop_{false};

  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<int> sleepers_{0};
  std::vector<std::thread> workers_;
};

}  // namespace baleen::kernels::cpu
