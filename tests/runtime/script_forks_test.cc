// Forks that scripts make: what they know, spend and ask, and the copies of the workspace in which
// they work.
#include "tests/runtime/scripted_session.h"

namespace baleen {
namespace {

constexpr char kForks[] = R"(
local s = session.current()
flow("tries", { budget = { tokens = 20000 } }, function(f, input)
  s:ask(input, { max_tokens = 8, tools = "none" })
  local spent, said = 0, {}
  for i = 1, 2 do
    local kid = s:fork { label = "try " .. i }
    local answer, why = kid:ask("Try " .. i, { max_tokens = 8, tools = "none" })
    said[#said + 1] = (answer or "nil") .. "|" .. tostring(why)
    spent = spent + kid.usage.tokens
    said[#said + 1] = kid:call("missing", {}).outcome
    kid:close()
    f:approve { title = "Go on after " .. i }
  end
  return { spent = spent, said = said }
end))";

TEST_CASE("ForksShareTheContextAndTheirSpendIsTheTurns") {
  const TempDirectory temp;
  std::string turn;
  auto request = Scripted("s", kForks);
  request.settings.sampling.seed = 3;
  const std::string words(600, 'w');
  nlohmann::json whole;
  for (const bool restarts : {false, true}) {
    CAPTURE(restarts);
    const std::string id = restarts ? "again" : "s";
    request.session = id;
    auto runtime = OpenRuntime(Options(temp));
    REQUIRE_OK(runtime->CreateSession(request));
    turn = Start(*runtime, id, words);
    for (int64_t number = 1; number <= 2; ++number) {
      Pending(*runtime, id, number);
      if (restarts) {
        runtime.reset();
        runtime = OpenRuntime(Options(temp));
      }
      Answer(*runtime, Pending(*runtime, id, number), true);
    }
    const TurnView view = End(*runtime, id, turn);
    CAPTURE(view.error.ToString());
    REQUIRE(view.state == TurnState::kSucceeded);
    const auto result = Parse(view.text);
    if (!restarts) whole = result;
    CHECK(result == whole);
    CHECK(result["said"][1] == "ERROR");
    const SessionView parent = Must(runtime->GetSession(id));
    std::vector<SessionView> forks;
    std::string more;
    for (SessionView& session : Must(runtime->ListSessions(100, "", &more))) {
      if (session.parent == id) forks.push_back(std::move(session));
    }
    REQUIRE(forks.size() == 2);  // whatever was done anew
    int64_t spent = 0;
    for (const SessionView& fork : forks) {
      CAPTURE(fork.session);
      CHECK(fork.settings.title.starts_with("try "));
      CHECK(fork.turns == 3);  // what it was cut from, the question, the call
      // All of what its parent knew, and its own.
      const TokenTrace own = ReadAll(*runtime, fork.session);
      const TokenTrace all = ReadAll(*runtime, id);
      REQUIRE(own.ids.size() > all.ids.size());
      CHECK(std::equal(all.ids.begin(), all.ids.end(), own.ids.begin()));
      spent += static_cast<int64_t>(own.ids.size() - all.ids.size());
      if (!restarts) {
        // The parent's KV was there: nothing of it was computed for the fork.
        const auto reuse = LastReuse(*runtime, fork.session);
        CAPTURE(reuse.dump());
        CHECK(reuse["recomputed"].get<int64_t>() <= 1);
      }
    }
    CHECK(result["spent"] == spent);
    // The parent's own, and its forks'.
    CHECK(view.spend.tokens == parent.tokens + spent);
    CHECK(view.spend.tool_calls == 2);
  }
}

constexpr char kPatch[] = R"(
local s = session.current()
policy { deny { tool = "write", path = "secret*", why = "it is a secret" } }
flow("patch", function(f, input)
  if input == "first" then return "ready" end
  local kid = s:fork { label = "try", worktree = true, clean = input == "clean" }
  local how = kid:call("write", { path = "new.txt", content = "from the fork\n" }).outcome
  local seen = kid:call("bash", { command = "pwd; echo; cat '" .. input .. "' || echo hidden" }).content
  local diff = kid:diff()
  f:approve { title = "Apply", diff = diff }
  local ok, denied = pcall(s.apply, s, (diff:gsub("new.txt", "secret.txt")))
  local applied = s:apply(diff)
  kid:close()
  local _, closed = pcall(kid.diff, kid)
  return { how = how, copied = kid.worktree, diff = diff, applied = applied, denied = denied,
    closed = closed, seen = seen, kid = kid.id }
end))";

TEST_CASE("AForksWorktreeIsItsOwnAndItsDiffIsApplied") {
  for (const bool clean : {false, true}) {
    CAPTURE(clean);
    const TempDirectory temp;
    temp.Write("work/a.txt", "in the workspace\n");
    auto request = Scripted("s", kPatch);
    request.settings.workspace = temp.File("work");
    request.settings.tools = {"write", "bash"};
    request.settings.policy.rules = {{"write", "", "allow", ""}, {"bash", "", "allow", ""}};
    auto runtime = OpenRuntime(Options(temp));
    REQUIRE_OK(runtime->CreateSession(request));
    End(*runtime, "s", Start(*runtime, "s", "first"));
    const std::string turn = Start(*runtime, "s", clean ? "clean" : temp.File("work/a.txt"));
    CHECK(Pending(*runtime, "s").description.find("+from the fork") != std::string::npos);
    CHECK(!std::filesystem::exists(temp.File("work/new.txt")));
    runtime.reset();
    runtime = OpenRuntime(Options(temp));
    Answer(*runtime, Pending(*runtime, "s"), true);
    const TurnView view = End(*runtime, "s", turn);
    CAPTURE(view.error.ToString(), view.text);
    REQUIRE(view.state == TurnState::kSucceeded);
    const auto result = Parse(view.text);
    CHECK(result["how"] == "OK");
    CHECK(result["copied"].get<std::string>().starts_with("copied: 1 files"));
    CHECK(result["applied"] == "applied: 0 changed, 1 new, 0 deleted");
    CHECK(result["denied"].get<std::string>().find("the script denies it (secret.txt: it is a "
                                                   "secret)") != std::string::npos);
    CHECK(result["closed"].get<std::string>().find("the fork is closed") != std::string::npos);
    CHECK(FileContent(temp.File("work/new.txt")) == "from the fork\n");
    CHECK(view.files == std::vector<std::string>{"new.txt"});
    const std::string tree = temp.File("data/worktrees/") + result["kid"].get<std::string>();
    CHECK(Must(runtime->GetSession(result["kid"])).settings.workspace == tree + "/tree");
    CHECK(!std::filesystem::exists(tree));
    // In the sandbox the copy is the workspace, and the workspace isn't there.
    const auto seen = result["seen"].get<std::string>();
    if (seen.find("sandbox") == std::string::npos) {
      CHECK(seen.find(tree + "/tree\n") != std::string::npos);
      CHECK(seen.find("hidden") != std::string::npos);
    }
    RewindRequest back;
    back.session = "s";
    back.to.turn = "t1";
    back.scope = RewindScope::kFiles;
    REQUIRE_OK(runtime->RewindSession(back));
    CHECK(!std::filesystem::exists(temp.File("work/new.txt")));
  }
}

TEST_CASE("AnApprovalThatShowedADiffIsLeaveToApplyItAndNoOther") {
  const std::string script = R"(
    policy { ask { tool = "write", path = "a*", why = "it is kept" } }
    flow("f", function(f, input)
      local diff, shown, applied = input:match("^(.-)|(.-)|(.*)$")
      f:approve { title = "Apply", cause = "it is wrong", diff = shown, more = diff }
      return session.current():apply(applied == "" and shown or applied)
    end))";
  const std::string diff = "--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-a\n+b\n";
  const std::string other = "--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-a\n+c\n";
  const std::string both = diff + "--- a/b.txt\n+++ b/b.txt\n@@ -1 +1 @@\n-a\n+c\n";
  struct Case {
    std::string input;
    bool asks;
  };
  const Case cases[] = {{"x|" + diff + "|", false},
                        {"x|" + diff + "|" + other, true},
                        {"x|" + both + "|" + diff, true},          // what was shown is another
                        {other + "|" + diff + "|" + other, true},  // and so is what stood beside it
                        {"x|" + std::string(70'000, ' ') + diff + "|" + diff, true}};
  for (const Case& one : cases) {
    CAPTURE(one.input.substr(0, 200));
    const TempDirectory temp;
    temp.Write("work/a.txt", "a\n");
    temp.Write("work/b.txt", "a\n");
    auto runtime = OpenRuntime(Options(temp));
    auto request = Scripted("s", script);
    request.settings.workspace = temp.File("work");
    REQUIRE_OK(runtime->CreateSession(request));
    const std::string turn = Start(*runtime, "s", one.input);
    Answer(*runtime, Pending(*runtime, "s"), true);
    if (one.asks) Answer(*runtime, Pending(*runtime, "s", 2), true);
    const TurnView view = End(*runtime, "s", turn);
    CAPTURE(view.error.ToString());
    CHECK(view.text.starts_with("applied: 1 changed"));
    CHECK(Must(runtime->ListApprovals({"s", true})).size() == (one.asks ? 2 : 1));
    const DecisionView decision = Must(runtime->ExplainDecision("s", turn, "c1"));
    CHECK(decision.decision == "ask");
    CHECK(decision.grant == (one.asks ? "" : "s/t1-a1"));
  }
  // A denial stays one.
  const TempDirectory temp;
  temp.Write("work/a.txt", "a\n");
  const auto runtime = OpenRuntime(Options(temp));
  auto request = Scripted("s", script);
  request.settings.workspace = temp.File("work");
  request.settings.policy.rules = {{"write", "", "deny", "read only"}};
  REQUIRE_OK(runtime->CreateSession(request));
  const std::string turn = Start(*runtime, "s", "x|" + diff + "|");
  Answer(*runtime, Pending(*runtime, "s"), true);
  CHECK(End(*runtime, "s", turn).error.message().find("read only") != std::string::npos);
}

TEST_CASE("ADiffNeedsTheLeaveThatAWriteNeeds") {
  const TempDirectory temp;
  temp.Write("work/a.txt", "a\n");
  const auto runtime = OpenRuntime(Options(temp));
  const std::string apply = R"(flow("f", function(f, input)
    return session.current():apply(input)
  end))";
  const std::string diff = "--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-a\n+b\n";
  const auto with = [&](const std::string& id, const std::vector<PolicyRule>& rules) {
    auto request = Scripted(id, apply);
    request.settings.workspace = temp.File("work");
    request.settings.policy.rules = rules;
    REQUIRE_OK(runtime->CreateSession(request));
    return Start(*runtime, id, diff);
  };
  std::string turn = with("edits", {{"*", "", "allow", ""}, {"edit", "", "deny", "read only"}});
  CHECK(End(*runtime, "edits", turn).error.message().find("denies it (read only)") !=
        std::string::npos);
  turn = with("asks", {});
  CHECK(Pending(*runtime, "asks").calls.at(0).name == "apply_diff");
  CHECK(FileContent(temp.File("work/a.txt")) == "a\n");
  Answer(*runtime, Pending(*runtime, "asks"), true);
  CHECK(End(*runtime, "asks", turn).text == "applied: 1 changed, 0 new, 0 deleted");
  turn = with("stale", {{"write", "", "allow", ""}});
  CHECK(End(*runtime, "stale", turn).text.find("1 were so already") != std::string::npos);
  temp.Write("work/a.txt", "c\n");
  const TurnView stale = End(*runtime, "stale", Start(*runtime, "stale", diff));
  CHECK(stale.state == TurnState::kFailed);
  CHECK(stale.error.message().find("a.txt:1: the diff (its line 3) expects 'a?' there, and it is "
                                   "'c?'") != std::string::npos);
  CHECK(FileContent(temp.File("work/a.txt")) == "c\n");
}

TEST_CASE("WorktreesOfDeletedForksAreSwept") {
  const TempDirectory temp;
  temp.Write("work/a.txt", "a\n");
  const auto runtime = OpenRuntime(Options(temp));
  auto request = Scripted("s", R"(flow("f", function()
    return session.current():fork { worktree = true }.id
  end))");
  request.settings.workspace = temp.File("work");
  REQUIRE_OK(runtime->CreateSession(request));
  const std::string kid = End(*runtime, "s", Start(*runtime, "s")).text;
  const std::string tree = temp.File("data/worktrees/" + kid);
  REQUIRE_OK(runtime->Compact());  // runs the upkeep
  REQUIRE(std::filesystem::exists(tree + "/tree/a.txt"));
  DeleteRequest gone;
  gone.session = kid;
  REQUIRE_OK(runtime->DeleteSession(gone));
  REQUIRE_OK(runtime->Compact());
  CHECK(!std::filesystem::exists(tree));
  request = Scripted("task", R"(return function()
    return (baleen.call("task", { prompt = "Hm.", tools = "none", clean = true, worktree = true }))
  end)");
  request.settings.workspace = temp.File("work");
  request.settings.tools = {"task"};
  request.settings.tokens_max = 8;
  REQUIRE_OK(runtime->CreateSession(request));
  CHECK(End(*runtime, "task", Start(*runtime, "task"))
            .text.ends_with("[changed in its copy, not in yours:]\n"));
  CHECK(std::filesystem::is_empty(temp.File("data/worktrees")));
  request = Scripted("bare", R"(flow("f", function()
    local ok, why = pcall(function() return session.current():fork { worktree = true } end)
    return why
  end))");
  REQUIRE_OK(runtime->CreateSession(request));
  CHECK(End(*runtime, "bare", Start(*runtime, "bare")).text.find("no workspace that could be") !=
        std::string::npos);
}

