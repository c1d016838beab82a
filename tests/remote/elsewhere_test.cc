// Sessions that think elsewhere: tools, restarts, forks, budgets and cancels are as they are here.
#include "tests/remote/recorded_streams.h"
#include "tests/remote/scripted_server.h"
#include "tests/runtime/fixture.h"

namespace baleen {
namespace {

using Json = nlohmann::json;

ScriptedReply Reply(std::string body) {
  ScriptedReply reply;
  reply.body = std::move(body);
  return reply;
}

RuntimeOptions Options(const TempDirectory& temp, const ScriptedServer& server) {
  RuntimeOptions options = WorkerOptions(temp.File("data"), TinyModel());
  RemoteEngineOptions engine;
  engine.name = "there";
  engine.url = server.url();
  engine.model = "deepseek-v4-flash";
  engine.key = "sk-very-secret";
  engine.retry_ms = 2;
  options.engines = {engine};
  return options;
}

CreateSessionRequest Session(const std::string& id) {
  CreateSessionRequest request;
  request.session = id;
  request.settings.engine = "remote:there";
  request.settings.system_prompt = "Be brief.";
  request.settings.thinking = "thinking";
  request.settings.tokens_max = 4000;
  return request;
}

StartTurnRequest Turn(const std::string& session, const std::string& text) {
  StartTurnRequest request;
  request.session = session;
  request.input = {text};
  return request;
}

Json Body(const SeenRequest& request) { return Json::parse(request.body); }

/// Answers each call with the text "fog".
class FogHost final : public ToolHostSink {
 public:
  bool OnCall(const std::string& session, const ToolCall& call, int64_t /*timeout_ms*/) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    calls_.push_back({session, call});
    changed_.notify_all();
    return true;
  }
  void OnCancel(const std::string& /*session*/, const std::string& /*call_id*/) override {}
  std::pair<std::string, ToolCall> WaitForCall() {
    std::unique_lock<std::mutex> lock(mutex_);
    REQUIRE(changed_.wait_for(lock, std::chrono::seconds(60), [&] { return !calls_.empty(); }));
    auto call = calls_.back();
    calls_.pop_back();
    return call;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::pair<std::string, ToolCall>> calls_;
};

CreateSessionRequest WeatherSession(const std::string& id) {
  CreateSessionRequest request = Session(id);
  ToolSpec weather;
  weather.name = "weather";
  weather.description = "The weather";
  weather.parameters = R"({"type":"object","properties":{"location":{"type":"string"}}})";
  request.settings.host_tools = {weather};
  return request;
}

void AnswerCall(Runtime& runtime, ToolHostConnection& connection, FogHost& host) {
  const auto [session, call] = host.WaitForCall();
  REQUIRE(call.arguments == R"({"location": "San Francisco"})");
  ToolResult result;
  result.call_id = call.id;
  result.content = "fog";
  REQUIRE_OK(connection.SubmitResult(session, result));
  static_cast<void>(runtime);
}

}  // namespace

TEST_CASE("ATurnElsewhereCallsToolsAndSendsTheReasoningBack") {
  const TempDirectory temp;
  ScriptedServer server;
  server.Then(Reply(RecordedStream("deepseek_tool_call.json")));
  server.Then(Reply(TextStream({"It is ", "foggy."})));
  const auto runtime = OpenRuntime(Options(temp, server));
  REQUIRE_OK(runtime->CreateSession(WeatherSession("s")));
  Recorder recorder;
  const auto watching = Must(runtime->Watch({"s", "", true}, &recorder));
  FogHost host;
  const auto connection = Must(runtime->ConnectToolHost("s", {"weather"}, &host));
  const TurnView started = Must(runtime->StartTurn(Turn("s", "How is the weather?")));
  AnswerCall(*runtime, *connection, host);
  const TurnView turn = Must(runtime->WaitTurn("s", started.turn, kPatienceMs));
  INFO(turn.error.ToString());
  REQUIRE(turn.state == TurnState::kSucceeded);
  REQUIRE(turn.text == "It is foggy.");
  REQUIRE(turn.tokens_reused_ram == 256);
  REQUIRE(turn.tokens_prefilled == 118);

  const auto seen = server.seen();
  REQUIRE(seen.size() == 2);
  Json first = Body(seen[0]);
  REQUIRE(first["tools"][0]["function"]["name"] == "weather");
  REQUIRE(first["messages"].size() == 2);
  Json second = Body(seen[1]);
  REQUIRE(second["messages"].size() == 4);
  const Json& assistant = second["messages"][2];
  REQUIRE(assistant["reasoning_content"].get<std::string>().starts_with("The user asks"));
  REQUIRE(assistant["tool_calls"][0]["id"] == "t1-call-1-1");
  REQUIRE(second["messages"][3] ==
          Json({{"role", "tool"}, {"tool_call_id", "t1-call-1-1"}, {"content", "fog"}}));
  // Shown as it came; kept as it was shown; without the key.
  std::string shown;
  for (const Event& event : recorder.Of("delta")) {
    shown += Parse(event.payload)["content"].get<std::string>();
  }
  REQUIRE(shown == "It is foggy.");
  for (const Event& event : AllEvents(*runtime, "s")) {
    REQUIRE(event.payload.find("secret") == std::string::npos);
  }
  REQUIRE(AnyContains(LastReuse(*runtime, "s")["reasons"], "told no usage"));
  REQUIRE(Must(runtime->GetSession("s")).settings.engine == "remote:there");
}

TEST_CASE("AnAnswerThatARestartCutIsAskedForAnewAndItsCallsRunOnce") {
  const TempDirectory temp;
  ScriptedServer server;
  ScriptedReply cut = Reply(TextStream({"The beg", "inning"}));
  cut.stop_at = 230;
  server.Then(cut);
  server.Then(Reply(RecordedStream("deepseek_tool_call.json")));
  server.Then(Reply(TextStream({"Foggy."})));
  FogHost host;
  std::string turn;
  {
    const auto runtime = OpenRuntime(Options(temp, server));
    REQUIRE_OK(runtime->CreateSession(WeatherSession("s")));
    Recorder recorder;
    const auto watching = Must(runtime->Watch({"s", "", true}, &recorder));
    turn = Must(runtime->StartTurn(Turn("s", "Weather?"))).turn;
    REQUIRE(recorder.WaitFor("delta"));
  }
  {
    // Asks again at once; the runtime ends while the call is at its host.
    const auto runtime = OpenRuntime(Options(temp, server));
    const auto connection = Must(runtime->ConnectToolHost("s", {"weather"}, &host));
    host.WaitForCall();
  }
  const auto runtime = OpenRuntime(Options(temp, server));
  const TurnView view = Must(runtime->WaitTurn("s", turn, kPatienceMs));
  REQUIRE(view.state == TurnState::kSucceeded);
  REQUIRE(view.text == "Foggy.");
  REQUIRE(server.seen().size() == 3);
  int dropped = 0;
  for (const Event& event : AllEvents(*runtime, "s")) {
    dropped += event.kind == "generation_dropped" ? 1 : 0;
  }
  REQUIRE(dropped == 1);
  const Json last = Body(server.seen()[2]);
  // The call may have happened: the model is told so, and no call is without a result.
  REQUIRE(last["messages"].size() == 4);
  REQUIRE(last["messages"][3]["content"].get<std::string>().starts_with("UNKNOWN"));
  // What was dropped is said no more.
  REQUIRE(server.seen()[2].body.find("The beg") == std::string::npos);
}

TEST_CASE("ForksAndRewindsElsewhereSendTheirOwnHistory") {
  const TempDirectory temp;
  ScriptedServer server;
  const auto runtime = OpenRuntime(Options(temp, server));
  REQUIRE_OK(runtime->CreateSession(Session("s")));
  for (const std::string word : {"one", "two", "three"}) {
    server.Clear();
    server.Then(Reply(TextStream({"answer " + word})));
    REQUIRE(RunTurn(*runtime, Turn("s", word)).text == "answer " + word);
  }
  REQUIRE(Body(server.seen()[0])["messages"].size() == 6);
  ForkRequest fork;
  fork.session = "s";
  fork.fork = "f";
  fork.at.turn = "t1";
  REQUIRE_OK(runtime->ForkSession(fork));
  server.Clear();
  server.Then(Reply(TextStream({"else"})));
  REQUIRE(RunTurn(*runtime, Turn("f", "other")).text == "else");
  Json messages = Body(server.seen()[0])["messages"];
  REQUIRE(messages.size() == 4);
  REQUIRE(messages[2]["content"] == "answer one");
  REQUIRE(messages[3]["content"] == "other");
  // A cut inside an answer keeps what was said so far.
  const TokenTrace trace = ReadAll(*runtime, "s");
  RewindRequest rewind;
  rewind.session = "s";
  rewind.to.tokens = static_cast<int64_t>(trace.ids.size()) - 4;  // "...ree" and the end
  REQUIRE_OK(runtime->RewindSession(rewind));
  server.Clear();
  server.Then(Reply(TextStream({"go"})));
  REQUIRE(RunTurn(*runtime, Turn("s", "on")).text == "go");
  messages = Body(server.seen()[0])["messages"];
  REQUIRE(messages.size() == 8);
  REQUIRE(messages[6]["content"] == "answer th");
}

TEST_CASE("WhatIsAboutKvSaysThatItDoesntApply") {
  const TempDirectory temp;
  ScriptedServer server;
  const auto runtime = OpenRuntime(Options(temp, server));
  REQUIRE_OK(runtime->CreateSession(Session("s")));
  const auto refused = [](const Status& status) {
    INFO(status.ToString());
    REQUIRE(status.code() == StatusCode::kFailedPrecondition);
    REQUIRE(status.reason() == "ENGINE_REMOTE");
  };
  refused(runtime->PrefetchSession("s").status());
  refused(runtime->ReleaseSession("s").status());
  StartTurnRequest traced = Turn("s", "x");
  traced.trace_logits = true;
  refused(runtime->StartTurn(traced).status());
  CreateSessionRequest unknown = Session("u");
  unknown.settings.engine = "remote:nowhere";
  REQUIRE_ERROR(runtime->CreateSession(unknown), StatusCode::kNotFound, "'remote:there'");
}

TEST_CASE("AnEngineThatFailsEndsTheTurnAndTheNextOneGoesOn") {
  const TempDirectory temp;
  ScriptedServer server;
  RuntimeOptions options = Options(temp, server);
  options.engines[0].retries_max = 1;
  const auto runtime = OpenRuntime(options);
  REQUIRE_OK(runtime->CreateSession(Session("s")));
  ScriptedReply busy = Reply("{\"error\":\"busy\"}");
  busy.status = 503;
  server.Then(busy);
  TurnView turn = RunTurn(*runtime, Turn("s", "one"));
  REQUIRE(turn.state == TurnState::kFailed);
  REQUIRE(turn.error.reason() == "ENGINE_FAULT");
  REQUIRE(turn.error.message().find("remote:there") != std::string::npos);
  // Broken off in the middle: what was shown stays in the history.
  server.Clear();
  ScriptedReply cut = Reply(TextStream({"a beginning", " and more"}));
  cut.cut_at = 240;
  server.Then(cut);
  turn = RunTurn(*runtime, Turn("s", "two"));
  REQUIRE(turn.error.reason() == "ENGINE_BROKEN_OFF");
  server.Clear();
  server.Then(Reply(TextStream({"done"})));
  REQUIRE(RunTurn(*runtime, Turn("s", "three")).text == "done");
  const Json messages = Body(server.seen()[0])["messages"];
  REQUIRE(messages.size() == 4);
  REQUIRE(messages[1]["content"] == "one\n\ntwo");
  REQUIRE(messages[2]["role"] == "assistant");
  REQUIRE(messages[3]["content"] == "three");
}

TEST_CASE("ACancelElsewhereEndsTheTurnAtOnce") {
  const TempDirectory temp;
  ScriptedServer server;
  ScriptedReply reply = Reply(TextStream({"shown", "never"}));
  reply.stop_at = 230;
  server.Then(reply);
  const auto runtime = OpenRuntime(Options(temp, server));
  REQUIRE_OK(runtime->CreateSession(Session("s")));
  Recorder recorder;
  const auto watching = Must(runtime->Watch({"s", "", true}, &recorder));
  const std::string turn = Must(runtime->StartTurn(Turn("s", "x"))).turn;
  REQUIRE(recorder.WaitFor("delta"));
  REQUIRE_OK(runtime->CancelTurn("s", turn));
  const TurnView view = Must(runtime->WaitTurn("s", turn, kPatienceMs));
  REQUIRE(view.state == TurnState::kCancelled);
  REQUIRE(view.text == "shown");
}

TEST_CASE("CallsThatTheEngineLeftInItsTextAreReadThere") {
  const TempDirectory temp;
  ScriptedServer server;
  server.Then(Reply(
      TextStream({"Let me look.\n\n<\xEF\xBD\x9C"
                  "DSML\xEF\xBD\x9C"
                  "function_calls>\n<\xEF\xBD\x9C"
                  "DSML\xEF\xBD\x9Cinvoke name=\"weather\">\n",
                  "<\xEF\xBD\x9C"
                  "DSML\xEF\xBD\x9Cparameter name=\"location\" string=\"true\">Oslo</\xEF\xBD\x9C"
                  "DSML\xEF\xBD\x9Cparameter>\n</\xEF\xBD\x9C"
                  "DSML\xEF\xBD\x9Cinvoke>\n</\xEF\xBD\x9C"
                  "DSML\xEF\xBD\x9C"
                  "function_calls>"})));
  server.Then(Reply(TextStream({"Rain."})));
  const auto runtime = OpenRuntime(Options(temp, server));
  REQUIRE_OK(runtime->CreateSession(WeatherSession("s")));
  FogHost host;
  const auto connection = Must(runtime->ConnectToolHost("s", {"weather"}, &host));
  const std::string turn = Must(runtime->StartTurn(Turn("s", "Oslo?"))).turn;
  const auto [session, call] = host.WaitForCall();
  REQUIRE(Json::parse(call.arguments) == Json({{"location", "Oslo"}}));
  ToolResult result;
  result.call_id = call.id;
  result.content = "rain";
  REQUIRE_OK(connection->SubmitResult(session, result));
  REQUIRE(Must(runtime->WaitTurn("s", turn, kPatienceMs)).text == "Rain.");
}

TEST_CASE("AContextElsewhereIsCompactedToo") {
  const TempDirectory temp;
  ScriptedServer server;
  RuntimeOptions options = Options(temp, server);
  options.engines[0].context_tokens = 4096;
  const auto runtime = OpenRuntime(options);
  CreateSessionRequest request = Session("s");
  request.settings.tokens_max = 50;
  REQUIRE_OK(runtime->CreateSession(request));
  Json instruction;
  Json after;
  for (int i = 0; i < 8 && after.is_null(); ++i) {
    server.Clear();
    server.Then(Reply(TextStream({"short"})));
    if (i > 0) server.Then(Reply(TextStream({"later"})));
    REQUIRE(RunTurn(*runtime, Turn("s", std::string(900, static_cast<char>('a' + i)))).state ==
            TurnState::kSucceeded);
    if (server.seen().size() == 1) continue;
    instruction = Body(server.seen()[0]);
    after = Body(server.seen()[1]);
  }
  REQUIRE(!after.is_null());
  REQUIRE(instruction["messages"].back()["content"].get<std::string>().find("nearly full") !=
          std::string::npos);
  REQUIRE(instruction["messages"].size() > 4);
  REQUIRE(instruction["temperature"] == 0.0);
  REQUIRE(after["messages"].size() == 2);  // system, and one message of the user
  const std::string head = after["messages"][1]["content"].get<std::string>();
  REQUIRE(head.find("Goal:\n" + std::string(900, 'a')) != std::string::npos);
  REQUIRE(head.find("Notes on what has happened:\nshort") != std::string::npos);
}

TEST_CASE("ABudgetElsewherePausesAndTheAnswerIsAskedForAnew") {
  const TempDirectory temp;
  ScriptedServer server;
  const auto half = Reply(TextStream({"half an answ"}, "length"));
  server.Then(half);
  const auto runtime = OpenRuntime(Options(temp, server));
  // What the prompt and the half answer are: the limit below is reached by them, to the token.
  REQUIRE_OK(runtime->CreateSession(Session("measured")));
  const int64_t spent = RunTurn(*runtime, Turn("measured", "x")).spend.tokens;
  server.Clear();
  server.Then(half);
  server.Then(Reply(TextStream({"a whole answer"})));
  REQUIRE_OK(runtime->CreateSession(Session("s")));
  StartTurnRequest request = Turn("s", "x");
  request.budget.emplace();
  request.budget->tokens = spent;
  const std::string turn = Must(runtime->StartTurn(request)).turn;
  int granted = 0;
  while (Must(runtime->GetTurn("s", turn)).state == TurnState::kRunning) {
    for (const ApprovalView& waiting : Must(runtime->ListApprovals({"s"}))) {
      ResolveApprovalRequest grant;
      grant.session = "s";
      grant.approval = waiting.approval;
      grant.grant = true;
      granted += runtime->ResolveApproval(grant).ok() ? 1 : 0;
    }
    std::this_thread::yield();
  }
  const TurnView view = Must(runtime->GetTurn("s", turn));
  INFO(view.error.ToString());
  REQUIRE(view.state == TurnState::kSucceeded);
  REQUIRE(view.text == "a whole answer");
  REQUIRE(granted == 1);
  REQUIRE(server.seen().size() == 2);
}

TEST_CASE("AnAnswerThatEndsElsewhereBeforeOurLimitIsNotAskedForAgain") {
  const TempDirectory temp;
  ScriptedServer server;
  // Its count of tokens is not ours: it may say "length" with nothing that we could count.
  server.Then(Reply(TextStream({}, "length")));
  const auto runtime = OpenRuntime(Options(temp, server));
  REQUIRE_OK(runtime->CreateSession(Session("s")));
  StartTurnRequest request = Turn("s", "x");
  request.budget.emplace();
  request.budget->tokens = 200;  // under the turn's own limit: the budget caps the generation
  REQUIRE(RunTurn(*runtime, request).state != TurnState::kRunning);
  REQUIRE(server.seen().size() == 1);
}

}  // namespace baleen
