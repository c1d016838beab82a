// The C API's streams: events of a session, and the calls that a tool host is asked for. Both are
// queues that the runtime fills and the host empties at its own pace.
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

#include "runtime/c/handles.h"
#include "runtime/c/json_request.h"
#include "runtime/live_subject.h"
#include "runtime/sessions/view_json.h"
#include "tools_sdk/json_text.h"

namespace baleen::c {
namespace {

constexpr size_t kQueueMax = 4096;

/// Texts on their way to the host, and how the stream ended.
class TextQueue {
 public:
  /// false: full. It takes the place of the last one of the same subject, if there is one.
  bool Push(std::string text, std::string subject = {}) {
    const std::lock_guard lock(mutex_);
    if (!subject.empty() && !texts_.empty() && texts_.back().subject == subject) {
      texts_.back().text = std::move(text);
      return true;
    }
    if (texts_.size() >= kQueueMax) return false;
    texts_.push_back({std::move(text), std::move(subject)});
    changed_.notify_one();
    return true;
  }
  /// What was pushed before can still be taken.
  void End(Status status) {
    const std::lock_guard lock(mutex_);
    if (!end_.has_value()) end_ = std::move(status);
    changed_.notify_all();
  }
  void Stop() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    changed_.notify_all();
  }
  Result<std::string> Take(int64_t timeout_ms) {
    std::unique_lock lock(mutex_);
    const auto ready = [&] { return stopped_ || !texts_.empty() || end_.has_value(); };
    if (timeout_ms < 0) {
      changed_.wait(lock, ready);
    } else if (!changed_.wait_for(lock, std::chrono::milliseconds(Bounded(timeout_ms)), ready)) {
      return DeadlineExceededError("nothing came within the time", "NOTHING_YET");
    }
    if (stopped_) return CancelledError("stopped by the host", "STOPPED");
    if (texts_.empty()) {
      return end_->ok() ? CancelledError("the stream has ended", "ENDED") : *end_;
    }
    std::string text = std::move(texts_.front().text);
    texts_.pop_front();
    return text;
  }

 private:
  /// A clock's arithmetic must not overflow.
  static int64_t Bounded(int64_t timeout_ms) {
    constexpr int64_t kYear = int64_t{365} * 24 * 3600 * 1000;
    return timeout_ms < kYear ? timeout_ms : kYear;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  struct Entry {
    std::string text;
    std::string subject;  ///< Empty: nothing takes its place.
  };
  std::deque<Entry> texts_;    // guarded by mutex_
  std::optional<Status> end_;  // guarded by mutex_
  bool stopped_ = false;       // guarded by mutex_
};

Status TakeNext(TextQueue& queue, int64_t timeout_ms, char** out) {
  if (out == nullptr) return InvalidArgumentError("nowhere to put the answer: NULL", "BAD_FIELD");
  ASSIGN_OR_RETURN(const std::string text, queue.Take(timeout_ms));
  return ReplyText(text, out);
}

class WatchQueue final : public EventSubscriber {
 public:
  bool OnEvent(const Event& event) override {
    return queue.Push(JsonText(ViewJson(event)), LiveSubject(event));
  }
  void OnEnd(const Status& status) override { queue.End(status); }
  TextQueue queue;
};

class CallQueue final : public ToolHostSink {
 public:
  bool OnCall(const std::string& session, const ToolCall& call, int64_t timeout_ms) override {
    return queue.Push(JsonText(Json{{"kind", "call"},
                                    {"session", session},
                                    {"call_id", call.id},
                                    {"name", call.name},
                                    {"arguments", Json::parse(call.arguments, nullptr, false)},
                                    {"timeout_ms", timeout_ms}}));
  }
  void OnCancel(const std::string& session, const std::string& call_id) override {
    if (!queue.Push(
            JsonText(Json{{"kind", "cancel"}, {"session", session}, {"call_id", call_id}}))) {
      queue.End(ResourceExhaustedError("calls and cancellations wait unread", "SLOW_CONSUMER"));
    }
  }
  TextQueue queue;
};

}  // namespace
}  // namespace baleen::c

// Members go in the reverse of their order: the subscription before what it calls and the runtime.
struct baleen_watch {
  std::shared_ptr<baleen::Runtime> runtime;
  baleen::c::WatchQueue events;
  std::unique_ptr<baleen::Subscription> subscription;
};

struct baleen_tool_host {
  std::shared_ptr<baleen::Runtime> runtime;
  std::string session;
  baleen::c::CallQueue calls;
  std::unique_ptr<baleen::ToolHostConnection> connection;
};

