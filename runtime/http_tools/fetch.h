// Fetch: one request on a model's behalf, redirects included, as a call that blocks.
//
// Asks only hosts that are allowed and connects only to addresses that are
// (runtime/http/address_rules.h), at every hop. Called by HttpTools, ScriptRequests and
// WebFetch.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/http/address_rules.h"
#include "runtime/http/http_client.h"
#include "runtime/http/url.h"
#include "tools_sdk/status.h"

namespace baleen {

struct FetchRequest {
  std::string method = "GET";
  Url url;
  std::string body;                               ///< Empty: none.
  std::string content_type = "application/json";  ///< Of the body.
  std::vector<std::string> headers;               ///< Go along everywhere.
  std::vector<std::string> own_headers;           ///< Go to the origin of `url` only: secrets do.
  const HostRules* hosts = nullptr;
  const HostRules* within = nullptr;  ///< What these allow as well; null: any of `hosts`.
  bool to_other_hosts = true;  ///< false: a redirect to another host is answered, not followed.
  std::string proxy, ca_file;
  int64_t whole_ms = 30'000;
  int64_t answer_bytes_max = 1 << 20;
};

struct FetchReply {
  /// OK: a server answered, whatever its status. Else as HttpEnd::status;
  /// PERMISSION_DENIED/HOST_REFUSED or ADDRESS_REFUSED; FAILED_PRECONDITION/REDIRECT (too many,
  /// from https to http, or of a request that may not be repeated elsewhere).
  Status status;
  int code = 0;  ///< HTTP status of the last answer.
  std::string content_type;
  int64_t retry_after_s = -1;
  std::string body;
  bool cut = false;      ///< The body had more than answer_bytes_max.
  bool sent = false;     ///< A server may have read the request.
  Url url;               ///< Of the last request.
  std::string redirect;  ///< Where it would go on, on another host.
};

/// Threads: any; calls block.
class Fetcher {
 public:
  /// `cancelled` ends it soon; null: nothing does but time.
  FetchReply Fetch(const FetchRequest& request, const std::atomic<bool>* cancelled);

 private:
  Result<HttpClient*> Client();

  std::mutex mutex_;
  std::unique_ptr<HttpClient> client_;  ///< Made by the first request. Guarded by mutex_.
};

}  // namespace baleen
