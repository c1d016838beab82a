// OutboundStream: what the two streaming RPCs share: one write in flight, a bounded queue, an
// orderly end, and a lifetime that outlasts every job that points here.
//
// The runtime's control thread only locks, pushes and posts; writing happens on gRPC's threads or
// on the stream executor. gRPC deletes the object by OnDone. Used by this folder only.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "runtime/grpc/executor.h"
#include "runtime/grpc/server.h"
#include "runtime/grpc/wire_status.h"
#include "tools_sdk/status.h"

namespace baleen {

class OpenStream {
 public:
  virtual ~OpenStream() = default;
  /// Ends the stream with UNAVAILABLE/DRAINING. Doesn't wait.
  virtual void Drain() = 0;
};

/// The open streams of one server. Lock order: this before a stream's own.
class StreamSet {
 public:
  /// false: draining; the stream is in the set, but has to end at once.
  bool Add(OpenStream* stream) {
    const std::lock_guard<std::mutex> lock(mutex_);
    streams_.insert(stream);
    return !draining_;
  }
  void Remove(OpenStream* stream) {
    const std::lock_guard<std::mutex> lock(mutex_);
    streams_.erase(stream);
    if (streams_.empty()) empty_.notify_all();
  }
  /// No more streams; those that are open go on.
  void Refuse() {
    const std::lock_guard<std::mutex> lock(mutex_);
    draining_ = true;
  }
  void Drain() {
    const std::lock_guard<std::mutex> lock(mutex_);
    draining_ = true;
    for (OpenStream* stream : streams_) stream->Drain();
  }
  void WaitUntilEmpty() {
    std::unique_lock<std::mutex> lock(mutex_);
    empty_.wait(lock, [this] { return streams_.empty(); });
  }
  bool draining() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return draining_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable empty_;
  std::set<OpenStream*> streams_;
  bool draining_ = false;
};

struct StreamThreads {
  Executor* calls;   ///< May block in the runtime.
  Executor* writes;  ///< Never blocks: starts writes.
  StreamSet* open;
  RequestObserver* observer = nullptr;
};

/// Reactor: grpc::ServerWriteReactor<Message> or grpc::ServerBidiReactor<..., Message>.
template <typename Reactor, typename Message>
class OutboundStream : public Reactor, public OpenStream {
 public:
  explicit OutboundStream(StreamThreads threads) : threads_(threads) {}

  void Drain() override {
    Close(UnavailableError("the server is shutting down; connect again and resume", "DRAINING"),
          false);
  }

  void OnWriteDone(bool ok) override {
    // gRPC keeps the object until this reaction returns, so several steps under the lock are fine.
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      writing_ = false;
    }
    if (!ok) Close(CancelledError("the stream's peer is gone"), false);
    Pump();
    Settle(0);
  }

  void OnCancel() override { Close(CancelledError("cancelled by the client"), false); }

  void OnDone() override {
    threads_.open->Remove(this);
    delete this;
  }

 protected:
  struct Pending {
    Message message;
    int64_t bytes = 0;
    bool live = false;
    std::string subject{};  ///< LiveSubject.
  };

  /// Gives up what the stream holds of the runtime. Called once, without the lock, on a call
  /// thread.
  virtual void Release() = 0;
  /// Under the lock, as a message leaves the queue.
  virtual void OnTaken(const Message& message) = 0;
  /// Under the lock: what the closing status carries beside its reason.
  virtual std::map<std::string, std::string> ClosingMetadata() const { return {}; }

  /// Runs `job` on a call thread; the object lives until it is done.
  void PostCall(std::function<void()> job) {
    const std::lock_guard<std::mutex> lock(mutex_);
    PostLocked(threads_.calls, std::move(job));
  }

  /// Ends the stream with `status` (OK too). flush: queued messages are written first. The first
  /// caller's status counts.
  void Close(const Status& status, bool flush) {
    const std::lock_guard<std::mutex> lock(mutex_);
    CloseLocked(status, flush);
  }

  /// Ends a stream that wasn't let in.
  void Refuse(const Status& status, wire::Details details) {
    const std::lock_guard<std::mutex> lock(mutex_);
    details_ = std::move(details);
    CloseLocked(status, false);
  }

  void CloseLocked(const Status& status, bool flush) {
    if (!flush) {
      flush_ = false;
      queue_.clear();
      queue_bytes_ = 0;
    }
    if (closing_) return;
    closing_ = true;
    status_ = status;
    PostLocked(threads_.calls, [this] { ReleaseOnce(); });
  }

  /// Under the lock, after a push: starts writing if nobody does.
  void KickLocked() {
    if (!started_ || writing_ || kicked_ || queue_.empty()) return;
    kicked_ = true;
    PostLocked(threads_.writes, [this] {
      {
        const std::lock_guard<std::mutex> lock(mutex_);
        kicked_ = false;
      }
      Pump();
    });
  }

  void PostLocked(Executor* executor, std::function<void()> job) {
    ++jobs_;
    executor->PostAlways([this, job = std::move(job)] {
      job();
      Settle(1);
    });
  }

  void PushLocked(Message message, int64_t bytes, bool live, std::string subject = {}) {
    queue_bytes_ += bytes;
    queue_.push_back(Pending{std::move(message), bytes, live, std::move(subject)});
  }

  std::mutex mutex_;
  // Guarded by mutex_:
  std::deque<Pending> queue_;
  int64_t queue_bytes_ = 0;
  bool started_ = false;  ///< Messages may be written.
  bool closing_ = false;

  StreamThreads threads_;

 private:
  void ReleaseOnce() {
    Release();
    const std::lock_guard<std::mutex> lock(mutex_);
    released_ = true;
  }

  void Pump() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!started_ || writing_ || finished_ || queue_.empty()) return;
      current_ = std::move(queue_.front().message);
      queue_bytes_ -= queue_.front().bytes;
      queue_.pop_front();
      OnTaken(current_);
      writing_ = true;
    }
    this->StartWrite(&current_);
  }

  /// Finishes once nothing refers to the stream any more. `jobs_done` are counted off under the
  /// same lock: after that another thread may finish the stream, and the object may be gone.
  void Settle(int64_t jobs_done) {
    grpc::Status status;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      jobs_ -= jobs_done;
      const bool flushed = queue_.empty() || !flush_ || !started_;
      if (!closing_ || !released_ || finished_ || writing_ || jobs_ > 0 || !flushed) return;
      finished_ = true;
      details_.metadata.merge(ClosingMetadata());
      status = wire::ToGrpc(status_, details_);
      if (threads_.observer != nullptr) threads_.observer->OnAnswer(status_);
    }
    this->Finish(std::move(status));
  }

  // Guarded by mutex_:
  Message current_;  ///< In flight; touched only while writing_ changes.
  Status status_;
  wire::Details details_;  ///< What the status carries beside its reason.
  bool flush_ = true;
  bool writing_ = false;
  bool kicked_ = false;
  bool released_ = false;
  bool finished_ = false;
  int64_t jobs_ = 0;
};

}  // namespace baleen
