// Why calls ran or were refused, as it can be asked for afterwards; and the guard against
// repetition.
#include "runtime/observer.h"
#include "tests/runtime/waiting_turns.h"

namespace baleen {
namespace {

/// Keeps "CALL TOOL DECISION by BY" of each decision.
class Audit final : public RuntimeObserver {
 public:
  void OnTurnEnded(const TurnView&, double) override {}
  void OnGeneration(const GenerationFigures&) override {}
  void OnToolCall(ToolOutcome) override {}
  void OnCommit(double, bool) override {}
  void OnDecision(const DecisionFigures& figures) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    lines_.push_back(figures.call + " " + figures.tool + " " + figures.decision + " by " +
                     figures.by);
  }
  std::vector<std::string> lines() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return lines_;
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> lines_;
};

constexpr char kAll[] = R"(
policy { deny { tool = "third", args = { x = "1" }, why = "not one" } }
return function(message)
  local text = ""
  for _, name in ipairs { "first", "second", "third", "free", "missing" } do
    local content, outcome = baleen.call(name, { x = 1 })
    text = text .. outcome .. " "
  end
  return text
end)";

TEST_CASE("EveryDecisionAboutACallCanBeExplained") {
  const TempDirectory temp;
  Audit audit;
  RuntimeOptions options = WorkerOptions(temp.path(), TinyModel());
  options.observer = &audit;
  auto runtime = OpenRuntime(options);
  CreateSessionRequest request;
  request.session = "s";
  request.settings.script = kAll;
  request.settings.host_tools = {Spec("first"), Spec("second"), Spec("third"), Spec("free")};
  request.settings.policy.rules = {{"f*t", "EFFECT", "ask", "it changes things"},
                                   {"second", "", "deny", "never"},
                                   {"*", "", "allow", ""}};
  request.settings.policy.rules[2].tool = "s*";
  REQUIRE_OK(runtime->CreateSession(request));
  {
    Host host;
    host.Serve(*runtime, "s", {"first", "second", "third", "free"});
    for (int64_t turn = 1; turn <= 2; ++turn) {
      const std::string id = Start(*runtime, "s");
      if (turn == 1) {
        const DecisionView waits =
            Must(runtime->ExplainDecision("s", id, Pending(*runtime, "s").calls[0].id));
        CHECK(waits.approval_state == ApprovalState::kPending);
        CHECK(waits.outcome.empty());
        ResolveApprovalRequest answer;
        answer.session = "s";
        answer.approval = "t1-a1";
        answer.grant = true;
        answer.scope = GrantScope::kSession;
        answer.resolved_by = "ann";
        answer.reason = "go on";
        REQUIRE_OK(runtime->ResolveApproval(answer));
      }
      const TurnView view = Must(runtime->WaitTurn("s", id, kPatienceMs));
      CHECK(view.text == "OK DENIED DENIED OK ERROR ");
    }
  }
  runtime.reset();
  CHECK(audit.lines() ==
        std::vector<std::string>{"c1 first ask by rule 1: ask f*t EFFECT", "c1 first grant by ann",
                                 "c2 second deny by rule 2: deny second", "c3 third deny by script",
                                 "c4 free allow by default", "c5  invalid by schema",
                                 "c1 first ask by grant s/t1-a1",
                                 "c2 second deny by rule 2: deny second", "c3 third deny by script",
                                 "c4 free allow by default", "c5  invalid by schema"});

  runtime = OpenRuntime(options);
  const auto explain = [&](const std::string& turn, const std::string& call) {
    return Must(runtime->ExplainDecision("s", turn, call));
  };
  DecisionView view = explain("t1", "c1");
  CHECK(view.tool == "first");
  CHECK(view.decision == "ask");
  CHECK(view.decided_by == "rule 1: ask f*t EFFECT");
  CHECK(view.why == "it changes things");
  CHECK(view.grant.empty());
  CHECK(view.approval == "t1-a1");
  CHECK(view.approval_state == ApprovalState::kGranted);
  CHECK(view.resolved_by == "ann");
  CHECK(view.reason == "go on");
  CHECK(view.outcome == "OK");
  // Of {"x":1}, by sha256sum.
  CHECK(view.arguments_sha256 ==
        "5041bf1f713df204784353e82f6a4a535931cb64f1f4b4a5aeaffcb720918b22");
  CHECK(view.decided_ms > 0);
  view = explain("t2", "c1");
  CHECK(view.grant == "s/t1-a1");
  CHECK(view.approval.empty());
  view = explain("t1", "c2");
  CHECK(view.decision == "deny");
  CHECK(view.why == "never");
  CHECK(view.outcome == "DENIED");
  view = explain("t1", "c3");
  CHECK(view.decided_by == "script");
  CHECK(view.why == "not one");
  view = explain("t1", "c4");
  CHECK(view.decision == "allow");
  CHECK(view.decided_by == "default");
  view = explain("t1", "c5");
  CHECK(view.decision == "invalid");
  CHECK(view.decided_by == "schema");
  CHECK(view.outcome == "ERROR");
  CHECK(runtime->ExplainDecision("s", "t1", "c6").status().reason() == "ITEM_UNKNOWN");
  CHECK(runtime->ExplainDecision("s", "t3", "c1").status().reason() == "ITEM_UNKNOWN");
  CHECK(runtime->ExplainDecision("none", "t1", "c1").status().reason() == "SESSION_UNKNOWN");
}

