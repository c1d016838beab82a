// Server: the gRPC front of a Runtime. A thin translation; every decision is the runtime's.
//
// Serves baleen.v1 (proto/), grpc.health.v1.Health and reflection on Unix sockets, whose peers the
// kernel vouches for, and on TCP ports with TLS and clients that prove who they are. Called by
// `baleen serve` and by hosts. No gRPC header is needed to use it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/runtime.h"
#include "tools_sdk/status.h"

namespace baleen {

/// What a client may use at a time, and hold. 0: no bound.
struct ClientQuota {
  int64_t requests_per_second = 0;  ///< Calls and streams; a second's worth may come at once.
  int64_t running_turns = 0;
  /// Sessions that it made, and their text and token ids (Runtime::ReadTenant).
  int64_t sessions_max = 0;
  int64_t stored_bytes_max = 0;
};

/// A client that proves who it is by a bearer token or a certificate, and what it may do.
struct ClientGrant {
  std::string name;  ///< For messages and logs.
  /// SHA-256 of its token, 64 digits 0-9a-f; or instead:
  std::string token_sha256;
  std::string certificate;  ///< The common name in its certificate.
  /// Of "sessions.read", "sessions.write", "turns.run", "approvals.resolve", "tools.host" and
  /// "admin".
  std::vector<std::string> scopes;
  int64_t expires_ms = 0;  ///< Unix milliseconds; 0: never. Certificates have dates of their own.
  ClientQuota quota{};     ///< What is 0 is as ServerOptions::client_quota says.
  /// Folders that it may name as a workspace, beside ServerOptions::workspace_roots.
  std::vector<std::string> workspaces{};
  /// Hosts that its sessions may name for their commands, word for word.
  std::vector<std::string> network_hosts{};
  /// Secret files (SessionSettings::readable_secrets) that its sessions may name, word for word.
  std::vector<std::string> readable_secrets{};
};

/// INVALID_ARGUMENT: a grant that can't be one, or two of one name.
Status CheckGrants(const std::vector<ClientGrant>& grants);

/// Hears how calls and streams end.
class RequestObserver {
 public:
  virtual ~RequestObserver() = default;
  /// From any thread; must not block.
  virtual void OnAnswer(const Status& status) = 0;
};

struct ServerOptions {
  /// Each "unix:PATH", or "HOST:PORT" with a numeric host (port 0: any free one). Unix: PATH's
  /// folder is made with mode 0700 if it is missing, and must not be writable by others; the socket
  /// has mode 0600 and only peers with this process's uid (or root) are let in. They may do
  /// everything, unless they show a token. TCP: needs TLS and something that clients are known by.
  std::vector<std::string> listen{};
  std::string tls_certificate_file{};  ///< PEM; own certificate first.
  std::string tls_key_file{};          ///< PEM, unencrypted, readable by its owner only.
  /// PEM. Clients with a certificate of these authorities are let in: those in `clients`, or all if
  /// that is empty.
  std::string client_ca_file{};
  std::vector<ClientGrant> clients{};
  ClientQuota client_quota{};  ///< Of each client, by token or certificate, without its own.
  /// Absolute folders that clients may name as a workspace, and all below them. Peers on a Unix
  /// socket that show no token may name any.
  std::vector<std::string> workspace_roots{};
  /// Per watcher. When full, live events go first (Event.live_dropped counts them); a watcher that
  /// falls behind on durable events gets RESOURCE_EXHAUSTED/SLOW_CONSUMER.
  int64_t watch_events_max = 4096;
  int64_t watch_bytes_max = 8 << 20;
  /// Largest message that is read. gRPC's limit is per server, so it has to fit StartTurn.input;
  /// what a field may hold is validated per request.
  int64_t message_bytes_max = 64 << 20;
  /// Threads that wait in blocking Runtime methods, and calls that may queue for them.
  int call_threads = 4;
  int64_t calls_queued_max = 1024;
  /// How long Shutdown lets running calls end before it cuts them off.
  int64_t shutdown_ms_max = 5000;
  RequestObserver* observer = nullptr;  ///< Null: nobody. Borrowed until the server is gone.

  Status Validate() const;
};

/// Threads: every method may be called from any thread, but not from a callback of the Runtime.
class Server {
 public:
  /// Listens; answers once connections are accepted.
  /// Borrows: runtime, until the server is gone.
  /// Errors: INVALID_ARGUMENT (address, TLS files, clients), FAILED_PRECONDITION/ADDRESS_IN_USE
  /// (another server answers there), /AUTHENTICATION_MISSING (TCP without it),
  /// /CERTIFICATE_EXPIRED, PERMISSION_DENIED (folder or key open to others, or the OS refuses),
  /// NOT_FOUND (a file).
  static Result<std::unique_ptr<Server>> Start(const ServerOptions& options, Runtime* runtime);
  /// Shuts down.
  virtual ~Server() = default;

  /// What clients connect to, as in `listen`, with the real ports.
  virtual const std::vector<std::string>& addresses() const = 0;
  /// Health says NOT_SERVING; new turns, sessions and streams are refused with
  /// UNAVAILABLE/DRAINING. Turns go on, and their watchers and tool hosts stay. Doesn't wait.
  /// Idempotent.
  virtual void Drain() = 0;
  /// Drains, ends the streams with UNAVAILABLE/DRAINING, lets running calls end, closes the socket
  /// and removes its file. Idempotent.
  virtual void Shutdown() = 0;
};

}  // namespace baleen
