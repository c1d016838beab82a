// Turns as a host sees them: refusals, cancellation, duplicates, scripts that misbehave, two
// sessions at once, a full context, an idle engine.
#include <ctime>
#include <functional>
#include <set>
#include <thread>

#include "tests/runtime/fixture.h"
#include "tests/testing/child.h"

namespace baleen {
namespace {

RuntimeOptions Options(const TempDirectory& temp) {
  return WorkerOptions(temp.File("data"), TinyModel());
}

CreateSessionRequest Session(const std::string& id, const std::string& script = "") {
  CreateSessionRequest request;
  request.session = id;
  request.settings.script = script;
  request.settings.script_name = script.empty() ? "" : "bad.lua";
  request.settings.tokens_max = 16;
  request.settings.sampling.seed = 3;
  return request;
}

StartTurnRequest Turn(const std::string& session, const std::string& text = "hello") {
  StartTurnRequest request;
  request.session = session;
  request.input = {text};
  request.trace_logits = true;
  return request;
}

/// A turn that decodes until it is cancelled or the patience ends.
StartTurnRequest EndlessTurn(const std::string& session) {
  StartTurnRequest request = Turn(session);
  request.tokens_max = 900'000;
  return request;
}

/// Goes on whatever the model writes, so that no early end of a generation ends the turn.
constexpr char kEndless[] = R"(
return function(message)
  if message == "short" then return "short" end
  while true do baleen.generate { user = message } end
end
)";

}  // namespace

TEST_CASE("CancelDuringDecodeEndsTheTurnAsCancelled") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  REQUIRE_OK(runtime->CreateSession(Session("s", kEndless)));
  Recorder recorder;
  const auto watching = Must(runtime->Watch({"s", "", true}, &recorder));
  const std::string turn = Must(runtime->StartTurn(EndlessTurn("s"))).turn;
  REQUIRE(recorder.WaitFor("delta", 3));
  REQUIRE_OK(runtime->CancelTurn("s", turn));
  REQUIRE(Must(runtime->WaitTurn("s", turn, kPatienceMs)).state == TurnState::kCancelled);
  REQUIRE(recorder.WaitFor("turn_finished"));
  const Event last = recorder.Durable().back();
  REQUIRE(Parse(last.payload)["state"] == "CANCELLED");
  // Again: the answer is the same, and no second event follows.
  REQUIRE(Must(runtime->CancelTurn("s", turn)).state == TurnState::kCancelled);
  REQUIRE(RunTurn(*runtime, Turn("s", "short")).state == TurnState::kSucceeded);
  int finished = 0;
  for (const Event& event : AllEvents(*runtime, "s")) finished += event.kind == "turn_finished";
  REQUIRE(finished == 2);
}

