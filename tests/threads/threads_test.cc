// All threads of the runtime at once: hosts, control, engine and its arithmetic, storage, pool.
//
// Written for ThreadSanitizer (the tsan preset), which sees races whatever the outcome; what is
// checked here besides is order and completeness. Catch's assertions aren't safe in other threads,
// so these note their failures, and the test's own thread reports them.
#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <future>
#include <thread>

#include "runtime/worker.h"
#include "tests/runtime/fixture.h"

namespace baleen {
namespace {

constexpr int kHostThreads = 4;
constexpr int kTurns = 4;
constexpr int kRounds = 30;

/// Every kind of layer, in as little arithmetic as possible: ThreadSanitizer slows it tenfold.
std::string SmallModel() {
  static const TempDirectory folder;
  const std::string path = folder.File("model");
  if (std::filesystem::exists(path + "/tokenizer.json")) return path;
  ModelConfig config = TinyConfig(kTinyVocab);
  config.layers = 3;
  config.layer_kinds = {LayerKind::kWindow, LayerKind::kCsa, LayerKind::kHca};
  config.hash_layers = 1;
  REQUIRE_OK(WriteCheckpoint(RandomWeights(config, 3, RandomStorage::kFloat32), path, {}));
  std::ofstream(path + "/tokenizer.json", std::ios::binary) << TinyTokenizerJson();
  return path;
}

RuntimeOptions Options(const std::string& data_dir) {
  RuntimeOptions options;
  options.data_dir = data_dir;
  options.model_path = SmallModel();
  options.threads = 3;
  options.tool_threads = 2;
  options.prefill_chunk_tokens = 32;
  options.checkpoint_interval_tokens = 256;
  options.resident_sequences_max = 2;  // fewer than sessions: they evict each other
  options.kv_ram_bytes = 1 << 16;      // and their blocks don't all stay
  options.row_wait_ms = 1;
  return options;
}

/// Half of the sessions generate only; the others call a built-in and the host's tool too.
CreateSessionRequest SessionRequest(int number) {
  CreateSessionRequest request;
  request.session = "s" + std::to_string(number);
  request.request_id = "create-" + request.session;
  request.settings.sampling.seed = static_cast<uint64_t>(number);
  request.settings.tokens_max = 6;
  if (number % 2 == 0) {
    request.settings.script =
        "return function(message) return baleen.generate { user = message }.content end";
    return request;
  }
  request.settings.script = R"(
    return function(message)
      local results = baleen.call_tools {
        { name = "list", arguments = { path = "." } },
        { name = "echo", arguments = { text = message } },
      }
      baleen.generate { user = results[1].content:sub(1, 8) .. results[2].content:sub(1, 8) }
      return results[2].outcome
    end)";
  request.settings.workspace = SmallWorkspace();
  ToolSpec echo;
  echo.name = "echo";
  echo.description = "Says it again.";
  echo.parameters = R"({"type":"object","properties":{"text":{"type":"string"}}})";
  echo.effect = EffectClass::kPure;
  request.settings.host_tools.push_back(echo);
  return request;
}

/// A host of `echo` that answers from a thread of its own.
class EchoHost final : public ToolHostSink {
 public:
  EchoHost(Runtime& runtime, const std::string& session) : worker_(1, 64) {
    auto connection = runtime.ConnectToolHost(session, {"echo"}, this);
    status_ = connection.status();
    if (connection.ok()) connection_ = std::move(connection).value();
    connected_.set_value();
  }
  ~EchoHost() override {
    worker_.Stop();  // before the connection goes: its answers use it
    connection_.reset();
  }
  const Status& status() const { return status_; }

  bool OnCall(const std::string& session, const ToolCall& call, int64_t /*timeout_ms*/) override {
    return worker_.queue().TryPush([this, session, call] {
      ready_.wait();
      ToolResult result;
      result.call_id = call.id;
      result.content = call.arguments;
      // The turn may have been cancelled meanwhile: then the call is unknown.
      if (connection_ != nullptr)
        connection_->SubmitResult(session, result).IgnoreError("see above");
    });
  }
  void OnCancel(const std::string& /*session*/, const std::string& /*call_id*/) override {
    cancels_.fetch_add(1);
  }

 private:
  std::promise<void> connected_;
  std::shared_future<void> ready_ = connected_.get_future().share();
  std::unique_ptr<ToolHostConnection> connection_;
  Status status_;
  std::atomic<int> cancels_{0};
  Worker worker_;
};

/// Fails the subscription after the first event.
class SlowSubscriber final : public EventSubscriber {
 public:
  bool OnEvent(const Event& /*event*/) override { return false; }
  void OnEnd(const Status& status) override { end_.set_value(status); }
  Status WaitForEnd() { return end_.get_future().get(); }

