#include "runtime/remote/remote_engine.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>
#include <utility>

#include "runtime/http/bearer_key.h"
#include "runtime/remote/answer_tokens.h"
#include "runtime/remote/sse_reader.h"

namespace baleen {
namespace {

constexpr size_t kEventBytesMax = 8 << 20;
constexpr size_t kErrorBytesMax = 64 << 10;
constexpr size_t kWholeAnswerBytesMax = 32 << 20;
/// An engine may count tokens otherwise than the local tokenizer, but not without bound.
constexpr int64_t kTokensPerToken = 8;
constexpr int64_t kTokensSpare = 1024;

Status Bad(const RemoteEngineOptions& engine, const std::string& what) {
  return InvalidArgumentError("engine '" + engine.name.substr(0, 80) + "': " + what, "BAD_FIELD");
}

bool IsName(const std::string& name) {
  if (name.empty() || name.size() > 63 || name[0] == '-') return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

std::string EndpointOf(std::string url) {
  constexpr std::string_view kPath = "/chat/completions";
  while (url.ends_with('/')) url.pop_back();
  return url.ends_with(kPath) ? url : url + std::string(kPath);
}

}  // namespace

Status RemoteEngineOptions::Validate() const {
  if (!IsName(name)) return Bad(*this, "expected a name of a-z, 0-9 and '-'");
  if (!url.starts_with("http://") && !url.starts_with("https://")) {
    return Bad(*this, "url: expected http:// or https://");
  }
  if (model.empty()) return Bad(*this, "model: expected the name that the endpoint has for it");
  const KeyPlace place = {key, key_variable, key_file};
  if (Status status = CheckKeyPlace(place); !status.ok()) return Bad(*this, status.message());
  if (!place.empty() && GoesInClear(url) && !key_in_clear) {
    return Bad(*this, "a key would go over the network in clear; use https, or key_in_clear");
  }
  if (connect_ms < 0 || first_byte_ms < 0 || idle_ms < 0 || whole_ms < 0 || retries_max < 0 ||
      retry_ms < 0 || retry_ms_max < 0) {
    return Bad(*this, "times and retries: expected 0 or more");
  }
  if (context_tokens < 256 || answer_bytes_max < 1) {
    return Bad(*this, "expected context_tokens of at least 256, and answer_bytes_max of 1");
  }
  if (!extra.empty() && !nlohmann::json::parse(extra, nullptr, false).is_object()) {
    return Bad(*this, "extra: expected a JSON object");
  }
  return OkStatus();
}

struct RemoteEngine::Running {
  uint64_t id = 0;
  const RemoteEngineOptions* engine = nullptr;
  std::string body;
  std::string key;
  int64_t tokens_max = 0;
  std::shared_ptr<std::atomic<bool>> cancelled;
  uint64_t exchange = 0;  // guarded by RemoteEngine::mutex_; set on the network thread

  // Network thread. Of the current try:
  SseReader events{kEventBytesMax};
  ChatAnswerReader answer{{}};
  std::string raw;  ///< Of an answer that is no stream: whole.
  AnswerTokens tokens;
  Status fault;  ///< What of the answer could not be taken.
  int64_t tokens_count = 0;
  int32_t tries = 0;
  std::vector<std::string> notes;

  explicit Running(const AnswerTokens& fresh) : tokens(fresh) {}
};

/// One try.
class RemoteEngine::Exchange final : public HttpSink {
 public:
  Exchange(RemoteEngine* owner, std::shared_ptr<Running> job)
      : owner_(owner), job_(std::move(job)) {}

  bool OnBody(const HttpHead& head, std::string_view piece) override {
    if (job_->cancelled->load()) return false;
    const bool stream = head.status == 200 && head.content_type.starts_with("text/event-stream");
    if (!stream) {
      const size_t most = head.status == 200 ? kWholeAnswerBytesMax : kErrorBytesMax;
      job_->raw += piece.substr(0, most - std::min(most, job_->raw.size()));
      if (job_->raw.size() < most) return true;
      if (head.status == 200) {
        job_->fault = ResourceExhaustedError(
            "the answer has more than " + std::to_string(most) + " bytes", "ANSWER_TOO_LARGE");
      }
      return false;
    }
    std::vector<std::string> data;
    job_->fault = job_->events.Push(piece, &data);
    for (const std::string& event : data) {
      if (job_->fault.ok()) job_->fault = owner_->Take(*job_, event);
    }
    return job_->fault.ok() && !job_->answer.done();
  }
  void OnEnd(const HttpEnd& end) override { owner_->End(job_, end); }

