// RemoteEngine: generations by chat endpoints elsewhere.
//
// Asks, repeats what may be repeated, and turns what comes into text, tokens of the local tokenizer
// and one end per job. The tokens are how the journal keeps a text before anybody is shown it; no
// KV is made of them. Knows no sessions. Called by the control loop.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "model/text/chat_encoder.h"
#include "model/text/tokenizer.h"
#include "runtime/engine/engine.h"
#include "runtime/engine_options.h"
#include "runtime/http/http_client.h"
#include "runtime/remote/chat_answer.h"
#include "runtime/remote/chat_request.h"

namespace baleen {

struct RemoteJob {
  uint64_t id = 0;
  std::string engine;  ///< Its name, without "remote:".
  ChatRequest request;
  bool thinking = false;  ///< The context stands inside reasoning (ThinkingMode::kThinking).
  /// Owners: the control loop, which sets it and then calls Cancel, and the job.
  std::shared_ptr<std::atomic<bool>> cancelled;
};

/// Called on the network thread.
class RemoteListener {
 public:
  virtual ~RemoteListener() = default;
  /// `ids`: `text` as the context has it.
  virtual void OnText(uint64_t job, const std::vector<int32_t>& ids, const AnswerText& text) = 0;
  /// The job waits `wait_ms` before it asks again, because of `why`.
  virtual void OnRepeat(uint64_t job, int64_t wait_ms, const Status& why) = 0;
  /// The end of a job: `answer` if `status` is OK. `ids`: what closes the answer in the context.
  virtual void OnAnswer(uint64_t job, const Status& status, const ChatAnswer& answer,
                        const std::vector<int32_t>& ids) = 0;
};

/// Threads: Stop from the owner; everything else from any thread.
class RemoteEngine {
 public:
  /// Borrows: tokenizer, encoder, listener, until Stop.
  /// Errors: INVALID_ARGUMENT/BAD_FIELD (an engine's options), INTERNAL.
  static Result<std::unique_ptr<RemoteEngine>> Create(std::vector<RemoteEngineOptions> engines,
                                                      const Tokenizer* tokenizer,
                                                      const SessionEncoder* encoder,
                                                      RemoteListener* listener);
  ~RemoteEngine();

  /// Errors: NOT_FOUND/ENGINE_UNKNOWN; UNAVAILABLE/ENGINE_KEY (its key file can't be read).
  Status Submit(RemoteJob job);
  /// The job ends as CANCELLED, soon, if it has not ended.
  void Cancel(uint64_t job);
  /// Null: no such engine.
  const RemoteEngineOptions* Find(const std::string& name) const;
  /// Ends everything, with no further calls to the listener.
  void Stop();

 private:
  struct Running;
  class Exchange;

  RemoteEngine(std::vector<RemoteEngineOptions> engines, const Tokenizer* tokenizer,
               const SessionEncoder* encoder, RemoteListener* listener);
  /// Network thread.
  void Ask(const std::shared_ptr<Running>& job);
  Status Take(Running& job, const std::string& event);
  void End(const std::shared_ptr<Running>& job, const HttpEnd& end);
  void Finish(const std::shared_ptr<Running>& job, const Status& status);
  bool Repeat(const std::shared_ptr<Running>& job, const HttpEnd& end, const Status& why);

  const std::vector<RemoteEngineOptions> engines_;
  const Tokenizer* const tokenizer_;
  const SessionEncoder* const encoder_;
  RemoteListener* const listener_;
  std::unique_ptr<HttpClient> http_;
  std::mutex mutex_;
  /// Owners: this map and the exchange or timer that works on the job. Guarded by mutex_.
  std::map<uint64_t, std::shared_ptr<Running>> jobs_;
};

}  // namespace baleen
