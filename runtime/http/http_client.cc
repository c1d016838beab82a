#include "runtime/http/http_client.h"

#include <curl/curl.h>
#include <pthread.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "runtime/clock.h"

namespace baleen {
namespace {

/// The network thread looks at its clocks at least this often while exchanges run.
constexpr int64_t kPollMsMax = 1000;
constexpr int64_t kAnswerHeadBytesMax = 64 << 10;

int64_t NowMs() { return Clock().SteadyMs(); }

/// libcurl's own set-up happens once per process, and stays.
bool SetUpCurl() {
  static const bool done = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  return done;
}

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && (text.back() == '\r' || text.back() == '\n' || text.back() == ' ')) {
    text.remove_suffix(1);
  }
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  return text;
}

/// The value of header `name` (lower case) if `line` is that header.
std::string_view HeaderValue(std::string_view line, std::string_view name) {
  if (line.size() <= name.size() || line[name.size()] != ':') return {};
  const bool same = std::equal(name.begin(), name.end(), line.begin(), [](char a, char b) {
    return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b - 'A' + 'a') : b);
  });
  return same ? Trimmed(line.substr(name.size() + 1)) : std::string_view();
}

/// One request and its answer. Network thread only, once it has been posted.
struct Exchange {
  uint64_t id = 0;
  HttpRequest request;
  std::unique_ptr<HttpSink> sink;
  CURL* easy = nullptr;
  curl_slist* headers = nullptr;
  HttpHead head;
  int64_t head_bytes = 0;
  int64_t body_bytes = 0;
  int64_t begun_ms = 0;
  int64_t last_ms = 0;     ///< Of the newest piece of the body; 0: none came.
  Status refusal;          ///< Why this side broke it off.
  Status address_refusal;  ///< Of the newest address that may not be connected to.
  char error[CURL_ERROR_SIZE] = {0};

  ~Exchange() {
    if (easy != nullptr) curl_easy_cleanup(easy);
    curl_slist_free_all(headers);
  }
};

size_t OnHeaderLine(char* bytes, size_t size, size_t count, void* opaque) {
  auto& exchange = *static_cast<Exchange*>(opaque);
  const std::string_view line(bytes, size * count);
  exchange.head_bytes += static_cast<int64_t>(line.size());
  if (exchange.head_bytes > kAnswerHeadBytesMax) {
    exchange.refusal = ResourceExhaustedError(
        "the answer's headers have more than " + std::to_string(kAnswerHeadBytesMax) + " bytes",
        "ANSWER_TOO_LARGE");
    return 0;
  }
  if (line.starts_with("HTTP/")) exchange.head = {};  // an interim answer may have come before
  if (const auto value = HeaderValue(line, "content-type"); !value.empty()) {
    exchange.head.content_type = std::string(value.substr(0, 256));
  }
  if (const auto value = HeaderValue(line, "retry-after"); !value.empty()) {
    int64_t seconds = -1;
    const auto read = std::from_chars(value.data(), value.data() + value.size(), seconds);
    if (read.ptr == value.data() + value.size()) exchange.head.retry_after_s = seconds;
  }
  const std::string& watched = exchange.request.watched_header;
  if (const auto value = HeaderValue(line, watched); !watched.empty() && !value.empty()) {
    exchange.head.watched = std::string(value.substr(0, 1024));
  }
  return line.size();
}

/// Where a connection is about to be made: the one place that has a name's addresses as they are
/// used. A refused one is passed over, and the name's next one is tried.
curl_socket_t OnOpenSocket(void* opaque, curlsocktype, curl_sockaddr* target) {
  auto& exchange = *static_cast<Exchange*>(opaque);
  const auto address = IpAddressOf(target->addr);
  exchange.address_refusal =
      address.has_value()
          ? exchange.request.check_address(*address)
          : PermissionDeniedError("the host has an address that isn't IP", "ADDRESS_REFUSED");
  if (!exchange.address_refusal.ok()) return CURL_SOCKET_BAD;
  return socket(target->family, target->socktype | SOCK_CLOEXEC, target->protocol);
}