 private:
  RemoteEngine* owner_;
  std::shared_ptr<Running> job_;
};

Result<std::unique_ptr<RemoteEngine>> RemoteEngine::Create(std::vector<RemoteEngineOptions> engines,
                                                           const Tokenizer* tokenizer,
                                                           const SessionEncoder* encoder,
                                                           RemoteListener* listener) {
  for (size_t i = 0; i < engines.size(); ++i) {
    RETURN_IF_ERROR(engines[i].Validate());
    for (size_t j = 0; j < i; ++j) {
      if (engines[j].name == engines[i].name) return Bad(engines[i], "the name is given twice");
    }
  }
  auto engine = std::unique_ptr<RemoteEngine>(
      new RemoteEngine(std::move(engines), tokenizer, encoder, listener));
  // Without engines there is no thread.
  if (!engine->engines_.empty()) {
    ASSIGN_OR_RETURN(engine->http_, HttpClient::Create());
  }
  return engine;
}

RemoteEngine::RemoteEngine(std::vector<RemoteEngineOptions> engines, const Tokenizer* tokenizer,
                           const SessionEncoder* encoder, RemoteListener* listener)
    : engines_(std::move(engines)), tokenizer_(tokenizer), encoder_(encoder), listener_(listener) {}

RemoteEngine::~RemoteEngine() { Stop(); }

void RemoteEngine::Stop() {
  if (http_ != nullptr) http_->Stop();
}

const RemoteEngineOptions* RemoteEngine::Find(const std::string& name) const {
  const auto found = std::find_if(engines_.begin(), engines_.end(),
                                  [&](const auto& engine) { return engine.name == name; });
  return found == engines_.end() ? nullptr : &*found;
}

Status RemoteEngine::Submit(RemoteJob job) {
  const RemoteEngineOptions* engine = Find(job.engine);
  if (engine == nullptr) {
    return NotFoundError("no engine 'remote:" + job.engine.substr(0, 80) +
                             "' is known here; baleen.toml names it as [engines." +
                             job.engine.substr(0, 80) + "]",
                         "ENGINE_UNKNOWN");
  }
  auto running = std::make_shared<Running>(AnswerTokens(*tokenizer_, *encoder_, job.thinking));
  running->id = job.id;
  running->engine = engine;
  auto key = ReadKey({engine->key, engine->key_variable, engine->key_file});
  if (!key.ok()) {
    return UnavailableError("engine '" + engine->name + "': " + key.status().message(),
                            "ENGINE_KEY");
  }
  running->key = std::move(key).value();
  running->tokens_max = job.request.tokens_max;
  running->cancelled = std::move(job.cancelled);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    jobs_[running->id] = running;
  }
  // A long history is megabytes of JSON: not on the caller's thread, which all sessions share.
  http_->After(0, [this, running, request = std::move(job.request)] {
    running->body = ChatRequestJson(request, *running->engine);
    Ask(running);
  });
  return OkStatus();
}

void RemoteEngine::Cancel(uint64_t job) {
  uint64_t exchange = 0;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = jobs_.find(job);
    if (found == jobs_.end()) return;
    exchange = found->second->exchange;
  }
  if (exchange != 0) return http_->Cancel(exchange);
  // It waits to be asked, or asked again.
  http_->After(0, [this, job] {
    std::shared_ptr<Running> running;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      const auto found = jobs_.find(job);
      if (found == jobs_.end()) return;
      running = found->second;
    }
    if (running->exchange != 0) return http_->Cancel(running->exchange);
    Finish(running, CancelledError("the turn was cancelled"));
  });
}

