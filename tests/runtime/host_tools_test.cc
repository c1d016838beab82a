// Host tools: calls go to the host that serves them, whatever it does; each call gets exactly one
// result.
#include "tests/runtime/fixture.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

RuntimeOptions Options(const TempDirectory& temp) {
  return WorkerOptions(temp.File("data"), TinyModel());
}

/// A session whose script calls what the user names and returns "OUTCOME:content".
CreateSessionRequest Session(EffectClass effect, int64_t output_bytes_max = 1000) {
  CreateSessionRequest request;
  request.session = "s";
  request.settings.script = R"(
return function(message)
  local name, argument = message:match("^(%S+) (%S+)$")
  local x = tonumber(argument) or argument
  local content, outcome = baleen.call(name, { x = x })
  return outcome .. ":" .. content
end
)";
  ToolSpec spec;
  spec.name = "probe";
  spec.description = "Probes.";
  spec.parameters = R"({"type":"object","properties":{"x":{"type":"integer"}},"required":["x"]})";
  spec.effect = effect;
  spec.timeout_ms = kPatienceMs;
  spec.output_bytes_max = output_bytes_max;
  request.settings.host_tools.push_back(spec);
  spec.name = "second";
  request.settings.host_tools.push_back(spec);
  return request;
}

StartTurnRequest Turn(const std::string& text) {
  StartTurnRequest request;
  request.session = "s";
  request.input = {text};
  return request;
}

class Host final : public ToolHostSink {
 public:
  bool OnCall(const std::string&, const ToolCall& call, int64_t) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    calls_.push_back(call);
    changed_.notify_all();
    return true;
  }
  void OnCancel(const std::string&, const std::string& call_id) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    cancelled_.push_back(call_id);
    changed_.notify_all();
  }
  ToolCall WaitForCall() {
    std::unique_lock<std::mutex> lock(mutex_);
    REQUIRE(changed_.wait_for(lock, std::chrono::milliseconds(kPatienceMs),
                              [&] { return !calls_.empty(); }));
    return calls_.back();
  }
  std::string WaitForCancel() {
    std::unique_lock<std::mutex> lock(mutex_);
    REQUIRE(changed_.wait_for(lock, std::chrono::milliseconds(kPatienceMs),
                              [&] { return !cancelled_.empty(); }));
    return cancelled_.back();
  }
  size_t calls() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return calls_.size();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<ToolCall> calls_;
  std::vector<std::string> cancelled_;
};

ToolResult Answer(const ToolCall& call, const std::string& content) {
  ToolResult result;
  result.call_id = call.id;
  result.content = content;
  return result;
}

std::string TextOf(Runtime& runtime, const std::string& turn) {
  const TurnView view = Must(runtime.WaitTurn("s", turn, kPatienceMs));
  INFO(view.error.ToString());
  REQUIRE(view.state == TurnState::kSucceeded);
  return view.text;
}

}  // namespace

TEST_CASE("HostAnswersAndLiesAboutCallIdsAreRefused") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  REQUIRE_OK(runtime->CreateSession(Session(EffectClass::kEffect)));
  Host host;
  Host other;
  const auto connection = Must(runtime->ConnectToolHost("s", {"probe"}, &host));
  const auto stranger = Must(runtime->ConnectToolHost("s", {"second"}, &other));
  const std::string turn = Must(runtime->StartTurn(Turn("probe 1"))).turn;
  const ToolCall call = host.WaitForCall();
  REQUIRE(Parse(call.arguments)["x"] == 1);
  for (const std::string& lie :
       {std::string(), std::string("t1.c2"), call.id + "x", std::string("c1")}) {
    ToolCall wrong = call;
    wrong.id = lie;
    REQUIRE(connection->SubmitResult("s", Answer(wrong, "lie")).code() == StatusCode::kNotFound);
  }
  // Right id, wrong host; right id, wrong session.
  REQUIRE(stranger->SubmitResult("s", Answer(call, "lie")).code() == StatusCode::kNotFound);
  REQUIRE(connection->SubmitResult("t", Answer(call, "lie")).code() == StatusCode::kNotFound);
  REQUIRE_OK(connection->SubmitResult("s", Answer(call, "truth")));
  REQUIRE(connection->SubmitResult("s", Answer(call, "twice")).code() == StatusCode::kNotFound);
  REQUIRE(TextOf(*runtime, turn) == "OK:truth");
  REQUIRE(host.calls() == 1);
  REQUIRE(other.calls() == 0);
}

