// Worker: threads that drain one WorkQueue. The journal and KV threads are Workers of one, the tool
// pool of N.
#pragma once

#include <string>
#include <thread>
#include <vector>

#include "runtime/work_queue.h"

namespace baleen {

class Worker {
 public:
  Worker(int threads, size_t queue_limit) : queue_(queue_limit) {
    for (int i = 0; i < threads; ++i) {
      threads_.emplace_back([this] {
        while (auto work = queue_.Pop()) (*work)();
      });
    }
  }
  ~Worker() { Stop(); }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  WorkQueue& queue() { return queue_; }

  /// Finishes what is queued, then joins. Idempotent.
  void Stop() {
    queue_.Close();
    for (std::thread& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
  }

 private:
  WorkQueue queue_;
  std::vector<std::thread> threads_;
};

}  // namespace baleen
