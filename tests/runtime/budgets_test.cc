// Budgets: what is spent is counted, what is spent up pauses and asks, and a grant goes on where it
// stopped, to the same tokens.
#include "runtime/sessions/budget_account.h"
#include "tests/runtime/fixture.h"

namespace baleen {
namespace {

constexpr char kTalk[] = R"(
return function(message)
  return baleen.generate { user = message, max_tokens = 40 }.content
end
)";

RuntimeOptions Options(const TempDirectory& temp) {
  return WorkerOptions(temp.File("data"), TinyModel());
}

CreateSessionRequest Talking(const std::string& id) {
  CreateSessionRequest request;
  request.session = id;
  request.settings.script = kTalk;
  request.settings.sampling.seed = 5;
  return request;
}

StartTurnRequest Turn(const std::string& id, std::optional<BudgetSettings> budget = {}) {
  StartTurnRequest request;
  request.session = id;
  request.input = {"hello"};
  request.trace_logits = true;
  request.budget = budget;
  return request;
}

/// The budget that the session's turn asks for, its `number`-th approval.
ApprovalView Asked(Runtime& runtime, const std::string& id, int64_t number = 1) {
  Recorder recorder;
  const auto watching = Must(runtime.Watch({id, "", false}, &recorder));
  REQUIRE(recorder.WaitFor("approval_requested", number));
  const auto waiting = Must(runtime.ListApprovals({id, false}));
  REQUIRE(waiting.size() == 1);
  REQUIRE(waiting[0].subject == "budget");
  return waiting[0];
}

ApprovalView Answer(Runtime& runtime, const ApprovalView& asked, bool grant, int64_t extend = 0) {
  ResolveApprovalRequest request;
  request.session = asked.session;
  request.approval = asked.approval;
  request.grant = grant;
  request.extend = extend;
  return Must(runtime.ResolveApproval(request));
}

}  // namespace

TEST_CASE("ATurnThatPausedForTokensGoesOnToTheSameTokens") {
  const TempDirectory temp;
  const RuntimeOptions options = Options(temp);
  std::vector<uint64_t> whole_hashes;
  TokenTrace whole;
  int64_t prompt = 0;
  {
    const auto runtime = OpenRuntime(options);
    REQUIRE_OK(runtime->CreateSession(Talking("whole")));
    const TurnView view = RunTurn(*runtime, Turn("whole"));
    whole = ReadAll(*runtime, "whole");
    prompt = static_cast<int64_t>(whole.ids.size()) - view.tokens_generated;
    REQUIRE(view.spend.tokens == static_cast<int64_t>(whole.ids.size()));
    REQUIRE(view.spend.tool_calls == 0);
  }
  // Inside the prompt, right behind it, and in the middle of the answer; over a restart.
  for (const int64_t limit : {int64_t{1}, prompt, prompt + 1, prompt + 7}) {
    CAPTURE(limit, prompt);
    const std::string id = "s" + std::to_string(limit);
    std::string turn;
    {
      const auto runtime = OpenRuntime(options);
      REQUIRE_OK(runtime->CreateSession(Talking(id)));
      turn = Must(runtime->StartTurn(Turn(id, BudgetSettings{limit, 0, 0, 0}))).turn;
      const ApprovalView asked = Asked(*runtime, id);
      REQUIRE(asked.budget.owner == "turn");
      REQUIRE(asked.budget.resource == "tokens");
      REQUIRE(asked.budget.limit == limit);
      // Kept to the token.
      REQUIRE(Must(runtime->GetSession(id)).tokens <= limit);
      REQUIRE(asked.budget.spent == Must(runtime->GetSession(id)).tokens);
      REQUIRE(Must(runtime->GetTurn(id, turn)).waiting_on == "APPROVAL");
    }
    const auto runtime = OpenRuntime(options);
    const ApprovalView asked = Asked(*runtime, id);
    REQUIRE(asked.approval == turn + "-a1");
    Answer(*runtime, asked, true, 10'000);
    const TurnView view = Must(runtime->WaitTurn(id, turn, kPatienceMs));
    INFO(view.error.ToString());
    REQUIRE(view.state == TurnState::kSucceeded);
    REQUIRE(view.budget.tokens == limit + 10'000);
    const TokenTrace trace = ReadAll(*runtime, id);
    REQUIRE(trace.ids == whole.ids);
    REQUIRE(trace.logits_hashes == whole.logits_hashes);
  }
}

TEST_CASE("ADeniedBudgetEndsTheTurnAndSaysWhy") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  REQUIRE_OK(runtime->CreateSession(Talking("s")));
  const std::string turn = Must(runtime->StartTurn(Turn("s", BudgetSettings{20, 0, 0, 0}))).turn;
  Answer(*runtime, Asked(*runtime, "s"), false);
  const TurnView view = Must(runtime->WaitTurn("s", turn, kPatienceMs));
  REQUIRE(view.state == TurnState::kFailed);
  REQUIRE(view.error.code() == StatusCode::kResourceExhausted);
  REQUIRE(view.error.reason() == "BUDGET_SPENT");
  REQUIRE(AllEvents(*runtime, "s").back().kind == "turn_finished");
  // And a cancel ends one that waits.
  const std::string next = Must(runtime->StartTurn(Turn("s", BudgetSettings{1, 0, 0, 0}))).turn;
  Asked(*runtime, "s", 2);
  REQUIRE_OK(runtime->CancelTurn("s", next));
  REQUIRE(Must(runtime->WaitTurn("s", next, kPatienceMs)).state == TurnState::kCancelled);
}

TEST_CASE("CallsOfToolsAreCountedAndAskedAboutBeforeTheyRun") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  CreateSessionRequest request = Talking("s");
  request.settings.workspace = SmallWorkspace();
  request.settings.script = R"(
return function(message)
  local text = ""
  for round = 1, 3 do
    local results = baleen.call_tools {
      { name = "list", arguments = { path = "." } }, { name = "list", arguments = { path = "." } } }
    text = text .. results[1].outcome .. results[2].outcome
  end
  return text
end
)";
  request.settings.turn_budget.tool_calls = 4;
  REQUIRE_OK(runtime->CreateSession(request));
  const std::string turn = Must(runtime->StartTurn(Turn("s"))).turn;
  const ApprovalView asked = Asked(*runtime, "s");
  REQUIRE(asked.budget.resource == "tool_calls");
  REQUIRE(asked.budget.spent == 4);
  REQUIRE(Must(runtime->GetTurn("s", turn)).spend.tool_calls == 4);
  Answer(*runtime, asked, true, 2);
  const TurnView view = Must(runtime->WaitTurn("s", turn, kPatienceMs));
  REQUIRE(view.text == "OKOKOKOKOKOK");
  REQUIRE(view.spend.tool_calls == 6);
}

