#include "tools_sdk/status.h"

namespace baleen {

std::string_view StatusCodeName(StatusCode code) {
  switch (code) {
    case StatusCode::kOk: return "OK";
    case StatusCode::kCancelled: return "CANCELLED";
    case StatusCode::kUnknown: return "UNKNOWN";
    case StatusCode::kInvalidArgument: return "INVALID_ARGUMENT";
    case StatusCode::kDeadlineExceeded: return "DEADLINE_EXCEEDED";
    case StatusCode::kNotFound: return "NOT_FOUND";
    case StatusCode::kAlreadyExists: return "ALREADY_EXISTS";
    case StatusCode::kPermissionDenied: return "PERMISSION_DENIED";
    case StatusCode::kResourceExhausted: return "RESOURCE_EXHAUSTED";
    case StatusCode::kFailedPrecondition: return "FAILED_PRECONDITION";
    case StatusCode::kAborted: return "ABORTED";
    case StatusCode::kOutOfRange: return "OUT_OF_RANGE";
    case StatusCode::kUnimplemented: return "UNIMPLEMENTED";
    case StatusCode::kInternal: return "INTERNAL";
    case StatusCode::kUnavailable: return "UNAVAILABLE";
    case StatusCode::kDataLoss: return "DATA_LOSS";
    case StatusCode::kUnauthenticated: return "UNAUTHENTICATED";
  }
  return "UNKNOWN";
}

std::string Status::ToString() const {
  if (ok()) return "OK";
  return std::string(StatusCodeName(code_)) + ": " + message_;
}

Status Status::WithContext(std::string_view context) const {
  if (ok()) return *this;
  return Status(code_, std::string(context) + ": " + message_, reason_);
}

#define BALEEN_DEFINE_ERROR(Name, code)                         \
  Status Name(std::string message, std::string reason) {        \
    return Status(code, std::move(message), std::move(reason)); \
  }

BALEEN_DEFINE_ERROR(CancelledError, StatusCode::kCancelled)
BALEEN_DEFINE_ERROR(InvalidArgumentError, StatusCode::kInvalidArgument)
BALEEN_DEFINE_ERROR(DeadlineExceededError, StatusCode::kDeadlineExceeded)
BALEEN_DEFINE_ERROR(NotFoundError, StatusCode::kNotFound)
BALEEN_DEFINE_ERROR(AlreadyExistsError, StatusCode::kAlreadyExists)
BALEEN_DEFINE_ERROR(PermissionDeniedError, StatusCode::kPermissionDenied)
BALEEN_DEFINE_ERROR(ResourceExhaustedError, StatusCode::kResourceExhausted)
BALEEN_DEFINE_ERROR(FailedPreconditionError, StatusCode::kFailedPrecondition)
BALEEN_DEFINE_ERROR(AbortedError, StatusCode::kAborted)
BALEEN_DEFINE_ERROR(OutOfRangeError, StatusCode::kOutOfRange)
BALEEN_DEFINE_ERROR(UnimplementedError, StatusCode::kUnimplemented)
BALEEN_DEFINE_ERROR(InternalError, StatusCode::kInternal)
BALEEN_DEFINE_ERROR(UnavailableError, StatusCode::kUnavailable)
BALEEN_DEFINE_ERROR(DataLossError, StatusCode::kDataLoss)
#undef BALEEN_DEFINE_ERROR

}  // namespace baleen
