#include "runtime/grpc/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <utility>
#include <vector>

#include "runtime/grpc/access.h"
#include "runtime/grpc/executor.h"
#include "runtime/grpc/listener.h"
#include "runtime/grpc/operation_table.h"
#include "runtime/grpc/outbound.h"
#include "runtime/grpc/services.h"
#include "runtime/grpc/tls_files.h"
#include "runtime/grpc/wire_status.h"

namespace baleen {
namespace {

// Clients that send keepalive pings may do so this often; gRPC's own limit of 5 minutes would send
// them away (GOAWAY, too_many_pings).
constexpr int kClientPingMs = 10'000;
// A peer that sends nothing for so long is asked, and has so long to answer.
constexpr int kKeepaliveMs = 30'000;
constexpr int kKeepaliveAnswerMs = 10'000;

class ServerImpl final : public Server {
 public:
  ServerImpl(const ServerOptions& options, Runtime* runtime)
      : access_(options, runtime),
        calls_(options.call_threads, options.calls_queued_max),
        writes_(1, 0),
        options_(options) {
    const ServiceContext context = {
        &access_, options, {&calls_, &writes_, &streams_, options.observer}, &operations_};
    services_.push_back(NewSessionsService(context));
    services_.push_back(NewTurnsService(context));
    services_.push_back(NewApprovalsService(context));
    services_.push_back(NewToolsService(context));
    services_.push_back(NewModelsService(context));
    services_.push_back(NewScriptsService(context));
    services_.push_back(NewEventsService(context));
    services_.push_back(NewToolHostService(context));
    services_.push_back(NewAdminService(context));
    services_.push_back(NewOperationsService(context));
  }

  ~ServerImpl() override { Shutdown(); }

  Status Listen() {
    wire::KeepGrpcLoaded();
    grpc::ServerBuilder builder;
    for (const std::string& address : options_.listen) {
      ASSIGN_OR_RETURN(const auto credentials, CredentialsFor(address));
      ASSIGN_OR_RETURN(auto listener, Listener::Bind(address));
      addresses_.push_back(listener->address());
      listeners_.push_back(std::move(listener));
      acceptors_.push_back(builder.experimental().AddExternalConnectionAcceptor(
          grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, credentials));
    }
    for (const auto& service : services_) builder.RegisterService(service.get());
    builder.SetMaxReceiveMessageSize(static_cast<int>(options_.message_bytes_max));
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                               kClientPingMs);
    // A dead peer on another machine doesn't close its connection.
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveAnswerMs);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    Build(&builder);
    if (server_ == nullptr) {
      return InternalError("gRPC could not start a server on '" + addresses_[0] + "'");
    }
    for (size_t i = 0; i < listeners_.size(); ++i) {
      listeners_[i]->Start([acceptor = acceptors_[i].get()](int fd) {
        grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
        connection.fd = fd;
        acceptor->HandleNewConnection(&connection);
      });
    }
    return OkStatus();
  }

  const std::vector<std::string>& addresses() const override { return addresses_; }

  void Drain() override {
    if (server_ == nullptr) return;
    server_->GetHealthCheckService()->SetServingStatus(false);
    streams_.Refuse();
  }

  void Shutdown() override {
    const std::lock_guard<std::mutex> lock(shutdown_mutex_);
    if (server_ == nullptr || shut_down_) return;
    shut_down_ = true;
    Drain();
    streams_.Drain();
    for (const auto& listener : listeners_) listener->Stop();
    operations_.Stop();
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

  // gRPC's own handle: shared with its server.
  Result<std::shared_ptr<grpc::ServerCredentials>> CredentialsFor(
      const std::string& address) const {
    if (address.starts_with("unix:")) return grpc::InsecureServerCredentials();
    const bool has_tls = !options_.tls_certificate_file.empty();
    if (!has_tls || (options_.client_ca_file.empty() && options_.clients.empty())) {
      return FailedPreconditionError(
          "'" + address.substr(0, 80) + "' can be reached over TCP, so it needs " +
              (has_tls ? "" : "a TLS certificate and its key (--tls-cert, --tls-key) and ") +
              "clients that are known by a token or certificate (--clients FILE, or --client-ca "
              "FILE); without those, listen on unix:PATH and reach it by an SSH tunnel",
          "AUTHENTICATION_MISSING");
    }
    ASSIGN_OR_RETURN(TlsIdentity identity,
                     ReadTlsIdentity(options_.tls_certificate_file, options_.tls_key_file));
    grpc::SslServerCredentialsOptions tls(GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
    if (!options_.client_ca_file.empty()) {
      ASSIGN_OR_RETURN(tls.pem_root_certs, ReadAuthorities(options_.client_ca_file));
      // Clients with a token may come without a certificate.
      tls.client_certificate_request =
          options_.clients.empty() ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                                   : GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY;
    }
    tls.pem_key_cert_pairs.push_back({std::move(identity.key), std::move(identity.certificates)});
    return grpc::SslServerCredentials(tls);
  }

  // Destroyed from the bottom up: the executors finish their jobs, which answer calls of server_,
  // while it and the services still exist.
  const Access access_;
  OperationTable operations_;
  std::vector<std::unique_ptr<grpc::Service>> services_;
  StreamSet streams_;
  std::unique_ptr<grpc::Server> server_;
  Executor calls_;
  Executor writes_;
  const ServerOptions options_;
  std::vector<std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor>> acceptors_;
  std::vector<std::unique_ptr<Listener>> listeners_;  ///< Beside acceptors_, as addresses_.
  std::vector<std::string> addresses_;
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
  if (listen.empty())
    return InvalidArgumentError("server options: expected an address to listen on");
  if (tls_certificate_file.empty() != tls_key_file.empty()) {
    return InvalidArgumentError("server options: a TLS certificate and its key go together");
  }
  RETURN_IF_ERROR(CheckBounds(client_quota, workspace_roots));
  return CheckGrants(clients);
}

Result<std::unique_ptr<Server>> Server::Start(const ServerOptions& options, Runtime* runtime) {
  RETURN_IF_ERROR(options.Validate());
  auto server = std::make_unique<ServerImpl>(options, runtime);
  RETURN_IF_ERROR(server->Listen());
  return std::unique_ptr<Server>(std::move(server));
}

}  // namespace baleen
