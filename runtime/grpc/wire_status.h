// baleen::Status <-> grpc::Status. Codes are equal; the reason travels as google.rpc.ErrorInfo in
// `grpc-status-details-bin`, domain "baleen".
//
// Used by server and client of this folder only.
#pragma once

#include <grpcpp/support/status.h>

#include <cstdint>
#include <map>
#include <string>

#include "tools_sdk/status.h"

namespace google::rpc {
class Status;
}

namespace baleen::wire {

/// Longer messages are cut. HTTP/2 trailers are limited to 8 KiB by default, and the message is in
/// there twice: percent-encoded (x3 at worst) and in the details as base64 (x4/3).
inline constexpr size_t kMessageBytesMax = 1024;

/// What a refusal tells programs beside its reason.
struct Details {
  std::map<std::string, std::string> metadata;  ///< Of ErrorInfo.
  int64_t retry_ms = 0;                         ///< > 0: a RetryInfo says so.
  std::string quota_subject;  ///< Not empty: a QuotaFailure says whose quota the message is about.
};

/// An empty reason becomes the code's name: AIP-193 wants one always.
grpc::Status ToGrpc(const Status& status, const Details& extra = {});

/// The inverse. Details that are missing, foreign or broken leave the reason empty.
Status FromGrpc(const grpc::Status& status);

/// Of google.rpc.Status, as an operation has it; the same rules as FromGrpc's.
Status FromRpc(const google::rpc::Status& status);

/// Keeps gRPC's library initialised until the process ends. Without this, the last gRPC object to
/// go shuts the library down, and that joins a poller thread that may sleep for 10 s yet
/// (gRPC 1.51, tcp_posix.cc, the backup poller of unfinished writes).
void KeepGrpcLoaded();

}  // namespace baleen::wire
