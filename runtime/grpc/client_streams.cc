#include "runtime/grpc/client_streams.h"

#include <baleen/v1/events.grpc.pb.h>
#include <baleen/v1/tool_host.grpc.pb.h>
#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "runtime/grpc/convert.h"
#include "runtime/grpc/wire_status.h"

namespace baleen {
namespace {

class WatchReader final : public Subscription {
 public:
  WatchReader(const std::shared_ptr<grpc::Channel>& channel, EventSubscriber* subscriber)
      : stub_(v1::Events::NewStub(channel)), subscriber_(subscriber) {}

  ~WatchReader() override {
    context_.TryCancel();
    if (thread_.joinable()) thread_.join();
  }

  /// Waits for StreamReady, so that refusals are the answer of Watch, as in process.
  Status Open(const WatchOptions& options) {
    v1::WatchEventsRequest request;
    request.set_parent(wire::SessionName(options.session));
    request.set_after(options.after);
    request.add_lanes(v1::LANE_DURABLE);
    if (options.live) request.add_lanes(v1::LANE_LIVE);
    reader_ = stub_->WatchEvents(&context_, request);
    v1::WatchEventsResponse first;
    if (!reader_->Read(&first)) {
      const Status status = wire::FromGrpc(reader_->Finish());
      return status.ok() ? InternalError("the server ended the event stream at once") : status;
    }
    thread_ = std::thread([this] { Run(); });
    return OkStatus();
  }

 private:
  void Run() {
    v1::WatchEventsResponse message;
    Status own;
    while (own.ok() && reader_->Read(&message)) {
      if (!message.has_event()) continue;  // of a newer server
      const Result<Event> event = wire::FromWire(message.event());
      if (!event.ok()) {
        own = event.status().WithContext("from the server");
      } else if (!subscriber_->OnEvent(*event)) {
        own = ResourceExhaustedError("the subscriber can't keep up; resume after its last cursor",
                                     "SLOW_CONSUMER");
      }
    }
    if (!own.ok()) context_.TryCancel();
    const Status status = wire::FromGrpc(reader_->Finish());
    subscriber_->OnEnd(own.ok() ? status : own);
  }

  const std::unique_ptr<v1::Events::Stub> stub_;
  EventSubscriber* const subscriber_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::WatchEventsResponse>> reader_;
  std::thread thread_;
};

class HostClient final : public ToolHostConnection {
 public:
  HostClient(const std::shared_ptr<grpc::Channel>& channel, std::string session, ToolHostSink* sink)
      : stub_(v1::ToolHost::NewStub(channel)), session_(std::move(session)), sink_(sink) {}

  ~HostClient() override {
    context_.TryCancel();
    if (thread_.joinable()) thread_.join();
  }

  Status Open(const std::vector<std::string>& tools) {
    stream_ = stub_->Serve(&context_);
    v1::ServeRequest request;
    request.mutable_register_()->set_session(wire::SessionName(session_));
    for (const std::string& tool : tools) request.mutable_register_()->add_tools(tool);
    v1::ServeResponse first;
    const bool answered = stream_->Write(request) && stream_->Read(&first);
    if (!answered || !first.has_registered()) {
      // If the stream has ended already, a cancel would hide why.
      if (answered) context_.TryCancel();
      const Status status = wire::FromGrpc(stream_->Finish());
      return status.ok() ? InternalError("the server didn't register the tool host") : status;
    }
    thread_ = std::thread([this] { Run(); });
    return OkStatus();
  }

  Status SubmitResult(const std::string& session, const ToolResult& result) override {
    if (session != session_) {
      return InvalidArgumentError(
          "this tool host serves session '" + session_ + "', not '" + session + "'",
          wire::kBadField);
    }
    v1::ServeRequest request;
    wire::ToWire(result, request.mutable_result());
    Receipt receipt;
    {
      // Receipts come in the order of the results: queue and write under one lock.
      const std::lock_guard<std::mutex> writing(write_mutex_);
      {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (ended_) return end_;
        waiting_.push_back(&receipt);
      }
      // If it fails, Run sees the end of the stream too and answers every receipt.
      if (!stream_->Write(request)) context_.TryCancel();
    }
    std::unique_lock<std::mutex> lock(mutex_);
    answered_.wait(lock, [&receipt] { return receipt.answered; });
    return receipt.status;
  }

 private:
  struct Receipt {
    bool answered = false;
    Status status;
  };

  void Run() {
    v1::ServeResponse message;
    while (stream_->Read(&message)) {
      if (message.has_call()) {
        const v1::Call& call = message.call();
        if (!sink_->OnCall(session_, {call.call_id(), call.tool(), call.arguments()},
                           call.timeout_ms())) {
          break;
        }
      } else if (message.has_cancel()) {
        sink_->OnCancel(session_, message.cancel().call_id());
      } else if (message.has_receipt()) {
        Answer(message.receipt());
      }
    }
    context_.TryCancel();
    {
      const std::lock_guard<std::mutex> writing(write_mutex_);  // Finish and Write must not overlap
      const Status status = wire::FromGrpc(stream_->Finish());
      const std::lock_guard<std::mutex> lock(mutex_);
      ended_ = true;
      end_ = UnavailableError("the tool host's stream has ended" +
                                  (status.ok() ? "" : " (" + status.ToString() + ")") +
                                  "; connect it again",
                              status.reason());
      for (Receipt* receipt : waiting_) *receipt = {true, end_};
      waiting_.clear();
    }
    answered_.notify_all();
  }

  void Answer(const v1::ResultReceipt& wire) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (waiting_.empty()) return;
      Receipt* receipt = waiting_.front();
      waiting_.pop_front();
      receipt->answered = true;
      const bool known =
          wire.code() >= 0 && wire.code() <= static_cast<int>(StatusCode::kUnauthenticated);
      const StatusCode code = known ? static_cast<StatusCode>(wire.code()) : StatusCode::kUnknown;
      if (code != StatusCode::kOk) receipt->status = Status(code, wire.error(), wire.reason());
    }
    answered_.notify_all();
  }

  const std::unique_ptr<v1::ToolHost::Stub> stub_;
  const std::string session_;
  ToolHostSink* const sink_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::ServeRequest, v1::ServeResponse>> stream_;
  std::mutex write_mutex_;  ///< Before mutex_.
  std::mutex mutex_;
  std::condition_variable answered_;
  // Guarded by mutex_:
  std::deque<Receipt*> waiting_;  ///< Of callers that wait, in the order of their results.
  bool ended_ = false;
  Status end_;
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<Subscription>> RemoteWatch(const std::shared_ptr<grpc::Channel>& channel,
                                                  const WatchOptions& options,
                                                  EventSubscriber* subscriber) {
  auto reader = std::make_unique<WatchReader>(channel, subscriber);
  RETURN_IF_ERROR(reader->Open(options));
  return std::unique_ptr<Subscription>(std::move(reader));
}

Result<std::unique_ptr<ToolHostConnection>> RemoteToolHost(
    const std::shared_ptr<grpc::Channel>& channel, const std::string& session,
    const std::vector<std::string>& tools, ToolHostSink* sink) {
  auto host = std::make_unique<HostClient>(channel, session, sink);
  RETURN_IF_ERROR(host->Open(tools));
  return std::unique_ptr<ToolHostConnection>(std::move(host));
}

}  // namespace baleen
