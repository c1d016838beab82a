// A Runtime over the wire: the same abstract class, so that a caller works alike in process and
// against a daemon. Doesn't reconnect a broken Watch: its cursor lets the caller do that exactly.
//
// Called by the `baleen` binary. No gRPC header is needed to use it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "runtime/runtime.h"
#include "tools_sdk/status.h"

namespace baleen {

struct ConnectOptions {
  int64_t connect_ms_max = 3000;      ///< Until the server's HTTP/2 greeting.
  int64_t call_ms_max = 60'000;       ///< Deadline of each unary call; never cancels a turn.
  int64_t verify_ms_max = 3'600'000;  ///< Of Verify, Backup, Compact, Prune, Search, Prefetch.
  /// "HOST:PORT" is always TLS. PEM file of the authorities that the server's certificate may be
  /// of; empty: the system's.
  std::string ca_file{};
  std::string certificate_file{};  ///< Own, PEM; with `key_file`; empty: none.
  std::string key_file{};
  std::string token{};  ///< Bearer token; empty: none. Never in a message.
};

/// Connects to `address`: "unix:PATH" or "HOST:PORT".
/// Errors: UNAVAILABLE/NOT_LISTENING at once if nobody answers; UNAVAILABLE/TLS_FAILED (who answers
/// isn't trusted, or doesn't trust us); INVALID_ARGUMENT; NOT_FOUND, PERMISSION_DENIED (a file).
/// Threads: of the result, as Runtime. Callbacks run on one thread per subscription or tool host.
/// Errors of the result's methods: the server's code, message and reason; UNAVAILABLE if it is
/// gone.
Result<std::unique_ptr<Runtime>> ConnectRuntime(const std::string& address,
                                                const ConnectOptions& options = {});

}  // namespace baleen
