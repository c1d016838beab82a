// What the runtime's tests share: models in a folder of the test program, runtimes, watchers.
#pragma once

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/runtime.h"
#include "tests/runtime/tiny_checkpoint.h"
#include "tests/runtime/worker_session.h"
#include "tests/store/status_checks.h"
#include "tests/testing/temp_directory.h"

namespace baleen {

/// Long enough for a machine under load; a test that waits so long has failed.
inline constexpr int64_t kPatienceMs = 120'000;

/// Written once per test program and combination.
inline std::string TinyModel(uint64_t seed = 1, int64_t positions_max = 0) {
  static const TempDirectory folder;
  const std::string path =
      folder.File("model-" + std::to_string(seed) + "-" + std::to_string(positions_max));
  if (!std::filesystem::exists(path + "/tokenizer.json")) {
    REQUIRE_OK(WriteTinyCheckpoint(path, seed, positions_max));
  }
  return path;
}

/// A dozen small files, some with the word that the worker's script looks for.
inline std::string SmallWorkspace() {
  static const TempDirectory folder;
  for (int i = 0; i < 12; ++i) {
    const std::string path = folder.File("f" + std::to_string(i) + ".txt");
    if (std::filesystem::exists(path)) continue;
    std::ofstream(path) << "line one of " << i << "\n" << (i % 3 == 0 ? "a needle\n" : "hay\n");
  }
  return folder.path();
}

inline std::unique_ptr<Runtime> OpenRuntime(const RuntimeOptions& options) {
  return Must(Runtime::Open(options));
}

inline nlohmann::json Parse(const std::string& text) {
  auto json = nlohmann::json::parse(text, nullptr, false);
  REQUIRE(json.is_object());
  return json;
}

/// Keeps all events; any thread may wait for some.
class Recorder final : public EventSubscriber {
 public:
  bool OnEvent(const Event& event) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    events_.push_back(event);
    changed_.notify_all();
    return true;
  }
  void OnEnd(const Status& status) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    end_ = status;
    ended_ = true;
    changed_.notify_all();
  }

  /// Waits until `count` events of `kind` came. false: they never did.
  bool WaitFor(const std::string& kind, int64_t count = 1) {
    std::unique_lock<std::mutex> lock(mutex_);
    return changed_.wait_for(lock, std::chrono::milliseconds(kPatienceMs), [&] {
      return std::count_if(events_.begin(), events_.end(),
                           [&](const Event& e) { return e.kind == kind; }) >= count;
    });
  }
  bool WaitForEnd() {
    std::unique_lock<std::mutex> lock(mutex_);
    return changed_.wait_for(lock, std::chrono::milliseconds(kPatienceMs), [&] { return ended_; });
  }
  Status end() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return end_;
  }
  std::vector<Event> events() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return events_;
  }
  std::vector<Event> Durable() {
    std::vector<Event> durable = events();
    std::erase_if(durable, [](const Event& event) { return event.seq == 0; });
    return durable;
  }
  std::vector<Event> Of(const std::string& kind) {
    std::vector<Event> found = events();
    std::erase_if(found, [&](const Event& event) { return event.kind != kind; });
    return found;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Event> events_;
  Status end_;
  bool ended_ = false;
};

inline TokenTrace ReadAll(Runtime& runtime, const std::string& session) {
  const SessionView view = Must(runtime.GetSession(session));
  TokenTrace trace = Must(runtime.ReadTokens(session, 0, view.tokens));
  REQUIRE(static_cast<int64_t>(trace.ids.size()) == view.tokens);
  return trace;
}

/// Number of positions with a traced logits hash.
inline int64_t Sampled(const TokenTrace& trace) {
  int64_t sampled = 0;
  for (const uint64_t hash : trace.logits_hashes) sampled += hash != 0 ? 1 : 0;
  return sampled;
}

inline TurnView RunTurn(Runtime& runtime, const StartTurnRequest& request) {
  const TurnView started = Must(runtime.StartTurn(request));
  return Must(runtime.WaitTurn(request.session, started.turn, kPatienceMs));
}

/// The durable events of a session from its start, in order.
inline std::vector<Event> AllEvents(Runtime& runtime, const std::string& session) {
  const int64_t head = [&] {
    const std::string cursor = Must(runtime.GetSession(session)).head_cursor;
    return std::stoll(cursor.substr(cursor.find_last_of(":.") + 1));
  }();
  Recorder recorder;
  const auto watching = Must(runtime.Watch({session, "", false}, &recorder));
  while (true) {
    const auto events = recorder.events();
    if (static_cast<int64_t>(events.size()) >= head) return events;
    REQUIRE(recorder.WaitFor(events.empty() ? "session_created" : events.back().kind, 1));
    std::this_thread::yield();
  }
}

/// The reuse report of the last generation.
inline nlohmann::json LastReuse(Runtime& runtime, const std::string& session) {
  nlohmann::json reuse;
  for (const Event& event : AllEvents(runtime, session)) {
    if (event.kind == "generated") reuse = Parse(event.payload)["reuse"];
  }
  return reuse;
}

inline bool AnyContains(const nlohmann::json& texts, const std::string& words) {
  for (const auto& text : texts) {
    if (text.get<std::string>().find(words) != std::string::npos) return true;
  }
  return false;
}

}  // namespace baleen
