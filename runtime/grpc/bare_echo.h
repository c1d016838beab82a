// BareEcho: a gRPC server that answers each message with itself, and a client of it, on one Unix
// socket: what gRPC alone takes on this machine. For `baleen bench events`. No gRPC header is
// needed to use it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "tools_sdk/status.h"

namespace baleen {

/// Threads: one at a time.
class BareEcho {
 public:
  /// Listens at `path`, which must not exist, and opens one stream.
  static Result<std::unique_ptr<BareEcho>> Start(const std::string& path);
  virtual ~BareEcho() = default;

  /// Milliseconds until `bytes` bytes, sent over the open stream, have come back.
  virtual Result<double> RoundTripMs(int64_t bytes) = 0;
};

}  // namespace baleen
