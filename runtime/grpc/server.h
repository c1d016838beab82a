// Server: the gRPC front of a Runtime. A thin translation; every decision is the runtime's.
//
// Serves baleen.v1 (proto/), grpc.health.v1.Health and reflection on one Unix socket or loopback
// port. Has no authentication: the socket's folder is the border. Called by `baleen serve` and by
// hosts. No gRPC header is needed to use it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "runtime/runtime.h"
#include "tools_sdk/status.h"

namespace baleen {

struct ServerOptions {
  /// "unix:PATH", or "HOST:PORT" with a loopback host (port 0: any free one). Unix: PATH's folder
  /// is made with mode 0700 if it is missing, and must not be writable by others; the socket has
  /// mode 0600 and only peers with this process's uid (or root) are let in. A TCP port has no such
  /// border: every user of the machine can connect.
  std::string listen{};
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

  Status Validate() const;
};

/// Threads: every method may be called from any thread, but not from a callback of the Runtime.
class Server {
 public:
  /// Listens; answers once connections are accepted.
  /// Borrows: runtime, until the server is gone.
  /// Errors: INVALID_ARGUMENT (address), FAILED_PRECONDITION/ADDRESS_IN_USE (another server answers
  /// there), PERMISSION_DENIED (folder open to others, or the OS refuses).
  static Result<std::unique_ptr<Server>> Start(const ServerOptions& options, Runtime* runtime);
  /// Shuts down.
  virtual ~Server() = default;

  /// What a client connects to: "unix:PATH" or "HOST:PORT" with the real port.
  virtual const std::string& address() const = 0;
  /// Health says NOT_SERVING, new turns, sessions and streams are refused, and open streams end,
  /// all with UNAVAILABLE/DRAINING. Turns go on. Doesn't wait. Idempotent.
  virtual void Drain() = 0;
  /// Drains, lets running calls end, closes the socket and removes its file. Idempotent.
  virtual void Shutdown() = 0;
};

}  // namespace baleen
