#include "runtime/grpc/wire_status.h"

#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>
#include <grpc/grpc.h>

#include <mutex>

namespace baleen::wire {
namespace {

constexpr char kDomain[] = "baleen";

/// Length of the valid UTF-8 sequence at `position`, or 0.
size_t SequenceLength(std::string_view text, size_t position) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[position + i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || position + length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  // Overlong forms, surrogates, and beyond U+10FFFF (Unicode 15, table 3-7).
  if (lead == 0xE0 && byte(1) < 0xA0) return 0;
  if (lead == 0xED && byte(1) > 0x9F) return 0;
  if (lead == 0xF0 && byte(1) < 0x90) return 0;
  if (lead == 0xF4 && byte(1) > 0x8F) return 0;
  return length;
}

/// At most `bytes_max` bytes, cut between characters. `text` is valid UTF-8.
std::string Cut(std::string text, size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  size_t end = bytes_max - 3;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  text.resize(end);
  return text + "...";
}

}  // namespace

std::string ValidUtf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const size_t length = SequenceLength(text, i);
    if (length == 0) {
      out.push_back('?');
      ++i;
    } else {
      out.append(text.substr(i, length));
      i += length;
    }
  }
  return out;
}

grpc::Status ToGrpc(const Status& status, const std::map<std::string, std::string>& metadata) {
  if (status.ok()) return grpc::Status::OK;
  google::rpc::ErrorInfo why;
  why.set_domain(kDomain);
  why.set_reason(status.reason().empty() ? std::string(StatusCodeName(status.code()))
                                         : ValidUtf8(status.reason()));
  for (const auto& [key, value] : metadata) (*why.mutable_metadata())[key] = ValidUtf8(value);
  google::rpc::Status details;
  details.set_code(static_cast<int>(status.code()));
  details.set_message(Cut(ValidUtf8(status.message()), kMessageBytesMax));
  details.add_details()->PackFrom(why);
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), details.message(),
                      details.SerializeAsString());
}

Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return OkStatus();
  const int code = status.error_code();
  const bool known = code > 0 && code <= static_cast<int>(StatusCode::kUnauthenticated);
  const StatusCode own = known ? static_cast<StatusCode>(code) : StatusCode::kUnknown;
  std::string reason;
  google::rpc::Status details;
  if (details.ParseFromString(status.error_details())) {
    for (const auto& detail : details.details()) {
      google::rpc::ErrorInfo why;
      if (detail.UnpackTo(&why) && why.domain() == kDomain) reason = why.reason();
    }
  }
  if (reason == StatusCodeName(own)) reason.clear();  // the stand-in for "none"
  return Status(own, status.error_message(), std::move(reason));
}

void KeepGrpcLoaded() {
  static std::once_flag once;
  std::call_once(once, grpc_init);
}

}  // namespace baleen::wire
