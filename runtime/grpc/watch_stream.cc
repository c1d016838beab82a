// Events.WatchEvents: one subscription of the runtime, through a bounded queue, to one client.
//
// A long replay arrives faster than any client reads it. So until the stream has reached the head
// that StreamReady named, a full queue ends the subscription only; once the queue is written, a new
// one continues after the last queued cursor. After that, a reader that falls behind is told so.

#include <baleen/v1/events.grpc.pb.h>

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "runtime/grpc/access.h"
#include "runtime/grpc/convert.h"
#include "runtime/grpc/services.h"
#include "runtime/live_subject.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

constexpr char kSlowConsumer[] = "SLOW_CONSUMER";
// How far back a newer event looks for the one that it replaces.
constexpr int kMergeDepth = 64;

using WatchResponse = v1::WatchEventsResponse;
using WatchBase = OutboundStream<grpc::ServerWriteReactor<WatchResponse>, WatchResponse>;

struct Lanes {
  bool durable = true;
  bool live = true;
};

class WatchStream final : public WatchBase {
 public:
  WatchStream(const ServiceContext& service, const v1::WatchEventsRequest& request)
      : WatchBase(service.threads), service_(service), subscriber_(this) {
    options_.after = request.after();
    parent_ = request.parent();
    if (!request.lanes().empty()) lanes_ = {false, false};
    for (const int lane : request.lanes()) {
      lanes_.durable = lanes_.durable || lane == v1::LANE_DURABLE;
      lanes_.live = lanes_.live || lane == v1::LANE_LIVE;
    }
  }

  void Begin(const Result<Caller>& admitted, const wire::Details& details) {
    if (!service_.threads.open->Add(this)) {
      Drain();
      return;
    }
    if (!admitted.ok()) {
      Refuse(admitted.status(), details);
      return;
    }
    runtime_ = admitted->runtime;
    PostCall([this] {
      const Status status = Open();
      if (!status.ok()) Close(status, false);
    });
  }

 private:
  /// Runs on the control thread.
  class Subscriber final : public EventSubscriber {
   public:
    explicit Subscriber(WatchStream* stream) : stream_(stream) {}
    bool OnEvent(const Event& event) override { return stream_->Take(event); }
    void OnEnd(const Status& status) override { stream_->End(status); }

   private:
    WatchStream* const stream_;
  };

