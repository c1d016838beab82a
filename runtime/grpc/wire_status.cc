#include "runtime/grpc/wire_status.h"

#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>
#include <grpc/grpc.h>

#include <mutex>

#include "tools_sdk/utf8.h"

namespace baleen::wire {
namespace {

constexpr char kDomain[] = "baleen";

}  // namespace

grpc::Status ToGrpc(const Status& status, const Details& extra) {
  if (status.ok()) return grpc::Status::OK;
  google::rpc::ErrorInfo why;
  why.set_domain(kDomain);
  why.set_reason(status.reason().empty() ? std::string(StatusCodeName(status.code()))
                                         : ReplaceInvalidUtf8(status.reason()));
  for (const auto& [key, value] : extra.metadata)
    (*why.mutable_metadata())[key] = ReplaceInvalidUtf8(value);
  google::rpc::Status details;
  details.set_code(static_cast<int>(status.code()));
  std::string message = ReplaceInvalidUtf8(status.message());
  if (message.size() > kMessageBytesMax) {
    message = std::string(Utf8Prefix(message, kMessageBytesMax - 3)) + "...";
  }
  details.set_message(message);
  details.add_details()->PackFrom(why);
  if (extra.retry_ms > 0) {
    google::rpc::RetryInfo when;
    when.mutable_retry_delay()->set_seconds(extra.retry_ms / 1000);
    when.mutable_retry_delay()->set_nanos(static_cast<int32_t>(extra.retry_ms % 1000 * 1'000'000));
    details.add_details()->PackFrom(when);
  }
  if (!extra.quota_subject.empty()) {
    google::rpc::QuotaFailure quota;
    auto* violation = quota.add_violations();
    violation->set_subject(ReplaceInvalidUtf8(extra.quota_subject));
    violation->set_description(details.message());
    details.add_details()->PackFrom(quota);
  }
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), details.message(),
                      details.SerializeAsString());
}

Status FromRpc(const google::rpc::Status& status) {
  if (status.code() == 0) return OkStatus();
  const bool known =
      status.code() > 0 && status.code() <= static_cast<int>(StatusCode::kUnauthenticated);
  const StatusCode own = known ? static_cast<StatusCode>(status.code()) : StatusCode::kUnknown;
  std::string reason;
  for (const auto& detail : status.details()) {
    google::rpc::ErrorInfo why;
    if (detail.UnpackTo(&why) && why.domain() == kDomain) reason = why.reason();
  }
  if (reason == StatusCodeName(own)) reason.clear();  // the stand-in for "none"
  return Status(own, status.message(), std::move(reason));
}

Status FromGrpc(const grpc::Status& status) {
  google::rpc::Status details;
  if (!details.ParseFromString(status.error_details())) details.Clear();
  // What gRPC says itself counts; the details may be anybody's.
  details.set_code(status.error_code());
  details.set_message(status.error_message());
  return FromRpc(details);
}

void KeepGrpcLoaded() {
  static std::once_flag once;
  std::call_once(once, grpc_init);
}

}  // namespace baleen::wire