TEST_CASE("CancelDuringPrefillEndsTheTurnAsCancelled") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  REQUIRE_OK(runtime->CreateSession(Session("s")));
  Recorder recorder;
  const auto watching = Must(runtime->Watch({"s", "", true}, &recorder));
  const std::string turn = Must(runtime->StartTurn(Turn("s", std::string(200'000, 'x')))).turn;
  REQUIRE(recorder.WaitFor("progress"));
  REQUIRE_OK(runtime->CancelTurn("s", turn));
  REQUIRE(Must(runtime->WaitTurn("s", turn, kPatienceMs)).state == TurnState::kCancelled);
  REQUIRE(recorder.WaitFor("turn_finished"));
  REQUIRE(recorder.Of("generated").empty());
  REQUIRE(Parse(recorder.Durable().back().payload)["state"] == "CANCELLED");
}

TEST_CASE("CancelAtAnyInstantIsAlwaysCancelled") {
  // Turns of a few milliseconds, cancelled at once or after some deltas: also between two steps.
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  REQUIRE_OK(runtime->CreateSession(Session("s", kEndless)));
  for (int round = 0; round < 30; ++round) {
    Recorder recorder;
    const auto watching =
        Must(runtime->Watch({"s", Must(runtime->GetSession("s")).head_cursor, true}, &recorder));
    StartTurnRequest request = Turn("s");
    request.tokens_max = 1 + round % 3;
    const std::string turn = Must(runtime->StartTurn(request)).turn;
    if (round % 5 > 0) REQUIRE(recorder.WaitFor("generated", round % 5));
    const TurnView view = Must(runtime->CancelTurn("s", turn));
    REQUIRE(view.state != TurnState::kSucceeded);
    REQUIRE(Must(runtime->WaitTurn("s", turn, kPatienceMs)).state == TurnState::kCancelled);
  }
}

TEST_CASE("ACancelledTurnDispatchesNoFurtherTool") {
  // The cancel races with the end of a generation that a tool call follows.
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  CreateSessionRequest session = Session("s", R"(
return function(message)
  baleen.generate { user = message, max_tokens = 1 }
  local content, outcome = baleen.call("read", { path = "f1.txt" })
  return outcome
end
)");
  session.settings.workspace = SmallWorkspace();
  REQUIRE_OK(runtime->CreateSession(session));
  REQUIRE(RunTurn(*runtime, Turn("s")).text == "OK");
  int cancelled = 0;
  for (int round = 0; round < 60; ++round) {
    const int64_t before = std::ssize(AllEvents(*runtime, "s"));
    const std::string turn = Must(runtime->StartTurn(Turn("s"))).turn;
    // Spreads the cancels over the turn, which takes a few thousand of these.
    for (int i = 0; i < round * 40; ++i) std::this_thread::yield();
    const TurnView answered = Must(runtime->CancelTurn("s", turn));
    const TurnView view = Must(runtime->WaitTurn("s", turn, kPatienceMs));
    if (answered.state == TurnState::kSucceeded) continue;  // Had ended before.
    CAPTURE(round);
    REQUIRE(view.state == TurnState::kCancelled);
    ++cancelled;
    const auto events = AllEvents(*runtime, "s");
    REQUIRE(events.back().kind == "turn_finished");
    REQUIRE(std::ssize(events) > before);
  }
  REQUIRE(cancelled > 0);
}

TEST_CASE("ASecondTurnIsRefusedWhileOneRuns") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  REQUIRE_OK(runtime->CreateSession(Session("s", kEndless)));
  const std::string turn = Must(runtime->StartTurn(Turn("s"))).turn;
  const Status busy = StatusOf(runtime->StartTurn(Turn("s")));
  REQUIRE(busy.code() == StatusCode::kFailedPrecondition);
  REQUIRE(busy.reason() == "SESSION_BUSY");
  REQUIRE_OK(runtime->CancelTurn("s", turn));
  REQUIRE_OK(runtime->WaitTurn("s", turn, kPatienceMs));
  REQUIRE(RunTurn(*runtime, Turn("s", "short")).text == "short");
}

TEST_CASE("ATurnExpectingAnOlderHeadIsRefused") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  const std::string head = Must(runtime->CreateSession(Session("s"))).head_cursor;
  StartTurnRequest request = Turn("s");
  request.expected_head = head;
  REQUIRE(RunTurn(*runtime, request).state == TurnState::kSucceeded);
  const Status moved = StatusOf(runtime->StartTurn(request));
  REQUIRE(moved.code() == StatusCode::kAborted);
  REQUIRE(moved.reason() == "HEAD_MOVED");
  request.expected_head = Must(runtime->GetSession("s")).head_cursor;
  REQUIRE(RunTurn(*runtime, request).state == TurnState::kSucceeded);
}

TEST_CASE("RepeatedRequestsGetTheFirstAnswerAlsoAfterReopening") {
  const TempDirectory temp;
  CreateSessionRequest create = Session("");
  create.request_id = "create-1";
  StartTurnRequest start = Turn("");
  start.request_id = "start-1";
  for (int opening = 0; opening < 3; ++opening) {
    const auto runtime = OpenRuntime(Options(temp));
    const SessionView view = Must(runtime->CreateSession(create));
    if (opening == 0) start.session = view.session;
    REQUIRE(view.session == start.session);
    REQUIRE(Must(runtime->CreateSession(create)).session == start.session);
    REQUIRE(Must(runtime->StartTurn(start)).turn == "t1");
    REQUIRE(Must(runtime->WaitTurn(start.session, "t1", kPatienceMs)).state ==
            TurnState::kSucceeded);
    REQUIRE(Must(runtime->StartTurn(start)).turn == "t1");
    REQUIRE(Must(runtime->GetSession(start.session)).turns == 1);
    std::string next;
    REQUIRE(Must(runtime->ListSessions(0, "", &next)).size() == 1);
  }
}

TEST_CASE("UnknownNamesAndBadFieldsAreRefused") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  REQUIRE(StatusOf(runtime->GetSession("nobody")).reason() == "SESSION_UNKNOWN");
  REQUIRE(StatusOf(runtime->StartTurn(Turn("nobody"))).code() == StatusCode::kNotFound);
  REQUIRE(StatusOf(runtime->GetSession("../x")).code() == StatusCode::kInvalidArgument);
  REQUIRE_OK(runtime->CreateSession(Session("s")));
  REQUIRE(StatusOf(runtime->CreateSession(Session("s"))).code() == StatusCode::kAlreadyExists);
  REQUIRE(StatusOf(runtime->GetTurn("s", "t9")).code() == StatusCode::kNotFound);
  REQUIRE(StatusOf(runtime->StartTurn(Turn("s", "\xff"))).code() == StatusCode::kInvalidArgument);
  StartTurnRequest negative = Turn("s");
  negative.tokens_max = -1;
  REQUIRE(StatusOf(runtime->StartTurn(negative)).code() == StatusCode::kInvalidArgument);
  REQUIRE_ERROR(runtime->CreateSession(Session("broken", "return function(")),
                StatusCode::kInvalidArgument, "bad.lua:1");
  REQUIRE(RunTurn(*runtime, Turn("s")).state == TurnState::kSucceeded);
}

