#include "runtime/grpc/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <utility>
#include <vector>

#include "runtime/grpc/executor.h"
#include "runtime/grpc/listener.h"
#include "runtime/grpc/outbound.h"
#include "runtime/grpc/services.h"
#include "runtime/grpc/wire_status.h"

namespace baleen {
namespace {

// Clients that send keepalive pings may do so this often; gRPC's own limit of 5 minutes would send
// them away (GOAWAY, too_many_pings).
constexpr int kClientPingMs = 10'000;

class ServerImpl final : public Server {
 public:
  ServerImpl(const ServerOptions& options, Runtime* runtime)
      : calls_(options.call_threads, options.calls_queued_max), writes_(1, 0), options_(options) {
    const ServiceContext context = {runtime, options, {&calls_, &writes_, &streams_}};
    services_.push_back(NewSessionsService(context));
    services_.push_back(NewTurnsService(context));
    services_.push_back(NewApprovalsService(context));
    services_.push_back(NewEventsService(context));
    services_.push_back(NewToolHostService(context));
    services_.push_back(NewAdminService(context));
  }

  ~ServerImpl() override { Shutdown(); }

  Status Listen() {
    ASSIGN_OR_RETURN(listener_, Listener::Bind(options_.listen));
    wire::KeepGrpcLoaded();
    grpc::ServerBuilder builder;
    acceptor_ = builder.experimental().AddExternalConnectionAcceptor(
        grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
        grpc::InsecureServerCredentials());
    for (const auto& service : services_) builder.RegisterService(service.get());
    builder.SetMaxReceiveMessageSize(static_cast<int>(options_.message_bytes_max));
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                               kClientPingMs);
    // Local sockets: nothing to learn about the bandwidth, and a dead peer closes its socket.
    builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    Build(&builder);
    if (server_ == nullptr) {
      return InternalError("gRPC could not start a server on '" + listener_->address() + "'");
    }
    listener_->Start([this](int fd) {
      grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
      connection.fd = fd;
      acceptor_->HandleNewConnection(&connection);
    });
    address_ = listener_->address();
    return OkStatus();
  }

  const std::string& address() const override { return address_; }

  void Drain() override {
    if (server_ == nullptr) return;
    server_->GetHealthCheckService()->SetServingStatus(false);
    streams_.Drain();
  }

  void Shutdown() override {
    const std::lock_guard<std::mutex> lock(shutdown_mutex_);
    if (server_ == nullptr || shut_down_) return;
    shut_down_ = true;
    Drain();
    listener_->Stop();
    server_->Shutdown(std::chrono::system_clock::now() +
                      std::chrono::milliseconds(options_.shutdown_ms_max));
    server_->Wait();
    streams_.WaitUntilEmpty();  // no stream posts to the executors any more
  }

 private:
  /// gRPC has health and reflection as switches of the process. Health is put back as it was, so
  /// that a host's own servers don't change; reflection can't be.
  void Build(grpc::ServerBuilder* builder) {
    static std::mutex switches;
    const std::lock_guard<std::mutex> lock(switches);
    const bool before = grpc::DefaultHealthCheckServiceEnabled();
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    server_ = builder->BuildAndStart();
    grpc::EnableDefaultHealthCheckService(before);
  }

  // Destroyed from the bottom up: the executors finish their jobs, which answer calls of server_,
  // while it and the services still exist.
  std::vector<std::unique_ptr<grpc::Service>> services_;
  StreamSet streams_;
  std::unique_ptr<grpc::Server> server_;
  Executor calls_;
  Executor writes_;
  const ServerOptions options_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor_;
  std::unique_ptr<Listener> listener_;
  std::string address_;
  std::mutex shutdown_mutex_;
  bool shut_down_ = false;
};

}  // namespace

Status ServerOptions::Validate() const {
  const auto in = [](int64_t value, int64_t least, int64_t most) {
    return value >= least && value <= most;
  };
  if (!in(watch_events_max, 1, 1 << 20) || !in(watch_bytes_max, 1, 1 << 30) ||
      !in(message_bytes_max, 1 << 10, 1 << 30) || !in(call_threads, 1, 64) ||
      !in(calls_queued_max, 1, 1 << 20) || !in(shutdown_ms_max, 0, 600'000)) {
    return InvalidArgumentError(
        "server options: expected watch_events_max 1 to 2^20, watch_bytes_max 1 to 2^30, "
        "message_bytes_max 2^10 to 2^30, call_threads 1 to 64, calls_queued_max 1 to 2^20, "
        "shutdown_ms_max 0 to 600000");
  }
  return OkStatus();
}

Result<std::unique_ptr<Server>> Server::Start(const ServerOptions& options, Runtime* runtime) {
  RETURN_IF_ERROR(options.Validate());
  auto server = std::make_unique<ServerImpl>(options, runtime);
  RETURN_IF_ERROR(server->Listen());
  return std::unique_ptr<Server>(std::move(server));
}

}  // namespace baleen