constexpr char kNested[] = R"(
local s = session.current()
tool "nest" { about = "Forks.", args = { own = bool "With a worktree" }, run = function(a)
  local kid = s:fork { label = "inner", worktree = a.own, clean = true }
  local text = kid:call("read", { path = "new.txt" }).content
  kid:call("write", { path = "inner.txt", content = "inner\n" })
  return { id = kid.id, text = text, diff = a.own and kid:diff() or "" }
end }
flow("nested", function(f, input)
  if input:find("^bash") then return s:call("bash", { command = input:sub(6) }).content end
  if input:find("%.txt$") then return s:call("read", { path = input }).content end
  local kid = s:fork { worktree = true }
  kid:call("write", { path = "new.txt", content = "outer\n" })
  local inner = {}
  for name, own in pairs { own = true, shared = false } do
    inner[name] = baleen.json.decode(kid:call("nest", { own = own }).content)
  end
  local diff = kid:diff()
  if input == "close" then kid:close() end
  return { kid = kid.id, inner = inner, diff = diff }
end))";

TEST_CASE("AForkOfAForkCopiesItsCopyOrSharesIt") {
  const TempDirectory temp;
  temp.Write("work/a.txt", "a\n");
  auto runtime = OpenRuntime(Options(temp));
  const auto run = [&](const std::string& id, const std::string& input) {
    const TurnView view = End(*runtime, id, Start(*runtime, id, input));
    CAPTURE(view.error.ToString());
    REQUIRE(view.state == TurnState::kSucceeded);
    return view.text;
  };
  const auto nested = [&](const std::string& id, const std::string& input) {
    auto request = Scripted(id, kNested);
    request.settings.workspace = temp.File("work");
    request.settings.tools = {"write", "bash"};
    request.settings.policy.rules = {{"*", "", "allow", ""}};
    REQUIRE_OK(runtime->CreateSession(request));
    return Parse(run(id, input));
  };
  const auto tree = [&](const std::string& fork) { return temp.File("data/worktrees/" + fork); };
  const auto sweep_without = [&](const std::string& fork) {
    DeleteRequest gone;
    gone.session = fork;
    REQUIRE_OK(runtime->DeleteSession(gone));
    REQUIRE_OK(runtime->Compact());  // runs the upkeep
  };
  auto result = nested("s", "go");
  const std::string kid = result["kid"], own = result["inner"]["own"]["id"],
                    shared = result["inner"]["shared"]["id"];
  for (const char* name : {"own", "shared"}) {
    CHECK(result["inner"][name]["text"].get<std::string>().find("outer") != std::string::npos);
  }
  // One's own begins as the outer copy is; what is done in it is nobody else's.
  CHECK(Must(runtime->GetSession(own)).settings.workspace == tree(own) + "/tree");
  const std::string inner_diff = result["inner"]["own"]["diff"];
  CHECK(inner_diff.find("+inner") != std::string::npos);
  CHECK(inner_diff.find("new.txt") == std::string::npos);
  CHECK(Must(runtime->GetSession(shared)).settings.workspace == tree(kid) + "/tree");
  CHECK(result["diff"].get<std::string>().find("b/inner.txt") != std::string::npos);
  CHECK(!std::filesystem::exists(temp.File("work/new.txt")));
  // A copy stays as long as somebody works in it, whoever it was made for.
  sweep_without(kid);
  CHECK(run(shared, "new.txt").find("outer") != std::string::npos);
  CHECK(run(own, "inner.txt").find("inner") != std::string::npos);
  sweep_without(shared);
  CHECK(!std::filesystem::exists(tree(kid)));
  CHECK(std::filesystem::exists(tree(own)));
  sweep_without(own);
  CHECK(std::filesystem::is_empty(temp.File("data/worktrees")));
  // Where its owner has closed it, who shared it is told so.
  result = nested("closes", "close");
  const std::string left = result["inner"]["shared"]["id"];
  const std::string closed =
      "the worktree of fork '" + result["kid"].get<std::string>() + "' was closed";
  for (int opened = 0; opened < 2; ++opened) {
    CHECK(run(left, "new.txt").find(closed) != std::string::npos);
    CHECK(run(left, "bash ls").find(closed) != std::string::npos);
    runtime.reset();
    runtime = OpenRuntime(Options(temp));
  }
}