TEST_CASE("AHostThatConnectsLateGetsTheWaitingCall") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  REQUIRE_OK(runtime->CreateSession(Session(EffectClass::kEffect)));
  Recorder recorder;
  const auto watching = Must(runtime->Watch({"s", "", true}, &recorder));
  const std::string turn = Must(runtime->StartTurn(Turn("probe 2"))).turn;
  REQUIRE(recorder.WaitFor("waiting"));
  REQUIRE(Parse(recorder.Of("waiting").front().payload)["waiting_on"] == "TOOL_HOST");
  Host host;
  const auto connection = Must(runtime->ConnectToolHost("s", {"probe"}, &host));
  REQUIRE_OK(connection->SubmitResult("s", Answer(host.WaitForCall(), "late")));
  REQUIRE(TextOf(*runtime, turn) == "OK:late");
}

TEST_CASE("AHostThatVanishesLeavesAnEffectUnknown") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  REQUIRE_OK(runtime->CreateSession(Session(EffectClass::kEffect)));
  Host host;
  auto connection = Must(runtime->ConnectToolHost("s", {"probe"}, &host));
  const std::string turn = Must(runtime->StartTurn(Turn("probe 3"))).turn;
  host.WaitForCall();
  connection.reset();
  REQUIRE(TextOf(*runtime, turn).starts_with("UNKNOWN:"));
}

TEST_CASE("APureCallGoesToTheNextHost") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  REQUIRE_OK(runtime->CreateSession(Session(EffectClass::kPure)));
  Host first;
  auto connection = Must(runtime->ConnectToolHost("s", {"probe"}, &first));
  const std::string turn = Must(runtime->StartTurn(Turn("probe 4"))).turn;
  const ToolCall before = first.WaitForCall();
  connection.reset();
  Host second;
  connection = Must(runtime->ConnectToolHost("s", {"probe"}, &second));
  const ToolCall again = second.WaitForCall();
  REQUIRE(again.id == before.id);
  REQUIRE(again.arguments == before.arguments);
  // A third host takes the tool over while the second one is still there.
  Host third;
  const auto takeover = Must(runtime->ConnectToolHost("s", {"probe"}, &third));
  third.WaitForCall();
  REQUIRE(connection->SubmitResult("s", Answer(again, "old")).code() == StatusCode::kNotFound);
  REQUIRE_OK(takeover->SubmitResult("s", Answer(again, "new")));
  REQUIRE(TextOf(*runtime, turn) == "OK:new");
}

TEST_CASE("AfterARestartEffectsAreUnknownAndPureCallsAreGivenAgain") {
  for (const EffectClass effect :
       {EffectClass::kEffect, EffectClass::kPure, EffectClass::kIdempotent}) {
    const TempDirectory temp;
    RuntimeOptions options = Options(temp);
    std::string turn;
    ToolCall before;
    {
      const auto runtime = OpenRuntime(options);
      REQUIRE_OK(runtime->CreateSession(Session(effect)));
      Host host;
      const auto connection = Must(runtime->ConnectToolHost("s", {"probe"}, &host));
      turn = Must(runtime->StartTurn(Turn("probe 5"))).turn;
      before = host.WaitForCall();
      // What a crash would leave, taken while the host is at work.
      std::filesystem::copy(options.data_dir, temp.File("crashed"),
                            std::filesystem::copy_options::recursive);
      std::filesystem::permissions(temp.File("crashed"), std::filesystem::perms::owner_all);
    }
    options.data_dir = temp.File("crashed");
    const auto runtime = OpenRuntime(options);
    if (effect == EffectClass::kEffect) {
      REQUIRE(TextOf(*runtime, turn).starts_with("UNKNOWN:"));
      continue;
    }
    Host host;
    const auto connection = Must(runtime->ConnectToolHost("s", {"probe"}, &host));
    const ToolCall again = host.WaitForCall();
    REQUIRE(again.id == before.id);
    REQUIRE(again.arguments == before.arguments);
    REQUIRE_OK(connection->SubmitResult("s", Answer(again, "again")));
    REQUIRE(TextOf(*runtime, turn) == "OK:again");
  }
}

