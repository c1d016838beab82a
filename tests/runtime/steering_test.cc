// Steering: what is said to a running turn reaches its next step or the turn after it, once.
#include "tests/runtime/fixture.h"

namespace baleen {
namespace {

/// Waits for leave between two generations, so that there is a time to say something.
constexpr char kTwoSteps[] = R"(
return function(message)
  baleen.generate { user = message, max_tokens = 3 }
  baleen.call_tools { { name = "probe", arguments = {} } }
  baleen.generate { user = "second", max_tokens = 3 }
  return "done"
end
)";

CreateSessionRequest Session() {
  CreateSessionRequest request;
  request.session = "s";
  request.settings.script = kTwoSteps;
  ToolSpec spec;
  spec.name = "probe";
  spec.description = "Probes.";
  spec.parameters = R"({"type":"object"})";
  spec.timeout_ms = kPatienceMs;
  request.settings.host_tools.push_back(spec);
  request.settings.policy.rules = {{"probe", "", "ask", ""}};
  return request;
}

std::string Start(Runtime& runtime) {
  StartTurnRequest request;
  request.session = "s";
  request.input = {"first"};
  return Must(runtime.StartTurn(request)).turn;
}

void WaitForApproval(Runtime& runtime, int64_t number) {
  Recorder recorder;
  const auto watching = Must(runtime.Watch({"s", "", false}, &recorder));
  REQUIRE(recorder.WaitFor("approval_requested", number));
}

/// Lets the turn go on: the call isn't run, the second step comes.
void Deny(Runtime& runtime, const std::string& turn) {
  ResolveApprovalRequest request;
  request.session = "s";
  request.approval = turn + "-a1";
  REQUIRE_OK(runtime.ResolveApproval(request));
}

SteerTurnRequest Steer(const std::string& turn, const std::string& text,
                       SteerDelivery delivery = SteerDelivery::kNextStep) {
  SteerTurnRequest request;
  request.session = "s";
  request.turn = turn;
  request.input = {text};
  request.delivery = delivery;
  return request;
}

/// What the model was told, byte by byte.
std::string Context(Runtime& runtime) {
  std::string text;
  for (const int32_t id : ReadAll(runtime, "s").ids) {
    if (id >= 3 && id < 259) text += static_cast<char>(id - 3);
  }
  return text;
}

size_t Times(const std::string& text, const std::string& words) {
  size_t times = 0;
  for (size_t at = text.find(words); at != std::string::npos; at = text.find(words, at + 1))
    ++times;
  return times;
}

}  // namespace

TEST_CASE("WhatIsSaidReachesTheNextStepAndTheTurnAfterEachOnceAlsoOverARestart") {
  for (const bool restart : {false, true}) {
    CAPTURE(restart);
    const TempDirectory temp;
    const RuntimeOptions options = WorkerOptions(temp.File("data"), TinyModel());
    auto runtime = OpenRuntime(options);
    REQUIRE_OK(runtime->CreateSession(Session()));
    const std::string turn = Start(*runtime);
    WaitForApproval(*runtime, 1);
    SteerTurnRequest twice = Steer(turn, "turn left");
    twice.request_id = "one";
    REQUIRE_OK(runtime->SteerTurn(twice));
    REQUIRE_OK(runtime->SteerTurn(twice));
    REQUIRE_OK(runtime->SteerTurn(Steer(turn, "afterwards", SteerDelivery::kAfterTurn)));
    if (restart) {
      runtime.reset();
      runtime = OpenRuntime(options);
    }
    Deny(*runtime, turn);
    REQUIRE(Must(runtime->WaitTurn("s", turn, kPatienceMs)).text == "done");
    // The turn that follows asks for leave, too.
    WaitForApproval(*runtime, 2);
    Deny(*runtime, "t2");
    const TurnView after = Must(runtime->WaitTurn("s", "t2", kPatienceMs));
    INFO(after.error.ToString());
    REQUIRE(after.state == TurnState::kSucceeded);
    const std::string context = Context(*runtime);
    INFO(context);
    REQUIRE(Times(context, "turn left") == 1);
    REQUIRE(Times(context, "afterwards") == 1);
    REQUIRE(context.find("second") < context.find("turn left"));
    REQUIRE(context.find("turn left") < context.find("afterwards"));
    REQUIRE(Must(runtime->GetSession("s")).turns == 2);
  }
}

TEST_CASE("WhatComesTooLateForAStepIsSaidInATurnOfItsOwnAndAfterACancelComesBack") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(WorkerOptions(temp.File("data"), TinyModel()));
  CreateSessionRequest request = Session();
  request.settings.script = R"(return function(message)
    if message == "first" then baleen.call_tools { { name = "probe", arguments = {} } } end
    return baleen.generate and message end)";
  REQUIRE_OK(runtime->CreateSession(request));
  std::string turn = Start(*runtime);
  WaitForApproval(*runtime, 1);
  REQUIRE_OK(runtime->SteerTurn(Steer(turn, "never read")));
  Deny(*runtime, turn);
  REQUIRE(Must(runtime->WaitTurn("s", "t1", kPatienceMs)).text == "first");
  REQUIRE(Must(runtime->WaitTurn("s", "t2", kPatienceMs)).text == "never read");
  turn = Start(*runtime);
  WaitForApproval(*runtime, 2);
  REQUIRE_OK(runtime->SteerTurn(Steer(turn, "one")));
  REQUIRE_OK(runtime->SteerTurn(Steer(turn, "two", SteerDelivery::kAfterTurn)));
  REQUIRE_OK(runtime->CancelTurn("s", turn));
  const TurnView view = Must(runtime->WaitTurn("s", turn, kPatienceMs));
  REQUIRE(view.unsent == std::vector<std::string>{"one", "two"});
  REQUIRE(Must(runtime->GetTurn("s", turn)).unsent == view.unsent);
  REQUIRE(Must(runtime->GetSession("s")).turns == 3);
}

TEST_CASE("SteeringWhatCannotBeSteeredIsRefused") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(WorkerOptions(temp.File("data"), TinyModel()));
  REQUIRE_OK(runtime->CreateSession(Session()));
  REQUIRE(runtime->SteerTurn(Steer("t1", "x")).status().reason() == "ITEM_UNKNOWN");
  const std::string turn = Start(*runtime);
  WaitForApproval(*runtime, 1);
  REQUIRE(runtime->SteerTurn(Steer(turn, "")).status().reason() == "BAD_FIELD");
  REQUIRE(runtime->SteerTurn(Steer(turn, "\xff")).status().reason() == "BAD_FIELD");
  for (int i = 0; i < 64; ++i) REQUIRE_OK(runtime->SteerTurn(Steer(turn, "x")));
  REQUIRE(runtime->SteerTurn(Steer(turn, "x")).status().reason() == "QUOTA");
  REQUIRE_OK(runtime->CancelTurn("s", turn));
  REQUIRE_OK(runtime->WaitTurn("s", turn, kPatienceMs));
  REQUIRE(runtime->SteerTurn(Steer(turn, "x")).status().reason() == "TURN_NOT_STEERABLE");
}

}  // namespace baleen