TEST_CASE("AForksTurnAsksUnderItsParentAndEndsWithIt") {
  const TempDirectory temp;
  auto runtime = OpenRuntime(Options(temp));
  auto request = Scripted("s", R"(
    tool "risky" { about = "Risky.", run = function() return "done" end }
    flow("x", function(f)
      local kid = session.current():fork {}
      return kid:call("risky").content
    end))");
  request.settings.policy.rules = {{"risky", "", "ask", "it is risky"}};
  REQUIRE_OK(runtime->CreateSession(request));
  const auto asked = [&] {
    while (true) {
      auto waiting = Must(runtime->ListApprovals({"s", false}));
      if (!waiting.empty()) return waiting.at(0);
      std::this_thread::yield();
    }
  };
  std::string turn = Start(*runtime, "s");
  ApprovalView approval = asked();
  CHECK(approval.session != "s");
  CHECK(approval.requester == "s/t1/" + approval.session + "/t2");
  CHECK(Must(runtime->GetTurn("s", turn)).waiting_on == "SUBAGENT");
  runtime.reset();
  runtime = OpenRuntime(Options(temp));
  approval = asked();
  Answer(*runtime, approval, true);
  CHECK(End(*runtime, "s", turn).text == "done");

  turn = Start(*runtime, "s");
  approval = asked();
  REQUIRE_OK(runtime->CancelTurn("s", turn));
  CHECK(End(*runtime, "s", turn).state == TurnState::kCancelled);
  CHECK(End(*runtime, approval.session, approval.turn).state == TurnState::kCancelled);
}

