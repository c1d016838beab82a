// Status and Result<T>: how every operating error in Baleen is reported.
//
// Codes equal gRPC's, so that no mapping table exists anywhere. Programmer errors are DCHECKs
// (kernels/check.h), not statuses. No exceptions cross our APIs. Used by every public header.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace baleen {

/// Canonical codes, numerically equal to grpc::StatusCode.
enum class StatusCode : int {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

/// The code's name in upper snake case, e.g. "INVALID_ARGUMENT".
std::string_view StatusCodeName(StatusCode code);

/// Outcome of an operation: OK, or a code and a message that says what, which, expected, got, and
/// what to do. `reason` is an optional UPPER_SNAKE word for machines (ErrorInfo.reason on the
/// wire). Threads: a value; distinct objects may be used from distinct threads.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message, std::string reason = {})
      : code_(code), message_(std::move(message)), reason_(std::move(reason)) {}

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }
  const std::string& reason() const { return reason_; }

  /// "NOT_FOUND: session 'x' ..." or "OK".
  std::string ToString() const;

  /// The same status with `context` and ": " put before the message. OK stays OK.
  Status WithContext(std::string_view context) const;

  /// States on purpose that this outcome does not matter; `why` is for the reader.
  void IgnoreError(std::string_view why) const { static_cast<void>(why); }

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
  std::string reason_;
};

inline Status OkStatus() { return Status(); }
Status CancelledError(std::string message, std::string reason = {});
Status InvalidArgumentError(std::string message, std::string reason = {});
Status DeadlineExceededError(std::string message, std::string reason = {});
Status NotFoundError(std::string message, std::string reason = {});
Status AlreadyExistsError(std::string message, std::string reason = {});
Status PermissionDeniedError(std::string message, std::string reason = {});
Status ResourceExhaustedError(std::string message, std::string reason = {});
Status FailedPreconditionError(std::string message, std::string reason = {});
Status AbortedError(std::string message, std::string reason = {});
Status OutOfRangeError(std::string message, std::string reason = {});
Status UnimplementedError(std::string message, std::string reason = {});
Status InternalError(std::string message, std::string reason = {});
Status UnavailableError(std::string message, std::string reason = {});
Status DataLossError(std::string message, std::string reason = {});

/// Either a T or a non-OK Status.
/// Requires: `ok()` before `value()`, `*` or `->`.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}         // NOLINT(google-explicit-constructor)
  Result(Status status) : status_(std::move(status)) {  // NOLINT(google-explicit-constructor)
    if (status_.ok()) status_ = Status(StatusCode::kInternal, "Result built from an OK status");
  }

  bool ok() const { return value_.has_value(); }
  const Status& status() const& { return status_; }
  Status status() && { return std::move(status_); }

  T& value() & { return *value_; }
  const T& value() const& { return *value_; }
  T&& value() && { return std::move(*value_); }
  T& operator*() & { return *value_; }
  const T& operator*() const& { return *value_; }
  T&& operator*() && { return std::move(*value_); }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }

 private:
  Status status_;
  std::optional<T> value_;
};

}  // namespace baleen

#define BALEEN_STATUS_CONCAT_INNER(a, b) a##b
#define BALEEN_STATUS_CONCAT(a, b) BALEEN_STATUS_CONCAT_INNER(a, b)

/// Leaves the enclosing function with the status of `expr` if it isn't OK. Its own variable has a
/// name that no `expr` has: a member of the same name would be read in place of itself.
#define RETURN_IF_ERROR(expr)                                           \
  do {                                                                  \
    if (::baleen::Status baleen_status = (expr); !baleen_status.ok()) { \
      return baleen_status;                                             \
    }                                                                   \
  } while (false)

/// `ASSIGN_OR_RETURN(auto x, MakeX());` unwraps a Result or leaves with its status.
#define ASSIGN_OR_RETURN(lhs, expr) \
  BALEEN_ASSIGN_OR_RETURN(BALEEN_STATUS_CONCAT(result_, __LINE__), lhs, expr)
#define BALEEN_ASSIGN_OR_RETURN(result, lhs, expr)     \
  auto result = (expr);                                \
  if (!result.ok()) return std::move(result).status(); \
  lhs = std::move(result).value()
