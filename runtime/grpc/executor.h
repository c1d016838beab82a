// Executor: a few threads and one bounded queue, so that gRPC's threads and the runtime's control
// thread never wait for each other. Idle threads sleep on a condition variable: no wake-ups.
//
// Used by the server of this folder only.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace baleen {

/// Threads: Post and PostAlways may be called from any thread, also from jobs. Never blocks for
/// jobs.
class Executor {
 public:
  Executor(int threads, int64_t queued_max);
  /// Runs what is queued, then joins.
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  /// false: the queue is full, and the job won't run.
  bool Post(std::function<void()> job);
  /// For jobs whose number is bounded elsewhere (a few per open stream) and that must run.
  void PostAlways(std::function<void()> job);

 private:
  void Run();

  const int64_t queued_max_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> queue_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace baleen