  Status Open() {
    ASSIGN_OR_RETURN(options_.session, wire::ParseSessionName(parent_, "parent"));
    options_.live = lanes_.live;
    ASSIGN_OR_RETURN(const SessionView view, runtime_->GetSession(options_.session));
    WatchResponse ready;
    ready.mutable_ready()->set_head_cursor(ReplaceInvalidUtf8(view.head_cursor));
    ready.mutable_ready()->set_state(wire::ToWire(view.state));
    ready.mutable_ready()->set_open_turn(wire::TurnNameOf(view.session, view.open_turn));
    for (const std::string& approval : view.pending_approvals) {
      ready.mutable_ready()->add_pending_approvals(wire::ApprovalNameOf(view.session, approval));
    }
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (closing_) return OkStatus();
      head_cursor_ = view.head_cursor;
      caught_up_ = head_cursor_.empty() || head_cursor_ == options_.after;
      sent_cursor_ = queued_cursor_ = options_.after;
      PushLocked(std::move(ready), 0, false);
    }
    RETURN_IF_ERROR(Subscribe());
    const std::lock_guard<std::mutex> lock(mutex_);
    started_ = true;  // not before the runtime said yes: an error comes without a StreamReady
    KickLocked();
    return OkStatus();
  }

  /// On a call thread.
  Status Subscribe() {
    const std::lock_guard<std::mutex> own(subscription_mutex_);
    subscription_.reset();
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (closing_) return OkStatus();
      resubscribe_ = false;
      options_.after = queued_cursor_;
    }
    ASSIGN_OR_RETURN(subscription_, runtime_->Watch(options_, &subscriber_));
    return OkStatus();
  }

  bool Take(const Event& event) {
    const bool live = event.seq == 0;
    const bool wanted = live ? lanes_.live : lanes_.durable;
    WatchResponse message;
    if (wanted) wire::ToWire(event, message.mutable_event());
    const auto bytes = static_cast<int64_t>(message.ByteSizeLong());
    std::string subject = LiveSubject(event);
    const std::lock_guard<std::mutex> lock(mutex_);
    if (closing_ || resubscribe_) return false;
    if (wanted) {
      if (live && MergeLocked(message, bytes, subject)) return true;
      if (!FitsLocked(bytes)) DropLiveLocked();
      if (!FitsLocked(bytes)) {
        if (!live) return OverflowLocked();
        ++live_dropped_;
        return true;
      }
      message.mutable_event()->set_live_dropped(std::exchange(live_dropped_, 0));
      PushLocked(std::move(message), bytes, live, std::move(subject));
      KickLocked();
    }
    if (!live) {
      queued_cursor_ = event.cursor;
      caught_up_ = caught_up_ || event.cursor == head_cursor_;
    }
    return true;
  }

  /// An event larger than the whole queue passes alone, or it could never be read.
  bool FitsLocked(int64_t bytes) const {
    if (queue_.empty()) return true;
    return static_cast<int64_t>(queue_.size()) < service_.options.watch_events_max &&
           queue_bytes_ + bytes <= service_.options.watch_bytes_max;
  }

  void DropLiveLocked() {
    const size_t before = queue_.size();
    std::erase_if(queue_, [this](const Pending& pending) {
      if (!pending.live) return false;
      queue_bytes_ -= pending.bytes;
      live_dropped_ += pending.message.event().live_dropped();  // what it would have told
      return true;
    });
    live_dropped_ += static_cast<int64_t>(before - queue_.size());
  }

  /// Puts it in the place of one that waits and says nothing beside it.
  bool MergeLocked(const WatchResponse& message, int64_t bytes, const std::string& subject) {
    if (subject.empty()) return false;
    int depth = kMergeDepth;
    for (auto it = queue_.rbegin(); it != queue_.rend() && it->live && depth > 0; ++it, --depth) {
      if (it->subject != subject) continue;
      v1::Event* queued = it->message.mutable_event();
      const int64_t dropped = queued->live_dropped();
      *queued = message.event();
      queued->set_live_dropped(dropped);
      queue_bytes_ += bytes - it->bytes;
      it->bytes = bytes;
      return true;
    }
    return false;
  }

  bool OverflowLocked() {
    if (!caught_up_) {
      resubscribe_ = true;
      return false;
    }
    CloseLocked(ResourceExhaustedError("the watcher of session '" + options_.session +
                                           "' fell behind by " + std::to_string(queue_.size()) +
                                           " events or " + std::to_string(queue_bytes_) +
                                           " bytes; resume after the last cursor seen",
                                       kSlowConsumer),
                false);
    return false;
  }

  void End(const Status& status) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!resubscribe_) CloseLocked(status, true);
  }

  void OnTaken(const WatchResponse& message) override {
    if (message.has_event()) sent_cursor_ = message.event().cursor();
    if (!queue_.empty() || !resubscribe_ || closing_) return;
    PostLocked(threads_.calls, [this] {
      const Status status = Subscribe();
      if (!status.ok()) Close(status, true);
    });
  }

  std::map<std::string, std::string> ClosingMetadata() const override {
    return {{"cursor", sent_cursor_}};
  }

  void Release() override {
    const std::lock_guard<std::mutex> own(subscription_mutex_);
    subscription_.reset();
  }

  const ServiceContext service_;
  Runtime* runtime_ = nullptr;  ///< What the caller may see; set by Begin.
  std::string parent_;
  WatchOptions options_;  ///< Written on call threads only, one at a time.
  Lanes lanes_;
  Subscriber subscriber_;
  /// Call threads only, never with mutex_ held: ending a subscription waits for the control thread.
  std::mutex subscription_mutex_;
  std::unique_ptr<Subscription> subscription_;
  // Guarded by mutex_:
  std::string head_cursor_;    ///< As StreamReady said.
  std::string queued_cursor_;  ///< Of the last durable event that was queued or filtered.
  std::string sent_cursor_;    ///< Of the last event that was written.
  bool caught_up_ = false;
  bool resubscribe_ = false;
  int64_t live_dropped_ = 0;
};

class EventsService final : public v1::Events::CallbackService {
 public:
  explicit EventsService(const ServiceContext& context) : service_(context) {}

  grpc::ServerWriteReactor<WatchResponse>* WatchEvents(
      grpc::CallbackServerContext* context, const v1::WatchEventsRequest* request) override {
    auto* stream = new WatchStream(service_, *request);  // deleted by its OnDone
    wire::Details details;
    const auto admitted = service_.access->Admit(*context, Scope::kSessionsRead, &details);
    stream->Begin(admitted, details);
    return stream;
  }

 private:
  const ServiceContext service_;
};

}  // namespace

std::unique_ptr<grpc::Service> NewEventsService(const ServiceContext& context) {
  return std::make_unique<EventsService>(context);
}

}  // namespace baleen