TEST_CASE("ASessionsBudgetIsSpentByAllOfItsTurns") {
  const TempDirectory temp;
  const RuntimeOptions options = Options(temp);
  int64_t first = 0;
  {
    const auto runtime = OpenRuntime(options);
    CreateSessionRequest request = Talking("s");
    request.settings.budget.tokens = 130;
    REQUIRE_OK(runtime->CreateSession(request));
    const TurnView view = RunTurn(*runtime, Turn("s"));
    REQUIRE(view.state == TurnState::kSucceeded);
    first = view.spend.tokens;
    REQUIRE(first < 130);
  }
  const auto runtime = OpenRuntime(options);
  int64_t asked = 0;
  int64_t limit = 130;
  for (int turns = 0; turns < 3; ++turns) {
    const std::string turn = Must(runtime->StartTurn(Turn("s"))).turn;
    while (Must(runtime->GetTurn("s", turn)).state == TurnState::kRunning) {
      const auto waiting = Must(runtime->ListApprovals({"s", false}));
      if (waiting.empty()) continue;
      REQUIRE(waiting[0].budget.owner == "session");
      REQUIRE(waiting[0].budget.limit == limit);
      REQUIRE(Must(runtime->GetSession("s")).tokens <= limit);
      Answer(*runtime, waiting[0], true, 25);
      limit += 25;
      ++asked;
    }
    REQUIRE_OK(runtime->WaitTurn("s", turn, kPatienceMs));
  }
  REQUIRE(asked >= 1);
  REQUIRE(Must(runtime->GetSession("s")).tokens <= limit);
}

TEST_CASE("TimeAndMoneyAreAskedForTooAndWaitingCostsNone") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  CreateSessionRequest request = Talking("s");
  request.settings.script = R"(return function(message)
    return baleen.generate { user = message, max_tokens = 100000 }.content end)";
  request.settings.prices = {1'000'000, 2'000'000};  // a prompt's token costs 1, a sampled one 2
  REQUIRE_OK(runtime->CreateSession(request));
  const std::string timed = Must(runtime->StartTurn(Turn("s", BudgetSettings{0, 1, 0, 0}))).turn;
  const ApprovalView late = Asked(*runtime, "s");
  REQUIRE(late.budget.resource == "wall_ms");
  const int64_t before = Must(runtime->GetTurn("s", timed)).spend.wall_ms;
  REQUIRE(before >= 1);
  REQUIRE(Must(runtime->GetTurn("s", timed)).spend.wall_ms == before);
  Answer(*runtime, late, false);
  REQUIRE(Must(runtime->WaitTurn("s", timed, kPatienceMs)).error.reason() == "BUDGET_SPENT");

  const std::string paid = Must(runtime->StartTurn(Turn("s", BudgetSettings{0, 0, 0, 60}))).turn;
  const ApprovalView dear = Asked(*runtime, "s", 2);
  REQUIRE(dear.budget.resource == "micro_usd");
  const TurnView view = Must(runtime->GetTurn("s", paid));
  REQUIRE(view.spend.micro_usd >= 59);
  REQUIRE(view.spend.micro_usd <= 61);
  Answer(*runtime, dear, false);
  REQUIRE_OK(runtime->WaitTurn("s", paid, kPatienceMs));

  // A prompt that costs more than is left is asked about before it is a part of the context.
  const int64_t tokens = Must(runtime->GetSession("s")).tokens;
  const std::string poor = Must(runtime->StartTurn(Turn("s", BudgetSettings{0, 0, 0, 2}))).turn;
  const ApprovalView prompt = Asked(*runtime, "s", 3);
  REQUIRE(prompt.budget.resource == "micro_usd");
  REQUIRE(prompt.budget.spent == 0);
  REQUIRE(Must(runtime->GetSession("s")).tokens == tokens);
  Answer(*runtime, prompt, false);
  REQUIRE_OK(runtime->WaitTurn("s", poor, kPatienceMs));
}

