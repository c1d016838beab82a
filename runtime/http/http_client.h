// HttpClient: HTTP requests whose answers come as a stream, on one network thread.
//
// libcurl's multi interface behind plain values; the only place that includes it. Follows no
// redirects (they could carry a key elsewhere), reads no environment, keeps no cookies. Retries
// nothing: who asks knows what may be asked twice. Called by runtime/remote, runtime/mcp and
// runtime/http_tools.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/http/address_rules.h"
#include "tools_sdk/status.h"

namespace baleen {

/// Units: milliseconds. 0: no limit.
struct HttpTimeouts {
  int64_t connect_ms = 10'000;
  int64_t first_byte_ms = 300'000;  ///< From the start to the first byte of the answer's body.
  int64_t idle_ms = 120'000;        ///< Between two pieces of the body.
  int64_t whole_ms = 3'600'000;
};

struct HttpRequest {
  std::string method = "POST";       ///< With `body`, unless it is GET.
  std::string url;                   ///< http or https.
  std::vector<std::string> headers;  ///< "Name: value".
  std::string body;
  HttpTimeouts timeouts;
  std::string proxy;    ///< URL; empty: none.
  std::string ca_file;  ///< Authorities, PEM; empty: the system's.
  int64_t answer_bytes_max = 256 << 20;
  std::string watched_header;  ///< Of the answer, in lower case; empty: none.
  /// Asked of each address that would be connected to (a proxy's, if there is one); null: any may
  /// be. On the network thread.
  std::function<Status(const IpAddress& address)> check_address;
};

struct HttpHead {
  int status = 0;
  std::string content_type;
  int64_t retry_after_s = -1;  ///< -1: the server named no number of seconds.
  std::string watched;         ///< Value of HttpRequest::watched_header, at most 1 KiB.
};

/// How an exchange ended.
struct HttpEnd {
  /// OK: the server's answer came whole, whatever its status. Else UNAVAILABLE/CONNECT_FAILED,
  /// UNAVAILABLE/CONNECTION_BROKEN, DEADLINE_EXCEEDED/HTTP_TIMEOUT (which limit, how long),
  /// RESOURCE_EXHAUSTED/ANSWER_TOO_LARGE, FAILED_PRECONDITION/TLS_REFUSED, CANCELLED,
  /// INVALID_ARGUMENT/BAD_URL, or what check_address said of the last address there was.
  Status status;
  HttpHead head;            ///< Status 0: none came.
  bool body_begun = false;  ///< A byte of the answer's body came.
};

/// What an exchange tells. Called on the network thread; must not block for long.
class HttpSink {
 public:
  virtual ~HttpSink() = default;
  /// false: enough; the exchange ends as CANCELLED.
  virtual bool OnBody(const HttpHead& head, std::string_view piece) = 0;
  /// The last call, exactly once, unless the client is stopped before.
  virtual void OnEnd(const HttpEnd& end) = 0;
};

/// Threads: Stop from the owner; everything else from any thread.
class HttpClient {
 public:
  /// Errors: INTERNAL (libcurl can't be set up).
  static Result<std::unique_ptr<HttpClient>> Create();
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  /// A number for Cancel. The sink is kept until after its OnEnd, or Stop.
  uint64_t Send(HttpRequest request, std::unique_ptr<HttpSink> sink);
  /// The exchange ends as CANCELLED, soon; one that has ended is left alone.
  void Cancel(uint64_t exchange);
  /// Runs `work` on the network thread after `delay_ms`, unless the client is stopped before.
  void After(int64_t delay_ms, std::function<void()> work);
  /// Breaks everything off, with no further calls. Idempotent.
  void Stop();

 private:
  class Loop;
  explicit HttpClient(std::unique_ptr<Loop> loop);
  std::unique_ptr<Loop> loop_;
};

}  // namespace baleen
