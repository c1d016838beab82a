#include "runtime/mcp/http_wire.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <utility>

#include "runtime/http/bearer_key.h"
#include "runtime/http/http_client.h"
#include "runtime/remote/sse_reader.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

constexpr char kRefused[] = "MCP_REFUSED";
constexpr char kSessionHeader[] = "mcp-session-id";
/// All messages of one answer together may have so often message_bytes_max.
constexpr int64_t kMessagesOfAnswer = 8;
constexpr size_t kShownBytes = 200;
/// A session's end is not waited for longer.
constexpr int64_t kGoodbyeMs = 1000;
/// Beyond a call's hard limit, which the server's client keeps.
constexpr int64_t kSpareMs = 60'000;

bool IsFitForHeader(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 127; });
}

class HttpWire final : public RpcWire {
 public:
  HttpWire(McpServerOptions options, RpcListener* listener, std::unique_ptr<HttpClient> http)
      : options_(std::move(options)), listener_(listener), http_(std::move(http)) {}
  ~HttpWire() override {
    SayGoodbye();
    http_->Stop();
  }

  Status Send(OutgoingMessage message) override {
    HttpRequest request;
    ASSIGN_OR_RETURN(request, NewRequest());
    request.headers.push_back("Content-Type: application/json");
    request.headers.push_back("Accept: application/json, text/event-stream");
    for (std::string& header : message.headers) request.headers.push_back(std::move(header));
    request.body = std::move(message.text);
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!session_.empty()) {
      request.headers.push_back(std::string(kSessionHeader) + ": " + session_);
    }
    auto sink = std::make_unique<Exchange>(this, message, !session_.empty());
    const uint64_t exchange = http_->Send(std::move(request), std::move(sink));
    if (message.id != 0) exchanges_[message.id] = exchange;
    return OkStatus();
  }

  void Forget(int64_t id) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = exchanges_.find(id);
    if (found != exchanges_.end()) http_->Cancel(found->second);
  }

  std::string Words() override { return ""; }

 private:
  /// A message and what comes back. Network thread.
  class Exchange final : public HttpSink {
   public:
    Exchange(HttpWire* wire, const OutgoingMessage& message, bool in_session)
        : wire_(wire),
          id_(message.id),
          to_be_accepted_(message.to_be_accepted),
          in_session_(in_session),
          events_(static_cast<size_t>(wire->options_.message_bytes_max)) {}

    bool OnBody(const HttpHead& head, std::string_view piece) override {
      if (id_ == 0) return true;
      if (head.status / 100 == 2 && head.content_type.starts_with("text/event-stream")) {
        wire_->Remember(head, 0);  // before anybody can say more in the session
        std::vector<std::string> texts;
        fault_ = events_.Push(piece, &texts);
        for (const std::string& text : texts) Take(text);
      } else {
        raw_ += piece;
        if (static_cast<int64_t>(raw_.size()) > wire_->options_.message_bytes_max) {
          fault_ = ResourceExhaustedError("the answer has more than " +
                                              std::to_string(wire_->options_.message_bytes_max) +
                                              " bytes",
                                          "ANSWER_TOO_LARGE");
        }
      }
      return fault_.ok() && !answered_;
    }

    void OnEnd(const HttpEnd& end) override {
      wire_->Remember(end.head, id_);
      if (id_ == 0) return;
      if (!answered_ && !raw_.empty() && fault_.ok() && end.status.ok()) Take(raw_);
      if (to_be_accepted_ && end.status.ok() && end.head.status / 100 == 2) {
        RpcMessage accepted;
        accepted.kind = RpcMessage::Kind::kResult;
        accepted.id = std::to_string(id_);
        accepted.body = "{}";
        wire_->listener_->OnMessage(std::move(accepted));
      } else if (!answered_) {
        wire_->listener_->OnLost(id_, WhyNot(end));
      }
    }

   private:
    /// Rubbish among the events is passed over: the answer may still come.
    void Take(const std::string& text) {
      auto messages = ReadRpcMessages(text);
      if (!messages.ok()) return;
      for (RpcMessage& message : *messages) {
        // What a server says before it has read the id is about the one message there is.
        if (message.kind == RpcMessage::Kind::kError && message.id.empty()) {
          message.id = std::to_string(id_);
        }
        const bool ends =
            message.id == std::to_string(id_) &&
            (message.kind == RpcMessage::Kind::kResult || message.kind == RpcMessage::Kind::kError);
        wire_->listener_->OnMessage(std::move(message));
        answered_ = answered_ || ends;
      }
    }

    Status WhyNot(const HttpEnd& end) const {
      if (!fault_.ok()) return fault_;
      const int status = end.head.status;
      if (!end.status.ok()) {
        const bool begun = status != 0 || end.status.reason() == "CONNECTION_BROKEN" ||
                           end.status.reason() == "HTTP_TIMEOUT";
        return UnavailableError(end.status.message(), begun ? "" : kRefused);
      }
      if (status == 404 && in_session_) {
        return UnavailableError("the server has forgotten the session", kMcpSessionGone);
      }
      std::string what = "the server answered " + std::to_string(status);
      if (status == 401 || status == 403) what += " (a key is missing, or isn't accepted)";
      if (status / 100 == 3) what += " (redirects aren't followed)";
      if (status / 100 == 2) what += " and gave no result";
      if (!raw_.empty()) {
        what += ": " + ReplaceInvalidUtf8(std::string(Utf8Prefix(raw_, kShownBytes)));
      }
      const bool refused = status / 100 == 3 || status / 100 == 4 || status == 503;
      return UnavailableError(what, refused ? kRefused : "");
    }

    HttpWire* const wire_;
    const int64_t id_;
    const bool to_be_accepted_;
    const bool in_session_;
    SseReader events_;
    std::string raw_;
    Status fault_;
    bool answered_ = false;
  };

  Result<HttpRequest> NewRequest() const {
    HttpRequest request;
    request.url = options_.url;
    request.proxy = options_.proxy;
    request.ca_file = options_.ca_file;
    request.answer_bytes_max = kMessagesOfAnswer * options_.message_bytes_max;
    request.watched_header = kSessionHeader;
    request.timeouts = {std::min<int64_t>(options_.start_ms, 10'000), 0, 0,
                        options_.call_ms_max + kSpareMs};
    request.headers = {"Expect:", "User-Agent: baleen"};
    const auto key = ReadKey({options_.key, options_.key_variable, options_.key_file});
    if (!key.ok()) return UnavailableError(key.status().message(), kRefused);
    if (!key->empty()) request.headers.push_back("Authorization: Bearer " + *key);
    return request;
  }

  void Remember(const HttpHead& head, int64_t id) {
    const std::lock_guard<std::mutex> lock(mutex_);
    exchanges_.erase(id);
    if (session_.empty() && head.status / 100 == 2 && IsFitForHeader(head.watched)) {
      session_ = head.watched;
    }
  }

  /// Tells the server that the session is over.
  void SayGoodbye() {
    struct Goodbye final : HttpSink {
      explicit Goodbye(HttpWire* owner) : wire(owner) {}
      bool OnBody(const HttpHead&, std::string_view) override { return true; }
      void OnEnd(const HttpEnd&) override {
        const std::lock_guard<std::mutex> lock(wire->mutex_);
        wire->said_ = true;
        wire->goodbye_.notify_all();
      }
      HttpWire* wire;
    };
    std::unique_lock<std::mutex> lock(mutex_);
    auto request = NewRequest();
    if (session_.empty() || !request.ok()) return;
    request->method = "DELETE";
    request->headers.push_back(std::string(kSessionHeader) + ": " + session_);
    http_->Send(*std::move(request), std::make_unique<Goodbye>(this));
    goodbye_.wait_for(lock, std::chrono::milliseconds(kGoodbyeMs), [this] { return said_; });
  }

  const McpServerOptions options_;
  RpcListener* const listener_;
  const std::unique_ptr<HttpClient> http_;
  std::mutex mutex_;
  std::string session_;  ///< Empty: none. Under mutex_, as the rest.
  std::map<int64_t, uint64_t> exchanges_;
  std::condition_variable goodbye_;
  bool said_ = false;
};

}  // namespace

Result<std::unique_ptr<RpcWire>> NewHttpWire(const McpServerOptions& options,
                                             RpcListener* listener) {
  ASSIGN_OR_RETURN(auto http, HttpClient::Create());
  return std::unique_ptr<RpcWire>(std::make_unique<HttpWire>(options, listener, std::move(http)));
}

}  // namespace baleen