TEST_CASE("WhoWatchesATurnHearsAtOnceOfWhatASubagentAsks") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  // Before the first heartbeat, which a machine that is very busy may send all the same.
  bool at_once = false;
  for (int attempt = 0; attempt < 5 && !at_once; ++attempt) {
    const std::string id = "s" + std::to_string(attempt);
    auto request = Scripted(id, R"(
      tool "nest" { about = "Forks.", run = function()
        return session.current():fork { clean = true }:call("pay", { x = 1 }).content
      end }
      flow("f", function()
        return session.current():fork { clean = true }:call("nest", {}).content
      end))");
    request.settings.policy.rules = {{"pay", "", "ask", "it costs"}};
    REQUIRE_OK(runtime->CreateSession(request));
    Recorder recorder;
    const auto watching = Must(runtime->Watch({id, "", true}, &recorder));
    const std::string turn = Start(*runtime, id);
    std::string told;
    while (told.empty()) {
      const auto waits = recorder.Of("waiting");
      for (const Event& wait : waits) {
        if (wait.payload.find("APPROVAL") != std::string::npos) told = wait.payload;
      }
      if (told.empty()) REQUIRE(recorder.WaitFor("waiting", std::ssize(waits) + 1));
    }
    CHECK(Parse(told)["waiting_on"] == "SUBAGENT");
    REQUIRE_OK(runtime->CancelTurn(id, turn));
    REQUIRE(recorder.WaitFor("turn_finished"));  // and with it all that was told before
    at_once = recorder.Of("heartbeat").empty();
  }
  CHECK(at_once);
}

