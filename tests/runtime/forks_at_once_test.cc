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
    local content = kid:call(name)
    if name == "quick" then f:approve { title = "It was quick" } end
    return content
  end)
  return which .. " " .. got
end))";

constexpr char kEach[] = R"(
flow("x", { budget = { tokens = 9000 } }, function(f)
  return f:each({ "slow", "quick", "late" }, { at_once = 2 }, function(name)
    return (s:fork { label = name }:call(name))
  end)
end))";

std::string Begin(Runtime& runtime) {
  StartTurnRequest request;
  request.session = "s";
  request.input = {"go"};
  return Must(runtime.StartTurn(request)).turn;
}

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

}  // namespace

TEST_CASE("WhoeverWinsARaceHasTheOthersStopped") {
  for (const bool restarts : {false, true}) {
    CAPTURE(restarts);
    const TempDirectory temp;
    auto runtime = OpenRuntime(Options(temp));
    REQUIRE_OK(runtime->CreateSession(Session(kRace)));
    const std::string turn = Begin(*runtime);
    // The quick one's item has gone on, and asks, while the slow one's fork still waits for leave.
    auto asked = Asked(*runtime, 2);
    CHECK(asked[0].title == "It was quick");
    CHECK(Must(runtime->GetTurn("s", turn)).waiting_on == "APPROVAL");
    if (restarts) {
      runtime.reset();
      runtime = OpenRuntime(Options(temp));
      asked = Asked(*runtime, 2);
    }
    Answer(*runtime, asked[0], true);
    const TurnView ended = End(*runtime, "s", turn);
    CAPTURE(ended.error.ToString());
    CHECK(ended.text == "2 quick");
    CHECK(ended.spend.tool_calls == 2);  // what was stopped counts, too
    CHECK(LastTurn(*runtime, "slow").state == TurnState::kCancelled);
    CHECK(Must(runtime->ListApprovals({"", false})).empty());
  }
}

TEST_CASE("ACancelStopsForksThatRunBesideAnotherStep") {
  for (const bool restarts : {false, true}) {
    CAPTURE(restarts);
    const TempDirectory temp;
    auto runtime = OpenRuntime(Options(temp));
    REQUIRE_OK(runtime->CreateSession(Session(kRace)));
    const std::string turn = Begin(*runtime);
    Asked(*runtime, 2);
    if (restarts) {
      runtime.reset();
      runtime = OpenRuntime(Options(temp));
      Asked(*runtime, 2);
    }
    REQUIRE_OK(runtime->CancelTurn("s", turn));
    CHECK(End(*runtime, "s", turn).state == TurnState::kCancelled);
    Asked(*runtime, 0);
    CHECK(LastTurn(*runtime, "slow").state == TurnState::kCancelled);
  }
}

TEST_CASE("ASlowForkHoldsUpNoOtherItemAndNoMoreIsSpentThanThereIs") {
  for (const bool restarts : {false, true}) {
    CAPTURE(restarts);
    const TempDirectory temp;
    auto runtime = OpenRuntime(Options(temp));
    REQUIRE_OK(runtime->CreateSession(Session(kEach)));
    const std::string turn = Begin(*runtime);
    // The quick one has ended, and made place for the late one.
    Asked(*runtime, 2);
    CHECK(Must(runtime->GetTurn("s", turn)).waiting_on == "SUBAGENT");
    const int64_t slow = LastTurn(*runtime, "slow").budget.tokens;
    const int64_t late = LastTurn(*runtime, "late").budget.tokens;
    CHECK(slow == 4500);  // its share of two
    CHECK(late > 4000);
    CHECK(slow + LastTurn(*runtime, "quick").spend.tokens + late <= 9000);
    if (restarts) {
      runtime.reset();
      runtime = OpenRuntime(Options(temp));
    }
    for (const ApprovalView& approval : Asked(*runtime, 2)) Answer(*runtime, approval, true);
    const TurnView ended = End(*runtime, "s", turn);
    CAPTURE(ended.error.ToString());
    CHECK(ended.text == R"(["slow","quick","late"])");
    CHECK(ended.spend.tool_calls == 3);
  }
}

TEST_CASE("AFlowThatFailsClosesWhatItsItemsHaveOpened") {
  const TempDirectory temp;
  std::filesystem::create_directory(temp.File("ws"));
  const auto runtime = OpenRuntime(Options(temp));
  auto request = Session(R"(
flow("x", function(f)
  f:each({ "slow", "quick" }, { at_once = 2 }, function(name)
    local kid <close> = s:fork { label = name, worktree = true }
    kid:call(name)
    error("no good", 0)
  end)
end))");
  request.settings.workspace = temp.File("ws");
  REQUIRE_OK(runtime->CreateSession(request));
  const std::string turn = Begin(*runtime);
  const TurnView ended = End(*runtime, "s", turn);
  CHECK(ended.state == TurnState::kFailed);
  CHECK(ended.error.message().find("no good") != std::string::npos);
  CHECK(LastTurn(*runtime, "slow").state == TurnState::kCancelled);
  for (const auto& entry : std::filesystem::directory_iterator(temp.File("data") + "/worktrees")) {
    CHECK(entry.path().filename().string().starts_with("gone-"));  // the upkeep's to remove
  }
}

}  // namespace baleen