void RemoteEngine::Ask(const std::shared_ptr<Running>& job) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (jobs_.count(job->id) == 0) return;  // it ended while it waited
  }
  if (job->cancelled->load()) return Finish(job, CancelledError("the turn was cancelled"));
  const RemoteEngineOptions& engine = *job->engine;
  HttpRequest request;
  request.url = EndpointOf(engine.url);
  request.headers = {"Content-Type: application/json", "Accept: text/event-stream",
                     "Expect:", "User-Agent: baleen"};
  if (!job->key.empty()) request.headers.push_back("Authorization: Bearer " + job->key);
  request.body = job->body;
  request.timeouts = {engine.connect_ms, engine.first_byte_ms, engine.idle_ms, engine.whole_ms};
  request.proxy = engine.proxy;
  request.ca_file = engine.ca_file;
  request.answer_bytes_max = engine.answer_bytes_max;
  job->tries += 1;
  job->events = SseReader(kEventBytesMax);
  job->answer = ChatAnswerReader({});
  job->raw.clear();
  job->fault = OkStatus();
  const uint64_t exchange = http_->Send(std::move(request), std::make_unique<Exchange>(this, job));
  const std::lock_guard<std::mutex> lock(mutex_);
  job->exchange = exchange;
}

Status RemoteEngine::Take(Running& job, const std::string& event) {
  ASSIGN_OR_RETURN(const AnswerText text, job.answer.Push(event));
  if (text.empty()) return OkStatus();
  ASSIGN_OR_RETURN(const std::vector<int32_t> ids, job.tokens.Push(text));
  job.tokens_count += static_cast<int64_t>(ids.size());
  listener_->OnText(job.id, ids, text);
  if (job.tokens_count > job.tokens_max * kTokensPerToken + kTokensSpare) {
    job.notes.push_back("the engine wrote on beyond max_tokens, and was cut");
    job.answer.CutHere();
  }
  return OkStatus();
}

void RemoteEngine::End(const std::shared_ptr<Running>& job, const HttpEnd& end) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    job->exchange = 0;
  }
  if (job->cancelled->load()) return Finish(job, CancelledError("the turn was cancelled"));
  Status status = job->fault;
  const bool refused = end.head.status != 0 && end.head.status != 200;
  if (status.ok() && refused) {
    status = ErrorOfAnswer(end.head.status, job->raw);
  } else if (status.ok() && !job->raw.empty()) {
    status = end.status.ok() ? Take(*job, job->raw) : end.status;
    if (status.ok() && !job->answer.done()) job->answer.Push("[DONE]").status().IgnoreError("said");
  } else if (status.ok() && !job->answer.ended()) {
    status = end.status.ok() ? job->answer.Finish().status() : end.status;
    if (job->answer.begun()) {
      status = Status(status.code(),
                      "the answer broke off: " + status.message() + "; what came of it is kept",
                      "ENGINE_BROKEN_OFF");
    }
  }
  if (!status.ok() && Repeat(job, end, status)) return;
  Finish(job, status);
}

bool RemoteEngine::Repeat(const std::shared_ptr<Running>& job, const HttpEnd& end,
                          const Status& why) {
  const RemoteEngineOptions& engine = *job->engine;
  const bool may = why.code() == StatusCode::kUnavailable || why.reason() == "ENGINE_BUSY";
  if (!may || job->answer.begun() || job->tries > engine.retries_max) return false;
  std::random_device device;
  const int64_t whole =
      std::min(engine.retry_ms << std::min(job->tries - 1, 20), engine.retry_ms_max);
  int64_t wait_ms =
      whole / 2 + static_cast<int64_t>(device() % (static_cast<uint64_t>(whole) / 2 + 1));
  if (end.head.retry_after_s >= 0) {
    if (end.head.retry_after_s > engine.retry_ms_max / 1000) return false;
    wait_ms = std::max(wait_ms, end.head.retry_after_s * 1000);
  }
  job->notes.push_back("asked again after: " + why.message());
  listener_->OnRepeat(job->id, wait_ms, why);
  http_->After(wait_ms, [this, job] { Ask(job); });
  return true;
}

void RemoteEngine::Finish(const std::shared_ptr<Running>& job, const Status& status) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (jobs_.erase(job->id) == 0) return;
  }
  const auto end = [&](const Status& why) {
    std::string tries = job->tries > 1 ? " (" + std::to_string(job->tries) + " tries)" : "";
    listener_->OnAnswer(
        job->id, why.WithContext("engine 'remote:" + job->engine->name + "'" + tries), {}, {});
  };
  if (!status.ok()) return end(status);
  auto answer = job->answer.Finish();
  if (!answer.ok()) return end(answer.status());
  answer->notes.insert(answer->notes.begin(), job->notes.begin(), job->notes.end());
  const auto ids = job->tokens.Finish(*answer);
  if (!ids.ok()) return end(ids.status());
  listener_->OnAnswer(job->id, OkStatus(), *answer, *ids);
}

}  // namespace baleen