TEST_CASE("TheCommandThatDecidedAboutACallIsNamed") {
  const TempDirectory temp;
  Audit audit;
  RuntimeOptions options = WorkerOptions(temp.File("data"), TinyModel());
  options.observer = &audit;
  CreateSessionRequest request;
  request.session = "s";
  request.settings.workspace = temp.path();
  request.settings.tools = {"bash"};
  request.settings.script =
      "return function() return (baleen.call('bash', { command = 'git log; rm -rf /' })) end";
  request.settings.policy.rules = {{"bash", "", "allow", "", {{"git"}, {"log"}}},
                                   {"bash", "", "deny", "never", {{"rm"}}}};
  auto runtime = OpenRuntime(options);
  REQUIRE_OK(runtime->CreateSession(request));
  runtime.reset();
  runtime = OpenRuntime(options);  // the rules come from the journal
  const TurnView turn = Must(runtime->WaitTurn("s", Start(*runtime, "s"), kPatienceMs));
  CHECK(turn.text.find("the session's policy denies it (`rm -rf /`: never)") != std::string::npos);
  // The log has no text of the model's.
  CHECK(audit.lines() ==
        std::vector<std::string>{"c1 bash deny by rule 2: deny bash argv at command 2"});
  const DecisionView view = Must(runtime->ExplainDecision("s", turn.turn, "c1"));
  CHECK(view.decided_by == "rule 2: deny bash argv at command 2");
  CHECK(view.why == "`rm -rf /`: never");
}

/// Lets the model ask for one and the same call nine times.
constexpr char kAgain[] = R"(
return function(message)
  local heads = {}
  local reply = baleen.generate { user = message, tool_choice = "tool:now" }
  for i = 1, 9 do
    local result = baleen.call_tools({ reply.tool_calls[1] })[1]
    heads[i] = result.outcome .. (result.content:find("%[repeat guard: ") and "+" or "")
    if i == 4 then heads[i] = heads[i] .. (baleen.call("pause", {})) end
    local results = {}
    for k, call in ipairs(reply.tool_calls) do
      results[k] = { role = "tool", tool_call_id = call.id, content = k == 1 and result.content or "" }
    end
    if i < 9 then reply = baleen.generate { messages = results, tool_choice = "tool:now" } end
  end
  return table.concat(heads, " ")
end)";

TEST_CASE("AModelThatRepeatsItselfIsToldAndThenStoppedAlsoOverARestart") {
  for (const bool guarded : {true, false}) {
    CAPTURE(guarded);
    const TempDirectory temp;
    const RuntimeOptions options = WorkerOptions(temp.path(), TinyModel());
    auto runtime = OpenRuntime(options);
    CreateSessionRequest request;
    request.session = "s";
    request.settings.script = kAgain;
    request.settings.tokens_max = 4000;
    request.settings.sampling.seed = 5;
    ToolSpec now = Spec("now"), pause = Spec("pause");
    now.parameters = pause.parameters = R"({"type":"object","properties":{}})";
    now.effect = pause.effect = EffectClass::kPure;
    request.settings.host_tools = {now, pause};
    request.settings.policy.rules = {{"pause", "", "ask", ""}};
    request.settings.policy.repeat_guard = guarded;
    REQUIRE_OK(runtime->CreateSession(request));
    std::string turn;
    {
      Host host;
      host.Serve(*runtime, "s", {"now", "pause"});
      turn = Start(*runtime, "s");
      while (Must(runtime->ListApprovals({"s", false})).empty()) {
        const TurnView view = Must(runtime->GetTurn("s", turn));
        CAPTURE(view.error.ToString());
        REQUIRE(view.state == TurnState::kRunning);
        std::this_thread::yield();
      }
    }
    runtime.reset();
    runtime = OpenRuntime(options);
    Host host;
    host.Serve(*runtime, "s", {"now", "pause"});
    ResolveApprovalRequest answer;
    answer.session = "s";
    answer.approval = Pending(*runtime, "s").approval;
    answer.grant = true;
    REQUIRE_OK(runtime->ResolveApproval(answer));
    const TurnView view = Must(runtime->WaitTurn("s", turn, kPatienceMs));
    CAPTURE(view.error.ToString());
    CHECK(view.text == (guarded ? "OK OK OK+ OKpause OK+ OK OK DENIED DENIED"
                                : "OK OK OK OKpause OK OK OK OK OK"));
  }
}

}  // namespace
}  // namespace baleen