 private:
  std::promise<Status> end_;
};

/// Notes an event that comes after its subscription is gone.
class BriefSubscriber final : public EventSubscriber {
 public:
  bool OnEvent(const Event& /*event*/) override {
    if (closed_.load()) late_.fetch_add(1);
    return true;
  }
  void OnEnd(const Status& /*status*/) override {}
  void Close() { closed_.store(true); }
  int late() const { return late_.load(); }

 private:
  std::atomic<bool> closed_{false};
  std::atomic<int> late_{0};
};

/// What went wrong in threads that can't use Catch.
class Notes {
 public:
  void Check(bool good, const std::string& what) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!good) failures_.push_back(what);
  }
  template <typename T>
  T Value(Result<T> result, const std::string& what) {
    Check(result.ok(), what + ": " + result.status().ToString());
    return result.ok() ? std::move(result).value() : T();
  }
  std::vector<std::string> failures() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return failures_;
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> failures_;
};

/// Enough for a listing to fall between a session's commit and the word of it in most runs.
constexpr int kSessionsMade = 3000;

/// Durable events 1, 2, 3 ... each once, and the end of every turn.
void CheckEvents(Recorder& recorder, const std::string& session, int turns, Notes& notes) {
  notes.Check(recorder.WaitFor("turn_finished", turns), session + ": turns without an end");
  int64_t expected = 0;
  for (const Event& event : recorder.Durable()) {
    ++expected;
    notes.Check(event.seq == expected, session + ": event " + std::to_string(event.seq) +
                                           " where " + std::to_string(expected) + " belongs");
  }
}

/// One host: a session, turns one after another, every second one cancelled somewhere on its way.
void Host(Runtime& runtime, int number, Notes& notes) {
  static constexpr const char* kCancelAfter[] = {"turn_started", "generate", "progress",
                                                 "tool_calls"};
  const CreateSessionRequest request = SessionRequest(number);
  const std::string& id = request.session;
  notes.Value(runtime.CreateSession(request), id + ": create");
  notes.Check(runtime.CreateSession(request).ok(), id + ": a repeated request must get its answer");
  std::unique_ptr<EchoHost> host;
  if (!request.settings.host_tools.empty()) {
    host = std::make_unique<EchoHost>(runtime, id);
    notes.Check(host->status().ok(), id + ": connect: " + host->status().ToString());
  }
  Recorder recorder;
  auto watching = notes.Value(runtime.Watch({id, "", true}, &recorder), id + ": watch");
  for (int turn = 1; turn <= kTurns; ++turn) {
    StartTurnRequest start;
    start.session = id;
    start.input = {"turn " + std::to_string(turn)};
    start.trace_logits = true;
    const TurnView view = notes.Value(runtime.StartTurn(start), id + ": start");
    const bool cancel = turn % 2 == 0;
    if (cancel) {
      const char* kind = kCancelAfter[(number + turn / 2) % 4];
      const bool never = number % 2 == 0 && std::string(kind) == "tool_calls";
      if (!never) notes.Check(recorder.WaitFor(kind), id + ": no " + kind);
      notes.Check(runtime.CancelTurn(id, view.turn).ok(), id + ": cancel");
    }
    const TurnView end = notes.Value(runtime.WaitTurn(id, view.turn, kPatienceMs), id + ": wait");
    const bool expected =
        end.state == TurnState::kSucceeded || (cancel && end.state == TurnState::kCancelled);
    notes.Check(expected, id + " " + view.turn + ": " + end.error.ToString());
    if (host != nullptr && turn == 2) {  // a second host takes the tool over
      auto next = std::make_unique<EchoHost>(runtime, id);
      host = std::move(next);
    }
  }
  CheckEvents(recorder, id, kTurns, notes);
  watching.reset();
}

