#include "runtime/grpc/bare_echo.h"

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <utility>

#include "runtime/grpc/wire_status.h"

namespace baleen {
namespace {

/// Each message back, one at a time. Deleted by its OnDone.
class EchoReactor final : public grpc::ServerGenericBidiReactor {
 public:
  EchoReactor() { StartRead(&message_); }
  void OnReadDone(bool ok) override {
    if (ok) {
      StartWrite(&message_);
    } else {
      Finish(grpc::Status::OK);
    }
  }
  void OnWriteDone(bool ok) override {
    if (ok) StartRead(&message_);  // else the read that never comes: OnDone follows the cancel
    if (!ok) Finish(grpc::Status::CANCELLED);
  }
  void OnDone() override { delete this; }

 private:
  grpc::ByteBuffer message_;
};

class EchoService final : public grpc::CallbackGenericService {
 public:
  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext* /*context*/) override {
    return new EchoReactor();
  }
};

class BareEchoImpl final : public BareEcho {
 public:
  explicit BareEchoImpl(const std::string& path) {
    wire::KeepGrpcLoaded();
    grpc::ServerBuilder builder;
    builder.AddListeningPort("unix:" + path, grpc::InsecureServerCredentials());
    builder.RegisterCallbackGenericService(&service_);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr) return;
    grpc::GenericStub stub(grpc::CreateChannel("unix:" + path, grpc::InsecureChannelCredentials()));
    stream_ = stub.PrepareCall(&context_, "/bare/Echo", &queue_);
    stream_->StartCall(nullptr);
    open_ = Step();
  }

  ~BareEchoImpl() override {
    context_.TryCancel();
    if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
    queue_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
    }
  }

  bool open() const { return open_; }

  Result<double> RoundTripMs(int64_t bytes) override {
    const grpc::Slice slice(std::string(static_cast<size_t>(bytes), 'x'));
    const grpc::ByteBuffer message(&slice, 1);
    grpc::ByteBuffer answer;
    const auto start = std::chrono::steady_clock::now();
    stream_->Write(message, nullptr);
    bool ok = Step();
    if (ok) {
      stream_->Read(&answer, nullptr);
      ok = Step();
    }
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    if (!ok) return UnavailableError("the bare gRPC echo has ended");
    return took.count();
  }

 private:
  /// Waits for the one operation that is under way.
  bool Step() {
    void* tag = nullptr;
    bool ok = false;
    return queue_.Next(&tag, &ok) && ok;
  }

  EchoService service_;
  std::unique_ptr<grpc::Server> server_;
  grpc::CompletionQueue queue_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream_;
  bool open_ = false;
};

}  // namespace

Result<std::unique_ptr<BareEcho>> BareEcho::Start(const std::string& path) {
  auto echo = std::make_unique<BareEchoImpl>(path);
  if (!echo->open()) return UnavailableError("gRPC could not open a stream on '" + path + "'");
  return std::unique_ptr<BareEcho>(std::move(echo));
}

}  // namespace baleen
