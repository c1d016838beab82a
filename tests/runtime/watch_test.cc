// Watching: from any cursor every durable event comes once and in order, also while a turn runs;
// foreign and stale cursors are refused; a subscriber that can't keep up is told where it stands.
#include "runtime/observer.h"
#include "tests/runtime/fixture.h"

namespace baleen {
namespace {

RuntimeOptions Options(const TempDirectory& temp) {
  return WorkerOptions(temp.File("data"), TinyModel());
}

CreateSessionRequest Session(const std::string& id) {
  CreateSessionRequest request;
  request.session = id;
  request.settings.tokens_max = 8;
  // Ten steps, so that there are events to miss.
  request.settings.script = R"(
return function(message)
  for _ = 1, 10 do baleen.generate { user = message, max_tokens = 3 } end
  return "done"
end
)";
  return request;
}

StartTurnRequest Turn(const std::string& session) {
  StartTurnRequest request;
  request.session = session;
  request.input = {"hi"};
  return request;
}

void RequireSequence(const std::vector<Event>& events, int64_t first) {
  for (size_t i = 0; i < events.size(); ++i) {
    REQUIRE(events[i].seq == first + static_cast<int64_t>(i));
  }
}

/// Refuses the event number `limit`.
class Slow final : public EventSubscriber {
 public:
  explicit Slow(int limit) : left_(limit) {}
  bool OnEvent(const Event& event) override {
    if (left_-- <= 0) return false;
    if (event.seq > 0) seen_.push_back(event);
    return true;
  }
  void OnEnd(const Status& status) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    end_ = status;
    ended_ = true;
    changed_.notify_all();
  }
  Status WaitForEnd() {
    std::unique_lock<std::mutex> lock(mutex_);
    REQUIRE(
        changed_.wait_for(lock, std::chrono::milliseconds(kPatienceMs), [&] { return ended_; }));
    return end_;
  }
  const std::vector<Event>& seen() const { return seen_; }

 private:
  int left_;
  std::vector<Event> seen_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Status end_;
  bool ended_ = false;
};

/// Lets whoever asks see a session while its events are on their way.
class SlowDisk final : public RuntimeObserver {
 public:
  void OnTurnEnded(const TurnView&, double) override {}
  void OnGeneration(const GenerationFigures&) override {}
  void OnToolCall(ToolOutcome) override {}
  void OnCommit(double, bool) override {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
};

}  // namespace

TEST_CASE("WhoWatchesFromTheHeadOfAViewHearsHowItsOpenTurnEnds") {
  const TempDirectory temp;
  SlowDisk disk;
  RuntimeOptions options = Options(temp);
  options.observer = &disk;
  const auto runtime = OpenRuntime(options);
  CreateSessionRequest request = Session("s");
  request.settings.script = "return function() return 'done' end";
  REQUIRE_OK(runtime->CreateSession(request));
  REQUIRE_OK(runtime->StartTurn(Turn("s")));
  SessionView last;  // that has an open turn: its end is on its way
  for (SessionView view = Must(runtime->GetSession("s")); !view.open_turn.empty();) {
    last = view;
    view = Must(runtime->GetSession("s"));
  }
  REQUIRE(!last.open_turn.empty());
  Recorder recorder;
  const auto watching = Must(runtime->Watch({"s", last.head_cursor, true}, &recorder));
  CHECK(recorder.WaitFor("turn_finished"));
}

TEST_CASE("WatchersThatComeAtAnyMomentSeeEachDurableEventOnce") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  REQUIRE_OK(runtime->CreateSession(Session("s")));
  std::vector<std::unique_ptr<Recorder>> recorders;
  std::vector<std::unique_ptr<Subscription>> watching;
  const std::string turn = Must(runtime->StartTurn(Turn("s"))).turn;
  std::string after;
  std::vector<int64_t> first;
  for (int i = 0; i < 20; ++i) {
    recorders.push_back(std::make_unique<Recorder>());
    // From the start, or from the newest event that an earlier watcher has seen.
    const bool resume = i % 2 == 1;
    if (resume) {
      const auto seen = recorders[recorders.size() - 2]->Durable();
      after = seen.empty() ? "" : seen.back().cursor;
      first.push_back(seen.empty() ? 1 : seen.back().seq + 1);
    } else {
      after = "";
      first.push_back(1);
    }
    watching.push_back(Must(runtime->Watch({"s", after, i % 3 != 0}, recorders.back().get())));
    REQUIRE(recorders.front()->WaitFor("generated", std::min(10, i / 2)));
  }
  REQUIRE(Must(runtime->WaitTurn("s", turn, kPatienceMs)).state == TurnState::kSucceeded);
  const auto all = AllEvents(*runtime, "s");
  REQUIRE(all.size() == 23);  // Created, started, ten pairs, finished.
  for (size_t i = 0; i < recorders.size(); ++i) {
    CAPTURE(i, first[i]);
    if (first[i] <= 23) REQUIRE(recorders[i]->WaitFor("turn_finished"));
    const auto events = recorders[i]->Durable();
    REQUIRE(std::ssize(events) == 24 - first[i]);
    RequireSequence(events, first[i]);
    for (const Event& event : events) {
      const Event& same = all[static_cast<size_t>(event.seq - 1)];
      REQUIRE(event.kind == same.kind);
      REQUIRE(event.payload == same.payload);
      REQUIRE(event.cursor == same.cursor);
      // The same event looks the same to those who watch it happen and to those who catch up.
      CHECK(event.turn == same.turn);
    }
  }
}

