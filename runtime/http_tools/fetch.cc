#include "runtime/http_tools/fetch.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <string_view>
#include <utility>

#include "runtime/clock.h"

namespace baleen {
namespace {

constexpr int kRedirectsMax = 5;
constexpr int64_t kConnectMsMax = 10'000;
/// How often a wait looks whether it was cancelled.
constexpr std::chrono::milliseconds kLook{20};
/// As much of a Location as HttpHead::watched keeps.
constexpr size_t kLocationBytesMax = 1024;

/// An answer, as it comes.
class Answer {
 public:
  explicit Answer(int64_t bytes_max) : bytes_max_(static_cast<size_t>(bytes_max)) {}

  bool Take(std::string_view piece) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const size_t room = bytes_max_ - body_.size();
    body_.append(piece.substr(0, room));
    cut_ = piece.size() > room;
    return !cut_;
  }
  void End(const HttpEnd& end) {
    const std::lock_guard<std::mutex> lock(mutex_);
    end_ = end;
    ended_ = true;
    changed_.notify_all();
  }
  /// false: cancelled meanwhile, and not over yet.
  bool Wait(const std::atomic<bool>* cancelled) {
    std::unique_lock<std::mutex> lock(mutex_);
    while (!changed_.wait_for(lock, kLook, [this] { return ended_; })) {
      if (cancelled != nullptr && cancelled->load()) return false;
    }
    return true;
  }

  // Once it is over:
  const HttpEnd& end() const { return end_; }
  std::string& body() { return body_; }
  bool cut() const { return cut_; }

 private:
  const size_t bytes_max_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string body_;
  HttpEnd end_;
  bool cut_ = false;
  bool ended_ = false;
};

class Sink final : public HttpSink {
 public:
  explicit Sink(std::shared_ptr<Answer> answer) : answer_(std::move(answer)) {}
  bool OnBody(const HttpHead&, std::string_view piece) override { return answer_->Take(piece); }
  void OnEnd(const HttpEnd& end) override { answer_->End(end); }

 private:
  const std::shared_ptr<Answer> answer_;  // owners: the exchange, and whoever waits for it
};

bool IsRedirect(int code) {
  return code == 301 || code == 302 || code == 303 || code == 307 || code == 308;
}

/// What ended before a request could have been read.
bool NeverSent(const Status& status) {
  return status.reason() == "CONNECT_FAILED" || status.reason() == "ADDRESS_REFUSED" ||
         status.reason() == "BAD_URL" || status.reason() == "TLS_REFUSED";
}

/// Whether one of them says already who asks.
bool NamesAgent(const std::vector<std::string>& headers) {
  constexpr std::string_view kName = "user-agent:";
  return std::any_of(headers.begin(), headers.end(), [kName](const std::string& header) {
    return header.size() >= kName.size() &&
           std::equal(kName.begin(), kName.end(), header.begin(), [](char name, char c) {
             return name == (c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c);
           });
  });
}

}  // namespace

Result<HttpClient*> Fetcher::Client() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (client_ == nullptr) {
    ASSIGN_OR_RETURN(client_, HttpClient::Create());
  }
  return client_.get();
}

FetchReply Fetcher::Fetch(const FetchRequest& request, const std::atomic<bool>* cancelled) {
  FetchReply reply;
  reply.url = request.url;
  const auto failed = [&](Status status) {
    reply.status = std::move(status);
    return std::move(reply);
  };
  const auto client = Client();
  if (!client.ok()) return failed(client.status());
  const int64_t until_ms = Clock().SteadyMs() + request.whole_ms;
  std::string method = request.method;
  for (int hop = 0;; ++hop) {
    const Url& url = reply.url;
    Status status = request.hosts->CheckHost(url.host, url.port);
    if (status.ok() && request.within != nullptr) {
      status = request.within->CheckHost(url.host, url.port);
    }
    // An address needs no name server; and behind a proxy nobody else would look at it.
    const auto literal = ParseIpAddress(url.host);
    if (status.ok() && literal.has_value()) {
      status = request.hosts->CheckAddress(url.host, url.port, *literal);
    }
    if (!status.ok()) return failed(std::move(status));
    const int64_t left_ms = until_ms - Clock().SteadyMs();
    if (left_ms <= 0) {
      return failed(DeadlineExceededError("redirects took all the time", "HTTP_TIMEOUT"));
    }

    HttpRequest http;
    http.method = method;
    http.url = url.text;
    http.headers = request.headers;
    if (url.SameOrigin(request.url)) {
      http.headers.insert(http.headers.end(), request.own_headers.begin(),
                          request.own_headers.end());
    }
    http.headers.emplace_back("Expect:");
    if (!NamesAgent(http.headers)) http.headers.emplace_back("User-Agent: baleen");
    const bool with_body = method == request.method && !request.body.empty();
    if (with_body) http.body = request.body;
    http.headers.push_back("Content-Type:" + (with_body ? " " + request.content_type : ""));
    http.timeouts = {std::min(left_ms, kConnectMsMax), left_ms, left_ms, left_ms};
    http.proxy = request.proxy;
    http.ca_file = request.ca_file;
    http.watched_header = "location";
    if (request.proxy.empty()) {
      http.check_address = [hosts = request.hosts, host = url.host,
                            port = url.port](const IpAddress& address) {
        return hosts->CheckAddress(host, port, address);
      };
    }
    const auto answer = std::make_shared<Answer>(request.answer_bytes_max);  // owners: as in Sink
    const uint64_t exchange = (*client)->Send(std::move(http), std::make_unique<Sink>(answer));
    if (!answer->Wait(cancelled)) {
      (*client)->Cancel(exchange);
      answer->Wait(nullptr);
    }
    const HttpEnd& end = answer->end();
    reply.code = end.head.status;
    reply.content_type = end.head.content_type;
    reply.retry_after_s = end.head.retry_after_s;
    reply.cut = answer->cut();
    reply.sent = reply.sent || !NeverSent(end.status);
    if (!end.status.ok() && !reply.cut) return failed(end.status);
    if (!IsRedirect(reply.code) || end.head.watched.empty()) {
      reply.body = std::move(answer->body());
      return reply;
    }

    const auto refuse = [&](const std::string& why) {
      return failed(FailedPreconditionError("the server redirects " + why, "REDIRECT"));
    };
    if (end.head.watched.size() >= kLocationBytesMax) return refuse("to a URL that is too long");
    auto next = ResolveUrl(url, end.head.watched);
    if (!next.ok()) return failed(next.status().WithContext("the server redirects"));
    if (hop == kRedirectsMax)
      return refuse("more than " + std::to_string(kRedirectsMax) + " times");
    if (url.scheme == "https" && next->scheme == "http") return refuse("from https to http");
    if (!request.to_other_hosts && next->host != url.host) {
      reply.redirect = next->text;
      return reply;
    }
    if (reply.code == 303 && method != "GET") {
      method = "GET";
    } else if (method != "GET" && reply.code != 307 && reply.code != 308) {
      return refuse("with " + std::to_string(reply.code) +
                    ", which leaves open what to do with a " + method);
    }
    reply.url = *std::move(next);
  }
}

}  // namespace baleen