TEST_CASE("AMisbehavingScriptFailsItsTurnWithFileAndLineAndTheSessionGoesOn") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  REQUIRE_OK(runtime->CreateSession(Session("s", R"(
return function(message)
  if message == "error" then error("on purpose") end
  if message == "loop" then while true do end end
  if message == "nonsense" then baleen.generate { user = 5 } end
  if message == "nothing" then baleen.generate {} end
  if message == "number" then return {} end
  if message == "memory" then local t = {} for i = 1, 1e9 do t[i] = ("x"):rep(1e6) .. i end end
  return baleen.generate { user = message, max_tokens = 4 }.content
end
)")));
  for (const auto& [message, place] :
       std::vector<std::pair<std::string, std::string>>{{"error", "bad.lua:3"},
                                                        {"loop", "bad.lua:4"},
                                                        {"nonsense", "bad.lua:5"},
                                                        {"nothing", ""},
                                                        {"number", "bad.lua"},
                                                        {"memory", "bad.lua"}}) {
    const TurnView view = RunTurn(*runtime, Turn("s", message));
    CAPTURE(message, view.error.ToString());
    REQUIRE(view.state == TurnState::kFailed);
    CHECK(view.error.message().find(place) != std::string::npos);
    REQUIRE(RunTurn(*runtime, Turn("s", "good")).state == TurnState::kSucceeded);
  }
}

TEST_CASE("TwoSessionsAtOnceComputeWhatEachComputesAlone") {
  const TempDirectory temp;
  const std::string text_a(700, 'a');
  const std::string text_b(300, 'b');
  TokenTrace alone[2];
  for (int i = 0; i < 2; ++i) {
    RuntimeOptions options = Options(temp);
    options.data_dir = temp.File("alone" + std::to_string(i));
    const auto runtime = OpenRuntime(options);
    REQUIRE_OK(runtime->CreateSession(Session("s")));
    REQUIRE(RunTurn(*runtime, Turn("s", i == 0 ? text_a : text_b)).state == TurnState::kSucceeded);
    alone[i] = ReadAll(*runtime, "s");
  }
  // Also with room for only one live sequence, so that they evict each other at each tick.
  for (const int64_t resident : {8, 1}) {
    CAPTURE(resident);
    RuntimeOptions options = Options(temp);
    options.data_dir = temp.File("both" + std::to_string(resident));
    options.resident_sequences_max = resident;
    const auto runtime = OpenRuntime(options);
    REQUIRE_OK(runtime->CreateSession(Session("a")));
    REQUIRE_OK(runtime->CreateSession(Session("b")));
    REQUIRE_OK(runtime->StartTurn(Turn("a", text_a)));
    REQUIRE_OK(runtime->StartTurn(Turn("b", text_b)));
    for (const int i : {0, 1}) {
      const std::string name = i == 0 ? "a" : "b";
      REQUIRE(Must(runtime->WaitTurn(name, "t1", kPatienceMs)).state == TurnState::kSucceeded);
      const TokenTrace mine = ReadAll(*runtime, name);
      REQUIRE(mine.ids == alone[i].ids);
      REQUIRE(mine.logits_hashes == alone[i].logits_hashes);
    }
  }
}

TEST_CASE("AFullContextEndsGenerationsAndRefusesPrompts") {
  const TempDirectory temp;
  RuntimeOptions options = Options(temp);
  options.model_path = TinyModel(/*seed=*/1, /*positions_max=*/600);
  const auto runtime = OpenRuntime(options);
  REQUIRE_OK(runtime->CreateSession(Session("s", R"(
return function(message)
  local reply
  repeat reply = baleen.generate { user = message } until reply.finish_reason == "length"
  return reply.finish_reason
end
)")));
  TurnView view = RunTurn(*runtime, Turn("s", std::string(700, 'x')));
  REQUIRE(view.state == TurnState::kFailed);
  REQUIRE(view.error.code() == StatusCode::kResourceExhausted);
  REQUIRE(view.error.reason() == "CONTEXT_FULL");
  REQUIRE(Must(runtime->GetSession("s")).tokens == 0);
  StartTurnRequest request = Turn("s", std::string(500, 'x'));
  request.tokens_max = 1000;
  view = RunTurn(*runtime, request);
  INFO(view.error.ToString());
  REQUIRE((view.text == "length" || view.error.reason() == "CONTEXT_FULL"));
  REQUIRE(Must(runtime->GetSession("s")).tokens <= 600);
  REQUIRE(Must(runtime->GetSession("s")).tokens > 500);
  REQUIRE(RunTurn(*runtime, Turn("s", std::string(100, 'y'))).error.reason() == "CONTEXT_FULL");
}

TEST_CASE("ASecondProcessIsRefusedTheDataDirectory") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  Child worker({SESSION_WORKER, temp.File("data"), TinyModel(), SmallWorkspace(), "1"});
  const std::string line = worker.ReadLine();
  REQUIRE(worker.Wait() == 1);
  CAPTURE(line);
  REQUIRE(line.starts_with("error FAILED_PRECONDITION"));
  REQUIRE(line.find(std::to_string(getpid())) != std::string::npos);
}

TEST_CASE("AnIdleRuntimeDoesNotWakeItsEngine") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  REQUIRE_OK(runtime->CreateSession(Session("s")));
  REQUIRE(RunTurn(*runtime, Turn("s")).state == TurnState::kSucceeded);
  const int64_t before = Must(runtime->Stats()).engine_wakeups;
  REQUIRE(before >= 1);
  const std::clock_t cpu_before = std::clock();
  // Idleness has to last to be seen: half a second in which nothing is asked.
  REQUIRE(StatusOf(runtime->WaitTurn("s", "t1", 1)).ok());
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  const double cpu_ms = 1e3 * static_cast<double>(std::clock() - cpu_before) / CLOCKS_PER_SEC;
  REQUIRE(cpu_ms < 50);  // All threads together; a spinning one would have used 500.
  for (int i = 0; i < 100; ++i) REQUIRE_OK(runtime->GetSession("s"));
  REQUIRE(Must(runtime->Stats()).engine_wakeups == before);
  REQUIRE(RunTurn(*runtime, Turn("s")).state == TurnState::kSucceeded);
  REQUIRE(Must(runtime->Stats()).engine_wakeups > before);
}

TEST_CASE("ARequestThatIsRepeatedWhileItIsCarriedOutGetsTheSameSession") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(WorkerOptions(temp.File("data"), TinyModel()));
  constexpr int kCallers = 8;
  const auto all = [&](const std::function<Result<SessionView>()>& call) {
    std::vector<Result<SessionView>> views(kCallers, InternalError("not called"));
    std::vector<std::thread> callers;
    for (auto& view : views) callers.emplace_back([&] { view = call(); });
    for (std::thread& caller : callers) caller.join();
    std::set<std::string> sessions;
    for (const auto& view : views) sessions.insert(Must(view).session);
    REQUIRE(sessions.size() == 1);
    return *sessions.begin();
  };
  for (int round = 0; round < 20; ++round) {
    CAPTURE(round);
    CreateSessionRequest create;
    create.request_id = "create-" + std::to_string(round);
    const std::string origin = all([&] { return runtime->CreateSession(create); });
    ForkRequest fork;
    fork.session = origin;
    fork.request_id = "fork-" + std::to_string(round);
    REQUIRE(all([&] { return runtime->ForkSession(fork); }) != origin);
  }
  REQUIRE(Must(runtime->ListSessions(0, "", nullptr)).size() == 40);
}

}  // namespace baleen