size_t OnBodyPiece(char* bytes, size_t size, size_t count, void* opaque) {
  auto& exchange = *static_cast<Exchange*>(opaque);
  const std::string_view piece(bytes, size * count);
  long status = 0;
  curl_easy_getinfo(exchange.easy, CURLINFO_RESPONSE_CODE, &status);
  exchange.head.status = static_cast<int>(status);
  exchange.body_bytes += static_cast<int64_t>(piece.size());
  exchange.last_ms = NowMs();
  if (exchange.body_bytes > exchange.request.answer_bytes_max) {
    exchange.refusal = ResourceExhaustedError(
        "the answer has more than " + std::to_string(exchange.request.answer_bytes_max) + " bytes",
        "ANSWER_TOO_LARGE");
    return 0;
  }
  if (!exchange.sink->OnBody(exchange.head, piece)) {
    exchange.refusal = CancelledError("the answer was not wanted any more");
    return 0;
  }
  return piece.size();
}

Status StatusOf(CURLcode code, const Exchange& exchange) {
  if (!exchange.refusal.ok()) return exchange.refusal;
  if (code == CURLE_OK) return OkStatus();
  const std::string why = exchange.error[0] != '\0' ? exchange.error : curl_easy_strerror(code);
  switch (code) {
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
      if (!exchange.address_refusal.ok()) return exchange.address_refusal;
      return UnavailableError("can't connect: " + why, "CONNECT_FAILED");
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL: return InvalidArgumentError(why, "BAD_URL");
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CONNECT_ERROR: return FailedPreconditionError("TLS: " + why, "TLS_REFUSED");
    case CURLE_OPERATION_TIMEDOUT:
      // Our own clocks watch the rest.
      return UnavailableError("can't connect in time: " + why, "CONNECT_FAILED");
    default: return UnavailableError("the connection broke: " + why, "CONNECTION_BROKEN");
  }
}

}  // namespace

class HttpClient::Loop {
 public:
  ~Loop() { Stop(); }

  Status Start() {
    if (!SetUpCurl()) return InternalError("libcurl can't be set up");
    multi_ = curl_multi_init();
    if (multi_ == nullptr) return InternalError("libcurl: no multi handle");
    thread_ = std::thread([this] { Run(); });
    return OkStatus();
  }

