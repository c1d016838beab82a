// Forks of a flow whose turns run at once: who goes on when, what a race stops, what they may
// spend, and the same after a restart.
#include "tests/runtime/scripted_session.h"

namespace baleen {
namespace {

/// Each item calls the tool of its name in a fork; "slow" and "late" wait for leave.
CreateSessionRequest Session(const std::string& flow) {
  CreateSessionRequest request;
  request.session = "s";
  request.settings.script = R"(
local s = session.current()
for _, name in ipairs { "slow", "quick", "late" } do
  tool(name) { about = "Says its name.", run = function() return name end }
end
)" + flow;
  request.settings.policy.rules = {{"slow", "", "ask", "it is slow"},
                                   {"late", "", "ask", "it is late"}};
  return request;
}

constexpr char kRace[] = R"(
flow("x", function(f)
  local got, which = f:race({ "slow", "quick" }, { at_once = 2 }, function(name)
    local kid <close> = s:fork { label = name }
    local content = kid:call(name).content
    if name == "quick" then f:approve { title = "It was quick" } end
    return content
  end)
  return which .. " " .. got
end))";

constexpr char kEach[] = R"(
flow("x", { budget = { tokens = 9000 } }, function(f)
  return f:each({ "slow", "quick", "late" }, { at_once = 2 }, function(name)
    return s:fork { label = name }:call(name).content
  end)
end))";

/// Once `count` approvals wait, of the session and its forks: the session's own first.
std::vector<ApprovalView> Asked(Runtime& runtime, size_t count) {
  while (true) {
    std::vector<ApprovalView> waiting = Must(runtime.ListApprovals({"", false}));
    if (waiting.size() == count) {
      std::sort(waiting.begin(), waiting.end(),
                [](const auto& a, const auto& b) { return a.session == "s" && b.session != "s"; });
      return waiting;
    }
    std::this_thread::yield();
  }
}

/// The fork that is called `label`.
SessionView Fork(Runtime& runtime, const std::string& label) {
  std::string more;
  for (const SessionView& session : Must(runtime.ListSessions(100, "", &more))) {
    if (session.settings.title == label) return session;
  }
  FAIL("no fork is called " << label);
  return {};
}

TurnView LastTurn(Runtime& runtime, const std::string& label) {
  const SessionView fork = Fork(runtime, label);
  return Must(runtime.GetTurn(fork.session, "t" + std::to_string(fork.turns)));
}

/// A flow that has begun, in a runtime that can be left and opened again.
struct Flow {
  explicit Flow(const CreateSessionRequest& session, int64_t running_turns_max = 64)
      : options(Options(temp)) {
    options.running_turns_max = running_turns_max;
    runtime = OpenRuntime(options);
    REQUIRE_OK(runtime->CreateSession(session));
    StartTurnRequest request;
    request.session = "s";
    request.input = {"go"};
    turn = Must(runtime->StartTurn(request)).turn;
  }

  /// What waits once `count` approvals do, after a restart if there is to be one.
  std::vector<ApprovalView> Wait(size_t count, bool restarts) {
    auto asked = Asked(*runtime, count);
    if (!restarts) return asked;
    runtime.reset();
    runtime = OpenRuntime(options);
    return Asked(*runtime, count);
  }

  const TempDirectory temp;
  RuntimeOptions options;
  std::unique_ptr<Runtime> runtime;
  std::string turn;
};

}  // namespace

TEST_CASE("WhoeverWinsARaceHasTheOthersStopped") {
  for (const bool restarts : {false, true}) {
    CAPTURE(restarts);
    Flow flow(Session(kRace));
    // The quick one's item has gone on, and asks, while the slow one's fork still waits for leave.
    const auto asked = flow.Wait(2, restarts);
    CHECK(asked[0].title == "It was quick");
    CHECK(Must(flow.runtime->GetTurn("s", flow.turn)).waiting_on == "APPROVAL");
    Answer(*flow.runtime, asked[0], true);
    const TurnView ended = End(*flow.runtime, "s", flow.turn);
    CAPTURE(ended.error.ToString());
    CHECK(ended.text == "2 quick");
    CHECK(ended.spend.tool_calls == 2);  // what was stopped counts, too
    CHECK(LastTurn(*flow.runtime, "slow").state == TurnState::kCancelled);
    CHECK(Must(flow.runtime->ListApprovals({"", false})).empty());
  }
}

TEST_CASE("ACancelStopsForksThatRunBesideAnotherStep") {
  for (const bool restarts : {false, true}) {
    CAPTURE(restarts);
    Flow flow(Session(kRace));
    flow.Wait(2, restarts);
    REQUIRE_OK(flow.runtime->CancelTurn("s", flow.turn));
    CHECK(End(*flow.runtime, "s", flow.turn).state == TurnState::kCancelled);
    Asked(*flow.runtime, 0);
    CHECK(LastTurn(*flow.runtime, "slow").state == TurnState::kCancelled);
  }
}

TEST_CASE("ASlowForkHoldsUpNoOtherItemAndNoMoreIsSpentThanThereIs") {
  for (const bool restarts : {false, true}) {
    CAPTURE(restarts);
    Flow flow(Session(kEach));
    // The quick one has ended, and made place for the late one.
    flow.Wait(2, false);
    CHECK(Must(flow.runtime->GetTurn("s", flow.turn)).waiting_on == "SUBAGENT");
    const int64_t slow = LastTurn(*flow.runtime, "slow").budget.tokens;
    const int64_t late = LastTurn(*flow.runtime, "late").budget.tokens;
    CHECK(slow == 4500);  // its share of two
    CHECK(late > 4000);
    CHECK(slow + LastTurn(*flow.runtime, "quick").spend.tokens + late <= 9000);
    for (const auto& approval : flow.Wait(2, restarts)) Answer(*flow.runtime, approval, true);
    const TurnView ended = End(*flow.runtime, "s", flow.turn);
    CAPTURE(ended.error.ToString());
    CHECK(ended.text == R"(["slow","quick","late"])");
    CHECK(ended.spend.tool_calls == 3);
  }
}

TEST_CASE("AForkWaitsWhereNoMoreTurnsMayRun") {
  Flow flow(Session(R"(
flow("x", function(f)
  return f:each({ "quick", "quick", "quick" }, { at_once = 3 }, function(name)
    return s:fork { label = name }:call(name).content
  end)
end))"),
            /*running_turns_max=*/2);  // the flow's own, and one fork's
  CHECK(End(*flow.runtime, "s", flow.turn).text == R"(["quick","quick","quick"])");
}

TEST_CASE("AFlowThatFailsClosesWhatItsItemsHaveOpened") {
  const TempDirectory folder;
  std::filesystem::create_directory(folder.File("ws"));
  auto request = Session(R"(
flow("x", function(f)
  f:each({ "slow", "quick" }, { at_once = 2 }, function(name)
    local kid <close> = s:fork { label = name, worktree = true }
    kid:call(name)
    error("no good", 0)
  end)
end))");
  request.settings.workspace = folder.File("ws");
  Flow flow(request);
  const TurnView ended = End(*flow.runtime, "s", flow.turn);
  CHECK(ended.state == TurnState::kFailed);
  CHECK(ended.error.message().find("no good") != std::string::npos);
  CHECK(LastTurn(*flow.runtime, "slow").state == TurnState::kCancelled);
  for (const auto& entry :
       std::filesystem::directory_iterator(flow.temp.File("data") + "/worktrees")) {
    CHECK(entry.path().filename().string().starts_with("gone-"));  // the upkeep's to remove
  }
}

}  // namespace baleen