TEST_CASE("AFlowsTimeIsUpWhateverItWaitsFor") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  CreateSessionRequest request = Talking("s");
  request.settings.script = R"(
flow("x", { budget = { wall = "50ms" } }, function(f)
  local s = session.current()
  while true do
    pcall(f.now, f)
    pcall(f.sleep, f, 0)
    local kid <close> = s:fork {}
  end
end))";
  REQUIRE_OK(runtime->CreateSession(request));
  const std::string turn = Must(runtime->StartTurn(Turn("s"))).turn;
  const ApprovalView late = Asked(*runtime, "s");
  REQUIRE(late.budget.resource == "wall_ms");
  REQUIRE(late.budget.owner.starts_with("x@"));
  Answer(*runtime, late, false);
  REQUIRE(Must(runtime->WaitTurn("s", turn, kPatienceMs)).error.reason() == "BUDGET_SPENT");
}

TEST_CASE("AScriptThatNeverEndsIsEndedBehindSoManySteps") {
  const TempDirectory temp;
  RuntimeOptions options = Options(temp);
  options.turn_steps_max = 30;
  const auto runtime = OpenRuntime(options);
  int number = 0;
  for (const std::string step :
       {"f:now()", "f:sleep(0)", "s:fork {}", "local kid <close> = s:fork {}",
        "s:call('nosuch', {})", "baleen.generate { user = 'more', max_tokens = 1 }",
        "f:each({ 1, 2 }, { at_once = 2 }, function() f:now() end)", "s:ask('what')"}) {
    INFO(step);
    CreateSessionRequest request = Talking("s" + std::to_string(++number));
    request.settings.script =
        "flow('x', function(f)\n  local s = session.current()\n"
        "  while true do pcall(function() " +
        step + " end) end\nend)";
    REQUIRE_OK(runtime->CreateSession(request));
    const TurnView view = RunTurn(*runtime, Turn(request.session));
    REQUIRE(view.state == TurnState::kFailed);
    INFO(view.error.message());
    REQUIRE(view.error.reason() == "TURN_STEPS");
    REQUIRE(view.error.message().find("30 steps (turn_steps_max)") != std::string::npos);
  }
}

TEST_CASE("AShortageIsTheFirstLimitThatAStepWouldPass") {
  std::vector<BudgetAccount> accounts = {{"turn", {100, 0, 2, 0}, {99, 5, 2, 7}},
                                         {"session", {1000, 50, 0, 0}, {1000, 49, 9, 0}}};
  REQUIRE(FindShortage({}, {1, 1}) == std::nullopt);
  REQUIRE(FindShortage(accounts, {1, 0})->owner == "session");
  REQUIRE(FindShortage(accounts, {2, 0})->owner == "turn");
  REQUIRE(FindShortage(accounts, {0, 1})->resource == "tool_calls");
  REQUIRE(FindShortage(accounts, {0, 0}) == std::nullopt);
  accounts[1].spent.wall_ms = 50;
  REQUIRE(FindShortage(accounts, {0, 0})->resource == "wall_ms");
  REQUIRE(WallMsLeft(accounts) == 0);
  REQUIRE(SampledTokensLeft(accounts, {}) == 0);
  accounts.pop_back();
  REQUIRE(SampledTokensLeft(accounts, {}) == 1);
  REQUIRE(WallMsLeft(accounts) == INT64_MAX);
  REQUIRE(CostMicroUsd({3'000'000, 5'000'000}, 10, 2) == 40);
  REQUIRE_ERROR(CheckBudget({-1, 0, 0, 0}), StatusCode::kInvalidArgument, "a limit is -1");
  REQUIRE_ERROR(CheckPrices({0, INT64_MAX}), StatusCode::kInvalidArgument, "prices");
}

}  // namespace baleen