TEST_CASE("CursorsResumeAfterReopeningAndForeignOnesAreRefused") {
  const TempDirectory temp;
  std::vector<Event> all;
  {
    const auto runtime = OpenRuntime(Options(temp));
    REQUIRE_OK(runtime->CreateSession(Session("s")));
    REQUIRE_OK(runtime->CreateSession(Session("other")));
    REQUIRE(RunTurn(*runtime, Turn("s")).state == TurnState::kSucceeded);
    all = AllEvents(*runtime, "s");
  }
  const auto runtime = OpenRuntime(Options(temp));
  for (const Event& from : all) {
    Recorder recorder;
    const auto watching = Must(runtime->Watch({"s", from.cursor, true}, &recorder));
    if (&from == &all.back()) continue;
    REQUIRE(recorder.WaitFor("turn_finished"));
    REQUIRE(recorder.Durable().size() == all.size() - static_cast<size_t>(from.seq));
    RequireSequence(recorder.Durable(), from.seq + 1);
  }
  Recorder recorder;
  const auto refusal = [&](const std::string& cursor) {
    return StatusOf(runtime->Watch({"s", cursor, true}, &recorder));
  };
  const std::string foreign = Must(runtime->GetSession("other")).head_cursor;
  REQUIRE(refusal(foreign).code() == StatusCode::kInvalidArgument);
  for (const std::string bad :
       {"v1:s:-1", "v1:s:", "v1:s:1x", "v2:s:1", "nonsense", "v1:s", "v1:s:99999999999999999999"}) {
    CAPTURE(bad);
    REQUIRE(refusal(bad).code() == StatusCode::kInvalidArgument);
  }
  const Status beyond = refusal("v1:s:24");
  REQUIRE(beyond.code() == StatusCode::kOutOfRange);
  REQUIRE(beyond.reason() == "CURSOR_EXPIRED");
  REQUIRE(StatusOf(runtime->Watch({"nobody", "", true}, &recorder)).code() ==
          StatusCode::kNotFound);
  REQUIRE(recorder.events().empty());
}

TEST_CASE("ASlowSubscriberIsEndedAndContinuesFromItsLastCursor") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  REQUIRE_OK(runtime->CreateSession(Session("s")));
  for (const int limit : {0, 1, 5, 9}) {
    CAPTURE(limit);
    Slow slow(limit);
    const std::string from = Must(runtime->GetSession("s")).head_cursor;
    const auto watching = Must(runtime->Watch({"s", from, true}, &slow));
    REQUIRE(RunTurn(*runtime, Turn("s")).state == TurnState::kSucceeded);
    const Status end = slow.WaitForEnd();
    REQUIRE(end.code() == StatusCode::kResourceExhausted);
    REQUIRE(end.reason() == "SLOW_CONSUMER");
    const std::string last = slow.seen().empty() ? from : slow.seen().back().cursor;
    Recorder rest;
    const auto again = Must(runtime->Watch({"s", last, true}, &rest));
    REQUIRE(rest.WaitFor("turn_finished"));
    // turn_started, ten pairs, turn_finished.
    REQUIRE(slow.seen().size() + rest.Durable().size() == 22);
  }
}

TEST_CASE("DeltasAddUpToTheGeneratedText") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  REQUIRE_OK(runtime->CreateSession(Session("s")));
  Recorder recorder;
  const auto watching = Must(runtime->Watch({"s", "", true}, &recorder));
  REQUIRE(RunTurn(*runtime, Turn("s")).state == TurnState::kSucceeded);
  REQUIRE(recorder.WaitFor("turn_finished"));
  std::string shown;
  std::string all_shown;
  int generations = 0;
  for (const Event& event : recorder.events()) {
    if (event.kind == "delta") shown += Parse(event.payload)["content"].get<std::string>();
    if (event.kind != "generated") continue;
    ++generations;
    const std::string content = Parse(event.payload)["event"]["message"]["content"];
    // What is held back at the end (parts of characters and tags) comes with the durable event
    // only.
    REQUIRE(content.starts_with(shown));
    all_shown += shown;
    shown.clear();
  }
  REQUIRE(generations == 10);
  REQUIRE(!all_shown.empty());
}

}  // namespace baleen