namespace baleen::c {
namespace {

Status StartWatch(baleen_runtime& runtime, const char* request, baleen_watch** out) {
  JsonRequest fields(request, "watch_start");
  WatchOptions options;
  fields.Need("session", &options.session);
  fields.Get("after", &options.after);
  fields.Get("live", &options.live);
  RETURN_IF_ERROR(fields.Finish());
  auto watch = std::make_unique<baleen_watch>();
  watch->runtime = runtime.runtime;
  ASSIGN_OR_RETURN(watch->subscription, runtime.runtime->Watch(options, &watch->events));
  *out = watch.release();
  return OkStatus();
}

Status StartToolHost(baleen_runtime& runtime, const char* request, baleen_tool_host** out) {
  JsonRequest fields(request, "tool_host_start");
  auto host = std::make_unique<baleen_tool_host>();
  std::vector<std::string> tools;
  fields.Need("session", &host->session);
  fields.Get("tools", &tools);
  if (tools.empty()) fields.Fail("member \"tools\" is missing or empty");
  RETURN_IF_ERROR(fields.Finish());
  host->runtime = runtime.runtime;
  ASSIGN_OR_RETURN(host->connection,
                   runtime.runtime->ConnectToolHost(host->session, tools, &host->calls));
  *out = host.release();
  return OkStatus();
}

Status Submit(baleen_tool_host& host, const char* request) {
  JsonRequest fields(request, "tool_host_submit");
  std::string session = host.session;
  std::string outcome = "OK";
  ToolResult result;
  fields.Get("session", &session);
  fields.Need("call_id", &result.call_id);
  fields.Get("content", &result.content);
  fields.Get("outcome", &outcome);
  if (outcome != "OK" && outcome != "ERROR") {
    fields.Fail("member \"outcome\": expected \"OK\" or \"ERROR\", got \"" + outcome + "\"");
  }
  RETURN_IF_ERROR(fields.Finish());
  result.outcome = outcome == "OK" ? ToolOutcome::kOk : ToolOutcome::kError;
  return host.connection->SubmitResult(session, result);
}

Status NullArgument(const char* function) {
  return InvalidArgumentError(std::string(function) + ": an argument is NULL", "BAD_FIELD");
}

}  // namespace
}  // namespace baleen::c

using baleen::c::Guard;
using baleen::c::NullArgument;

extern "C" {

int baleen_watch_start(baleen_runtime* runtime, const char* request_json, baleen_watch** watch,
                       baleen_error** error) {
  if (watch != nullptr) *watch = nullptr;
  return Guard(error, [&]() -> baleen::Status {
    if (runtime == nullptr || watch == nullptr) return NullArgument("baleen_watch_start");
    return baleen::c::StartWatch(*runtime, request_json, watch);
  });
}

int baleen_watch_next(baleen_watch* watch, int64_t timeout_ms, char** event_json,
                      baleen_error** error) {
  if (event_json != nullptr) *event_json = nullptr;
  return Guard(error, [&]() -> baleen::Status {
    if (watch == nullptr) return NullArgument("baleen_watch_next");
    return baleen::c::TakeNext(watch->events.queue, timeout_ms, event_json);
  });
}

void baleen_watch_stop(baleen_watch* watch) {
  if (watch != nullptr) watch->events.queue.Stop();
}

void baleen_watch_free(baleen_watch* watch) { delete watch; }

int baleen_tool_host_start(baleen_runtime* runtime, const char* request_json,
                           baleen_tool_host** host, baleen_error** error) {
  if (host != nullptr) *host = nullptr;
  return Guard(error, [&]() -> baleen::Status {
    if (runtime == nullptr || host == nullptr) return NullArgument("baleen_tool_host_start");
    return baleen::c::StartToolHost(*runtime, request_json, host);
  });
}

int baleen_tool_host_next(baleen_tool_host* host, int64_t timeout_ms, char** call_json,
                          baleen_error** error) {
  if (call_json != nullptr) *call_json = nullptr;
  return Guard(error, [&]() -> baleen::Status {
    if (host == nullptr) return NullArgument("baleen_tool_host_next");
    return baleen::c::TakeNext(host->calls.queue, timeout_ms, call_json);
  });
}

int baleen_tool_host_submit(baleen_tool_host* host, const char* result_json, baleen_error** error) {
  return Guard(error, [&]() -> baleen::Status {
    if (host == nullptr) return NullArgument("baleen_tool_host_submit");
    return baleen::c::Submit(*host, result_json);
  });
}

void baleen_tool_host_stop(baleen_tool_host* host) {
  if (host != nullptr) host->calls.queue.Stop();
}

void baleen_tool_host_free(baleen_tool_host* host) { delete host; }

}  // extern "C"