/// Reads everything that can be read; subscribes and leaves again.
void Reader(Runtime& runtime, Notes& notes) {
  for (int round = 0; round < kRounds; ++round) {
    std::string next;
    const auto views = notes.Value(runtime.ListSessions(10, "", &next), "list");
    for (const SessionView& view : views) {
      notes.Check(runtime.GetSession(view.session).ok(), "get " + view.session);
      const TokenTrace trace =
          notes.Value(runtime.ReadTokens(view.session, 0, view.tokens), "tokens");
      notes.Check(static_cast<int64_t>(trace.ids.size()) <= view.tokens, "too many tokens");
      BriefSubscriber brief;
      auto watching = notes.Value(runtime.Watch({view.session, "", true}, &brief), "watch");
      watching.reset();
      brief.Close();
      SlowSubscriber slow;
      watching = notes.Value(runtime.Watch({view.session, "", true}, &slow), "watch slowly");
      notes.Check(slow.WaitForEnd().reason() == "SLOW_CONSUMER", "a slow consumer's end");
      watching.reset();
      notes.Check(brief.late() == 0, "an event after its subscription");
    }
    const RuntimeStats stats = notes.Value(runtime.Stats(), "stats");
    notes.Check(stats.turns_running <= kHostThreads, "more turns than hosts");
    const VerifyReport report = notes.Value(runtime.Verify(""), "verify");
    notes.Check(report.problems.empty(), "verify found problems");
  }
}

void Report(Notes& notes) {
  const auto failures = notes.failures();
  INFO((failures.empty() ? std::string() : failures.front()));
  REQUIRE(failures.size() == 0);
}

TEST_CASE("many hosts and readers work with one runtime") {
  const TempDirectory folder;
  const auto runtime = OpenRuntime(Options(folder.File("data")));
  Notes notes;
  std::vector<std::thread> hosts;
  std::vector<std::thread> readers;
  for (int i = 0; i < kHostThreads; ++i) {
    hosts.emplace_back([&, i] { Host(*runtime, i, notes); });
  }
  for (int i = 0; i < 2; ++i) readers.emplace_back([&] { Reader(*runtime, notes); });
  for (std::thread& host : hosts) host.join();
  for (std::thread& reader : readers) reader.join();
  Report(notes);
  const RuntimeStats stats = Must(runtime->Stats());
  REQUIRE(stats.turns_running == 0);
  REQUIRE(stats.sequences_resident <= 2);
}

TEST_CASE("a session that is listed is there for every verb") {
  const TempDirectory folder;
  const auto runtime = OpenRuntime(Options(folder.File("data")));
  Notes notes;
  std::atomic<int> made{0};
  std::atomic<bool> done{false};
  const auto name = [](int number) { return "s" + std::to_string(number); };
  CreateSessionRequest request;
  request.session = name(0);
  notes.Value(runtime->CreateSession(request), "create");
  // Readers ask for what comes after the newest that they know of, so that they see it at once.
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      while (!done) {
        const std::string known = name(made);
        for (const SessionView& view :
             notes.Value(runtime->ListSessions(4, known, nullptr), "list")) {
          notes.Check(runtime->GetSession(view.session).ok(), "get " + view.session);
        }
      }
    });
  }
  for (int i = 1; i <= kSessionsMade; ++i) {
    request.session = name(i);
    notes.Value(runtime->CreateSession(request), "create");
    made = i;
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
  Report(notes);
}

TEST_CASE("a runtime stops in the middle of turns and the next one finishes them") {
  const TempDirectory folder;
  const RuntimeOptions options = Options(folder.File("data"));
  for (const bool again : {false, true}) {
    auto runtime = OpenRuntime(options);
    for (int i = 0; i < kHostThreads; ++i) {
      CreateSessionRequest request = SessionRequest(2 * i);  // without tools
      request.settings.tokens_max = 40;
      if (!again) Must(runtime->CreateSession(request));
      if (again) {
        const TurnView view = Must(runtime->WaitTurn(request.session, "t1", kPatienceMs));
        INFO(view.error.ToString());
        REQUIRE(view.state == TurnState::kSucceeded);
      }
      StartTurnRequest start;
      start.session = request.session;
      start.input = {"go on"};
      if (!again) Must(runtime->StartTurn(start));
    }
    runtime.reset();
  }
}

TEST_CASE("a work queue hands out everything once and holds producers back") {
  WorkQueue queue(4);
  std::atomic<int> ran{0};
  std::vector<std::thread> producers;
  for (int i = 0; i < 3; ++i) {
    producers.emplace_back([&] {
      for (int n = 0; n < 500; ++n) {
        queue.WaitBelow();
        queue.Push([&ran] { ran.fetch_add(1); });
      }
    });
  }
  std::thread consumer([&] {
    while (auto work = queue.Pop()) (*work)();
  });
  for (std::thread& producer : producers) producer.join();
  queue.Close();
  consumer.join();
  REQUIRE(ran.load() == 1500);
  REQUIRE_FALSE(queue.Push([] {}));
}

}  // namespace
}  // namespace baleen
