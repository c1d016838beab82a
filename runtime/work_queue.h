// WorkQueue: how threads hand work to each other. Bounded, closable, first in first out.
//
// The control, engine, storage and pool threads each drain one. An idle consumer sleeps without
// time-outs, so that an idle daemon costs nothing.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <utility>

namespace baleen {

/// Threads: all methods from any thread.
class WorkQueue {
 public:
  using Work = std::function<void()>;

  /// `limit`: entries beyond which TryPush refuses and WaitBelow waits.
  explicit WorkQueue(size_t limit) : limit_(limit) {}

  /// Never blocks and ignores the limit: for answers, whose number is bounded by the questions
  /// asked. false: closed; the work was dropped.
  bool Push(Work work) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (closed_) return false;
      queue_.push_back(std::move(work));
    }
    not_empty_.notify_one();
    return true;
  }

  /// false: full or closed; nothing was queued.
  bool TryPush(Work work) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (closed_ || queue_.size() >= limit_) return false;
      queue_.push_back(std::move(work));
    }
    not_empty_.notify_one();
    return true;
  }

  /// Back-pressure for producers that may wait: returns once fewer than `limit` entries are queued.
  void WaitBelow() {
    std::unique_lock<std::mutex> lock(mutex_);
    below_.wait(lock, [this] { return closed_ || queue_.size() < limit_; });
  }

  /// The next entry; nothing once closed and empty, or when `deadline` (steady clock) has passed.
  std::optional<Work> Pop(std::optional<std::chrono::steady_clock::time_point> deadline = {}) {
    std::unique_lock<std::mutex> lock(mutex_);
    const auto ready = [this] { return closed_ || !queue_.empty(); };
    if (deadline.has_value()) {
      if (!not_empty_.wait_until(lock, *deadline, ready)) return std::nullopt;
    } else {
      not_empty_.wait(lock, ready);
    }
    if (queue_.empty()) return std::nullopt;
    Work work = std::move(queue_.front());
    queue_.pop_front();
    if (queue_.size() < limit_) below_.notify_all();
    return work;
  }

  /// Refuses new work; what is queued is still handed out.
  void Close() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      closed_ = true;
    }
    not_empty_.notify_all();
    below_.notify_all();
  }

  bool closed() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return closed_;
  }

 private:
  const size_t limit_;
  mutable std::mutex mutex_;
  std::condition_variable not_empty_;
  std::condition_variable below_;
  std::deque<Work> queue_;
  bool closed_ = false;
};

}  // namespace baleen