TEST_CASE("ForksThatRunAtOnceAskTogetherAndEachEndsByItself") {
  const TempDirectory temp;
  auto runtime = OpenRuntime(Options(temp));
  auto request = Scripted("s", R"(
    tool "risky" { about = "Risky.", args = { n = int() }, run = function(a) return "done " .. a.n end }
    flow("x", { budget = { tool_calls = 30 } }, function(f)
      return f:each({ 1, 2, 3 }, { at_once = 3 }, function(n)
        local kid = session.current():fork { label = "kid " .. n }
        return { kid:call("risky", { n = n }).content, kid.usage.tool_calls }
      end)
    end))");
  request.settings.policy.rules = {{"risky", "", "ask", "it is risky"}};
  REQUIRE_OK(runtime->CreateSession(request));
  const auto asked = [&] {
    while (true) {
      auto waiting = Must(runtime->ListApprovals({"s", false}));
      if (waiting.size() == 3) return waiting;
      std::this_thread::yield();
    }
  };
  std::string turn = Start(*runtime, "s");
  auto approvals = asked();
  for (const ApprovalView& approval : approvals) {
    CHECK(approval.requester == "s/t1/" + approval.session + "/t2");
    // Together they may spend what the flow may.
    CHECK(Must(runtime->GetTurn(approval.session, approval.turn)).budget.tool_calls == 10);
  }
  const TurnView waits = Must(runtime->GetTurn("s", turn));
  CHECK(waits.waiting_on == "SUBAGENT");
  CHECK(waits.waiting_detail.find(" and 2 more") != std::string::npos);
  // One has ended when the process does; the others still wait.
  Answer(*runtime, approvals[1], true);
  REQUIRE(End(*runtime, approvals[1].session, approvals[1].turn).state == TurnState::kSucceeded);
  runtime.reset();
  runtime = OpenRuntime(Options(temp));
  while (Must(runtime->ListApprovals({"s", false})).size() != 2) std::this_thread::yield();
  Answer(*runtime, approvals[2], true);
  Answer(*runtime, approvals[0], false, "not this one");
  const TurnView ended = End(*runtime, "s", turn);
  CAPTURE(ended.error.ToString());
  const auto result = nlohmann::json::parse(ended.text);
  std::vector<std::string> texts;
  for (const auto& item : result) texts.push_back(item.at(0));
  std::sort(texts.begin(), texts.end());
  CHECK(texts[0].find("not this one") != std::string::npos);
  CHECK(texts[1].starts_with("done "));
  CHECK(texts[2].starts_with("done "));
  CHECK(ended.spend.tool_calls == 3);
  CHECK(Count(*runtime, "s", "turn_started") == 1);

  turn = Start(*runtime, "s");
  approvals = asked();
  REQUIRE_OK(runtime->CancelTurn("s", turn));
  CHECK(End(*runtime, "s", turn).state == TurnState::kCancelled);
  for (const ApprovalView& approval : approvals) {
    CHECK(End(*runtime, approval.session, approval.turn).state == TurnState::kCancelled);
  }
}

TEST_CASE("AForkSpendsNoMoreThanItsParentHasLeft") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  auto request = Scripted("s", R"(flow("x", { budget = { tokens = 200 } }, function(f)
    local kid = session.current():fork {}
    local answer, why = kid:ask("Say something long", { max_tokens = 1000, tools = "none" })
    return tostring(why)
  end))");
  request.settings.sampling.seed = 3;
  REQUIRE_OK(runtime->CreateSession(request));
  const std::string turn = Start(*runtime, "s");
  ApprovalView asked;
  while (asked.approval.empty()) {
    for (ApprovalView& waiting : Must(runtime->ListApprovals({"s", false}))) asked = waiting;
    const TurnView view = Must(runtime->GetTurn("s", turn));
    if (view.state != TurnState::kRunning) break;  // it stopped by itself before
    std::this_thread::yield();
  }
  if (asked.approval.empty()) return;
  CHECK(asked.subject == "budget");
  CHECK(asked.session != "s");
  CHECK(asked.budget.limit == 200);
  Answer(*runtime, asked, false);
  CHECK(End(*runtime, "s", turn).text.find("budget of tokens is spent") != std::string::npos);
}

}  // namespace
}  // namespace baleen