TEST_CASE("HugeAndInvalidResultsAreBounded") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  REQUIRE_OK(runtime->CreateSession(Session(EffectClass::kEffect)));
  Host host;
  const auto connection = Must(runtime->ConnectToolHost("s", {"probe"}, &host));
  int number = 10;
  for (const std::string& content : {std::string(8 << 20, 'x'), std::string(3 << 20, '\xff'),
                                     std::string("a\xc3\0b", 4), std::string("\xed\xa0\x80")}) {
    const std::string turn = Must(runtime->StartTurn(Turn("probe " + std::to_string(number)))).turn;
    ToolCall call = host.WaitForCall();
    while (Parse(call.arguments)["x"] != number) call = host.WaitForCall();
    REQUIRE_OK(connection->SubmitResult("s", Answer(call, content)));
    const std::string text = TextOf(*runtime, turn);
    REQUIRE(text.starts_with("OK:"));
    // The limit of 1,000, a kilobyte of grace for the tool's own note, and the runtime's.
    REQUIRE(text.size() <= 1000 + 1024 + 100);
    REQUIRE(Utf8ValidPrefix(text) == text.size());
    if (content.size() > 5000) REQUIRE(text.find("[cut: ") != std::string::npos);
    ++number;
  }
}

TEST_CASE("UnknownToolsAndBadArgumentsAreAnsweredWithoutAHost") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  REQUIRE_OK(runtime->CreateSession(Session(EffectClass::kEffect)));
  Host host;
  const auto connection = Must(runtime->ConnectToolHost("s", {"probe"}, &host));
  const std::string unknown = RunTurn(*runtime, Turn("nosuch 1")).text;
  REQUIRE(unknown.starts_with("ERROR:"));
  REQUIRE(unknown.find("nosuch") != std::string::npos);
  const std::string bad = RunTurn(*runtime, Turn("probe word")).text;
  REQUIRE(bad.starts_with("ERROR:"));
  REQUIRE(bad.find("x") != std::string::npos);
  REQUIRE(host.calls() == 0);
  REQUIRE(StatusOf(runtime->ConnectToolHost("s", {"nosuch"}, &host)).code() ==
          StatusCode::kInvalidArgument);
  REQUIRE(StatusOf(runtime->ConnectToolHost("s", {}, &host)).code() ==
          StatusCode::kInvalidArgument);
}

TEST_CASE("CancelDuringAToolWaitTellsTheHost") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  REQUIRE_OK(runtime->CreateSession(Session(EffectClass::kEffect)));
  // Nobody serves it.
  std::string turn = Must(runtime->StartTurn(Turn("probe 7"))).turn;
  REQUIRE_OK(runtime->CancelTurn("s", turn));
  REQUIRE(Must(runtime->WaitTurn("s", turn, kPatienceMs)).state == TurnState::kCancelled);
  // A host is at work.
  Host host;
  const auto connection = Must(runtime->ConnectToolHost("s", {"probe"}, &host));
  turn = Must(runtime->StartTurn(Turn("probe 8"))).turn;
  const ToolCall call = host.WaitForCall();
  REQUIRE_OK(runtime->CancelTurn("s", turn));
  REQUIRE(host.WaitForCancel() == call.id);
  REQUIRE(Must(runtime->WaitTurn("s", turn, kPatienceMs)).state == TurnState::kCancelled);
  REQUIRE(connection->SubmitResult("s", Answer(call, "late")).code() == StatusCode::kNotFound);
  REQUIRE(AllEvents(*runtime, "s").back().kind == "turn_finished");
}

}  // namespace baleen