  void After(int64_t delay_ms, std::function<void()> work) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (stop_) return;
    timers_.emplace(NowMs() + delay_ms, std::move(work));
    curl_multi_wakeup(multi_);
  }

  uint64_t NextId() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return next_++;
  }

  void Begin(std::unique_ptr<Exchange> exchange) {
    if (Status status = Prepare(*exchange); !status.ok()) {
      return exchange->sink->OnEnd({status, {}, false});
    }
    curl_multi_add_handle(multi_, exchange->easy);
    exchanges_[exchange->id] = std::move(exchange);
  }

  void Cancel(uint64_t id) {
    const auto found = exchanges_.find(id);
    if (found != exchanges_.end()) BreakOff(found->first, CancelledError("cancelled"));
  }

  void Stop() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
      if (multi_ != nullptr) curl_multi_wakeup(multi_);
    }
    if (thread_.joinable()) thread_.join();
    for (auto& [id, exchange] : exchanges_) curl_multi_remove_handle(multi_, exchange->easy);
    exchanges_.clear();
    if (multi_ != nullptr) curl_multi_cleanup(std::exchange(multi_, nullptr));
  }

 private:
  Status Prepare(Exchange& exchange) {
    CURL* easy = exchange.easy = curl_easy_init();
    if (easy == nullptr) return InternalError("libcurl: no easy handle");
    const HttpRequest& request = exchange.request;
    for (const std::string& header : request.headers) {
      exchange.headers = curl_slist_append(exchange.headers, header.c_str());
    }
    exchange.begun_ms = NowMs();
    curl_easy_setopt(easy, CURLOPT_URL, request.url.c_str());
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    if (request.method != "GET") {
      curl_easy_setopt(easy, CURLOPT_POST, 1L);
      curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request.body.data());
      curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                       static_cast<curl_off_t>(request.body.size()));
      // Redirects aren't followed, so that the name alone changes.
      curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
    }
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, exchange.headers);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, request.proxy.c_str());  // "": none, whatever is set
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                     static_cast<long>(request.timeouts.connect_ms));
    if (!request.ca_file.empty()) curl_easy_setopt(easy, CURLOPT_CAINFO, request.ca_file.c_str());
    if (request.check_address) {
      curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, OnOpenSocket);
      curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, &exchange);
    }
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, exchange.error);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, OnHeaderLine);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, &exchange);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, OnBodyPiece);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &exchange);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, &exchange);
    return OkStatus();
  }

  void Run() {
    // A peer that is gone must not raise a signal in the host: OpenSSL writes without MSG_NOSIGNAL.
    sigset_t broken_pipe;
    sigemptyset(&broken_pipe);
    sigaddset(&broken_pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &broken_pipe, nullptr);
    while (true) {
      const int64_t wait = RunDueWork();
      if (wait < 0) return;
      int running = 0;
      curl_multi_perform(multi_, &running);
      CollectEnds();
      BreakOffLate();
      const bool idle = exchanges_.empty();
      // Nothing to watch: until somebody posts or the next timer.
      const int64_t longest = idle ? int64_t{3'600'000} : kPollMsMax;
      curl_multi_poll(multi_, nullptr, 0, static_cast<int>(std::min(wait, longest)), nullptr);
    }
  }

  /// Milliseconds until the next timer; -1: stopped.
  int64_t RunDueWork() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (!stop_ && !timers_.empty() && timers_.begin()->first <= NowMs()) {
      auto work = std::move(timers_.begin()->second);
      timers_.erase(timers_.begin());
      lock.unlock();
      work();
      lock.lock();
    }
    if (stop_) return -1;
    return timers_.empty() ? INT32_MAX : std::max<int64_t>(0, timers_.begin()->first - NowMs());
  }

  void CollectEnds() {
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      Exchange* exchange = nullptr;
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &exchange);
      End(exchange->id, StatusOf(message->data.result, *exchange));
    }
  }

  void BreakOffLate() {
    const int64_t now = NowMs();
    std::vector<std::pair<uint64_t, Status>> late;
    for (const auto& [id, exchange] : exchanges_) {
      const HttpTimeouts& limits = exchange->request.timeouts;
      const bool begun = exchange->last_ms != 0;
      const auto over = [&](int64_t limit, int64_t since, const char* what) {
        if (limit <= 0 || now - since < limit) return false;
        late.emplace_back(
            id, DeadlineExceededError(std::string(what) + " for " + std::to_string(limit) + " ms",
                                      "HTTP_TIMEOUT"));
        return true;
      };
      if (over(limits.whole_ms, exchange->begun_ms, "the answer was not whole")) continue;
      if (begun) {
        over(limits.idle_ms, exchange->last_ms, "the server sent nothing more");
      } else {
        over(limits.first_byte_ms, exchange->begun_ms, "the server answered nothing");
      }
    }
    for (auto& [id, status] : late) BreakOff(id, std::move(status));
  }

  void BreakOff(uint64_t id, Status status) { End(id, std::move(status)); }

  void End(uint64_t id, Status status) {
    const auto found = exchanges_.find(id);
    std::unique_ptr<Exchange> exchange = std::move(found->second);
    exchanges_.erase(found);
    curl_multi_remove_handle(multi_, exchange->easy);
    long code = 0;
    curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &code);
    exchange->head.status = static_cast<int>(code);
    exchange->sink->OnEnd({std::move(status), exchange->head, exchange->body_bytes > 0});
  }

  CURLM* multi_ = nullptr;
  std::mutex mutex_;
  bool stop_ = false;                                        // guarded by mutex_
  uint64_t next_ = 1;                                        // guarded by mutex_
  std::multimap<int64_t, std::function<void()>> timers_;     // guarded by mutex_
  std::map<uint64_t, std::unique_ptr<Exchange>> exchanges_;  // network thread
  std::thread thread_;
};

Result<std::unique_ptr<HttpClient>> HttpClient::Create() {
  auto loop = std::make_unique<Loop>();
  RETURN_IF_ERROR(loop->Start());
  return std::unique_ptr<HttpClient>(new HttpClient(std::move(loop)));
}

HttpClient::HttpClient(std::unique_ptr<Loop> loop) : loop_(std::move(loop)) {}
HttpClient::~HttpClient() = default;

uint64_t HttpClient::Send(HttpRequest request, std::unique_ptr<HttpSink> sink) {
  // Owners: this call and the work below; std::function wants what can be copied.
  auto exchange = std::make_shared<std::unique_ptr<Exchange>>(std::make_unique<Exchange>());
  const uint64_t id = (*exchange)->id = loop_->NextId();
  (*exchange)->request = std::move(request);
  (*exchange)->sink = std::move(sink);
  loop_->After(0, [loop = loop_.get(), exchange] { loop->Begin(std::move(*exchange)); });
  return id;
}

void HttpClient::Cancel(uint64_t exchange) {
  loop_->After(0, [loop = loop_.get(), exchange] { loop->Cancel(exchange); });
}

void HttpClient::After(int64_t delay_ms, std::function<void()> work) {
  loop_->After(delay_ms, std::move(work));
}

void HttpClient::Stop() { loop_->Stop(); }

}  // namespace baleen
