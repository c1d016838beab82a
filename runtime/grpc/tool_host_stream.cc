// ToolHost.Serve: calls of one session go down to a host, results come up, one at a time.

#include <baleen/v1/tool_host.grpc.pb.h>

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "runtime/grpc/access.h"
#include "runtime/grpc/convert.h"
#include "runtime/grpc/services.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

// A host that doesn't read: as many calls as a session could have open, and then some.
constexpr size_t kQueuedMax = 1024;
constexpr int64_t kQueuedBytesMax = 64 << 20;
constexpr int kToolsMax = 256;
constexpr size_t kToolNameBytesMax = 64;

using HostRequest = v1::ServeRequest;
using HostResponse = v1::ServeResponse;
using HostBase = OutboundStream<grpc::ServerBidiReactor<HostRequest, HostResponse>, HostResponse>;

class HostStream final : public HostBase {
 public:
  explicit HostStream(const ServiceContext& service)
      : HostBase(service.threads), service_(service), sink_(this) {}

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
    StartRead(&incoming_);
  }

  void OnReadDone(bool ok) override {
    if (!ok) {  // the host said all it had to say, or is gone
      Close(OkStatus(), false);
      return;
    }
    PostCall([this] {
      const Status status = Take();
      if (!status.ok()) {
        Close(status, true);
      } else {
        StartRead(&incoming_);  // only now: a host can't flood the runtime
      }
    });
  }

 private:
  /// Runs on the control thread.
  class Sink final : public ToolHostSink {
   public:
    explicit Sink(HostStream* stream) : stream_(stream) {}
    bool OnCall(const std::string& /*session*/, const ToolCall& call, int64_t timeout_ms) override {
      HostResponse message;
      message.mutable_call()->set_call_id(ReplaceInvalidUtf8(call.id));
      message.mutable_call()->set_tool(ReplaceInvalidUtf8(call.name));
      message.mutable_call()->set_arguments(ReplaceInvalidUtf8(call.arguments));
      message.mutable_call()->set_timeout_ms(timeout_ms);
      return stream_->Send(std::move(message));
    }
    void OnCancel(const std::string& /*session*/, const std::string& call_id) override {
      HostResponse message;
      message.mutable_cancel()->set_call_id(ReplaceInvalidUtf8(call_id));
      stream_->Send(std::move(message));
    }

   private:
    HostStream* const stream_;
  };

  /// On a call thread; the next read starts after it.
  Status Take() {
    switch (incoming_.message_case()) {
      case HostRequest::kRegister: return Connect(incoming_.register_());
      case HostRequest::kResult: return Submit(incoming_.result());
      case HostRequest::MESSAGE_NOT_SET: break;
    }
    return InvalidArgumentError("message: expected register or result, got neither",
                                wire::kBadField);
  }

  Status Connect(const v1::Register& wanted) {
    ASSIGN_OR_RETURN(std::string id, wire::ParseSessionName(wanted.session(), "register.session"));
    if (wanted.tools().empty() || wanted.tools_size() > kToolsMax) {
      return InvalidArgumentError("register.tools: expected 1 to " + std::to_string(kToolsMax) +
                                      " names, got " + std::to_string(wanted.tools_size()),
                                  wire::kBadField);
    }
    for (const std::string& tool : wanted.tools()) {
      if (!tool.empty() && tool.size() <= kToolNameBytesMax) continue;
      return InvalidArgumentError("register.tools: expected names of 1 to 64 bytes, got one of " +
                                      std::to_string(tool.size()),
                                  wire::kBadField);
    }
    const std::lock_guard<std::mutex> own(connection_mutex_);
    if (connection_ != nullptr) {
      return InvalidArgumentError("register: this stream is registered; open another one",
                                  wire::kBadField);
    }
    HostResponse registered;
    registered.mutable_registered()->set_session(wanted.session());
    *registered.mutable_registered()->mutable_tools() = wanted.tools();
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (closing_) return OkStatus();
      PushLocked(std::move(registered), 0, false);  // before any call that Connect brings
    }
    session_ = std::move(id);
    ASSIGN_OR_RETURN(connection_,
                     runtime_->ConnectToolHost(
                         session_, {wanted.tools().begin(), wanted.tools().end()}, &sink_));
    const std::lock_guard<std::mutex> lock(mutex_);
    started_ = true;
    KickLocked();
    return OkStatus();
  }

  Status Submit(const v1::Result& result) {
    const std::lock_guard<std::mutex> own(connection_mutex_);
    if (connection_ == nullptr) {
      return InvalidArgumentError("result: expected register as the first message",
                                  wire::kBadField);
    }
    const Status status = connection_->SubmitResult(session_, wire::FromWire(result));
    HostResponse message;
    message.mutable_receipt()->set_call_id(result.call_id());
    message.mutable_receipt()->set_code(static_cast<int>(status.code()));
    message.mutable_receipt()->set_reason(ReplaceInvalidUtf8(status.reason()));
    message.mutable_receipt()->set_error(ReplaceInvalidUtf8(status.message()));
    Send(std::move(message));
    return OkStatus();
  }

  bool Send(HostResponse message) {
    const auto bytes = static_cast<int64_t>(message.ByteSizeLong());
    const std::lock_guard<std::mutex> lock(mutex_);
    if (closing_) return false;
    if (queue_.size() >= kQueuedMax || queue_bytes_ + bytes > kQueuedBytesMax) {
      CloseLocked(
          ResourceExhaustedError(
              "the tool host doesn't read its calls; register again once it does", "SLOW_CONSUMER"),
          false);
      return false;
    }
    PushLocked(std::move(message), bytes, false);
    KickLocked();
    return true;
  }

  void OnTaken(const HostResponse& /*message*/) override {}

  void Release() override {
    const std::lock_guard<std::mutex> own(connection_mutex_);
    connection_.reset();
  }

  const ServiceContext service_;
  Runtime* runtime_ = nullptr;  ///< What the caller may see; set by Begin.
  Sink sink_;
  HostRequest incoming_;  ///< Of the one read in flight, then of the one job that takes it.
  std::string session_;   ///< Set with connection_.
  /// Call threads only, never with mutex_ held: disconnecting waits for the control thread.
  std::mutex connection_mutex_;
  std::unique_ptr<ToolHostConnection> connection_;
};

class ToolHostService final : public v1::ToolHost::CallbackService {
 public:
  explicit ToolHostService(const ServiceContext& context) : service_(context) {}

  grpc::ServerBidiReactor<HostRequest, HostResponse>* Serve(
      grpc::CallbackServerContext* context) override {
    auto* stream = new HostStream(service_);  // deleted by its OnDone
    wire::Details details;
    const auto admitted = service_.access->Admit(*context, Scope::kToolsHost, &details);
    stream->Begin(admitted, details);
    return stream;
  }

 private:
  const ServiceContext service_;
};

}  // namespace

std::unique_ptr<grpc::Service> NewToolHostService(const ServiceContext& context) {
  return std::make_unique<ToolHostService>(context);
}

}  // namespace baleen
