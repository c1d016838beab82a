// Items of a flow that run at once: which effects come when, and what errors and limits do.
#include <catch2/catch.hpp>
#include <map>

#include "tests/agent/script_run.h"

namespace baleen {
namespace {

/// A flow over the items 1 to `count`, `at_once` of them at a time, that finishes with its results.
ScriptRun Flow(const std::string& verb, int count, int at_once, const std::string& body) {
  return ScriptRun("local s = session.current()\nflow('x', function(f)\n  local items = {}\n" +
                   std::string("  for i = 1, ") + std::to_string(count) + " do items[i] = i end\n" +
                   "  return { f:" + verb + "(items, { at_once = " + std::to_string(at_once) +
                   " }, function(item, i)\n" + body + "\n  end) }\nend)");
}

/// "fork LABEL", "turns ID:TEXT ID:TEXT", "call NAME", "finish TEXT" ...
std::string Told(const ScriptRun& run) {
  if (!run.status.ok()) return run.status.ToString();
  if (const auto* fork = std::get_if<ForkEffect>(&run.effect)) return "fork " + fork->label;
  if (const auto* children = std::get_if<ChildTurnsEffect>(&run.effect)) {
    std::string text = "turns";
    for (const ChildTurn& turn : children->turns) {
      text += " " + turn.session + (turn.runs ? " runs" : ":" + turn.text);
    }
    return text;
  }
  if (const auto* stop = std::get_if<StopTurnsEffect>(&run.effect)) {
    std::string text = "stop";
    for (const std::string& session : stop->sessions) text += " " + session;
    return text;
  }
  if (const auto* worktree = std::get_if<WorktreeEffect>(&run.effect)) {
    return (worktree->removes ? "remove " : "diff ") + worktree->session;
  }
  if (const auto* calls = std::get_if<CallToolsEffect>(&run.effect)) {
    return "call " + calls->calls[0].name + " " + calls->calls[0].id;
  }
  if (const auto* account = std::get_if<AccountEffect>(&run.effect)) {
    return account->opens ? "open" : "close";
  }
  if (std::holds_alternative<GenerateEffect>(run.effect)) return "generate";
  if (std::holds_alternative<SleepEffect>(run.effect)) return "sleep";
  return "finish " + std::get<FinishEffect>(run.effect).text;
}

/// Which of the turns that run ends first; "": all at once.
using Order = std::vector<std::string>;

/// Ends of the turns that run: of all, or of the one whose turn it is by `order`.
ChildTurnsEvent EndsOf(const std::vector<ChildTurn>& turns, const std::string& failing,
                       std::map<std::string, std::string>& texts, Order& order) {
  for (const ChildTurn& turn : turns) {
    if (!turn.runs) texts[turn.session] = turn.text;
  }
  const std::string first = order.empty() ? "" : order.front();
  if (!order.empty()) order.erase(order.begin());
  ChildTurnsEvent ends;
  for (const ChildTurn& turn : turns) {
    ends.ends.emplace_back();
    if (!first.empty() && turn.session != first) continue;
    ends.ends.back() = {turn.session != failing,
                        turn.session + " " + texts[turn.session],
                        "it failed",
                        10,
                        1,
                        0,
                        0};
  }
  return ends;
}

/// Answers whatever it asks for, until it finishes: what it asked for. Forks are called after their
/// labels, and say what they were told; a call says its id.
std::vector<std::string> RunAll(ScriptRun& run, const std::string& failing = "", Order order = {}) {
  std::vector<std::string> told;
  std::map<std::string, std::string> texts;
  AgentEvent answer = UserTurnEvent{"go"};
  while (run.Step(answer)) {
    told.push_back(Told(run));
    REQUIRE(told.size() < 1000);
    if (std::holds_alternative<FinishEffect>(run.effect)) return told;
    if (const auto* fork = std::get_if<ForkEffect>(&run.effect)) {
      answer = ForkedEvent{fork->label};
    } else if (const auto* children = std::get_if<ChildTurnsEffect>(&run.effect)) {
      answer = EndsOf(children->turns, failing, texts, order);
    } else if (const auto* stop = std::get_if<StopTurnsEffect>(&run.effect)) {
      ChildTurnsEvent ends;
      ends.ends.resize(stop->sessions.size(), ChildTurnEnd{false, "", "cancelled", 1, 1, 0, 0});
      answer = ends;
    } else if (std::holds_alternative<WorktreeEffect>(run.effect)) {
      answer = WorktreeEvent{"a diff", ""};
    } else if (const auto* calls = std::get_if<CallToolsEffect>(&run.effect)) {
      answer = ToolResultsEvent{{{calls->calls[0].id, ToolOutcome::kOk, calls->calls[0].id, 0}}};
    } else if (std::holds_alternative<AccountEffect>(run.effect)) {
      answer = AccountEvent{};
    } else if (std::holds_alternative<SleepEffect>(run.effect)) {
      answer = ClockEvent{1000};
    } else {
      GeneratedEvent said;
      said.message.role = Role::kAssistant;
      said.message.content = "said";
      answer = said;
    }
  }
  told.push_back(run.status.ToString());
  return told;
}

using Lines = std::vector<std::string>;

TEST_CASE("ForksOfItemsThatRunAtOnceAreAskedTogether") {
  ScriptRun run = Flow("each", 3, 2, R"(
    local kid = s:fork { label = "k" .. i }
    local first = kid:ask("a" .. item)
    return first .. "+" .. kid:ask("b" .. item) .. " " .. kid.usage.tokens)");
  CHECK(RunAll(run) == Lines{"fork k1", "fork k2", "turns k1:a1 k2:a2", "turns k1:b1 k2:b2",
                             "fork k3", "turns k3:a3", "turns k3:b3",
                             R"(finish [["k1 a1+k1 b1 20","k2 a2+k2 b2 20","k3 a3+k3 b3 20"]])"});
}

TEST_CASE("ItemsOfUnequalLengthFillUpAsTheyEnd") {
  ScriptRun run = Flow("each", 4, 2, R"(
    local kid = s:fork { label = "k" .. i }
    for n = 1, i == 1 and 3 or 1 do kid:ask(tostring(n)) end
    if i ~= 2 then return i end)");
  CHECK(RunAll(run) == Lines{"fork k1", "fork k2", "turns k1:1 k2:1", "fork k3", "turns k1:2 k3:1",
                             "fork k4", "turns k1:3 k4:1", R"(finish [{"1":1,"3":3,"4":4}])"});
}

TEST_CASE("OtherEffectsOfItemsComeOneAtATimeInTheirOrder") {
  ScriptRun run = Flow("each", 2, 2, R"(
    local kid = s:fork { label = "k" .. i }
    kid:ask("x")
    f:sleep("1s")
    local content = s:call("read", { path = tostring(i) }).content
    local ok, why = pcall(function() local said = kid:ask("y"); error("mine " .. said, 0) end)
    return content .. " " .. s:ask("?", { budget = { tokens = 9 } }) .. " " .. why)");
  CHECK(RunAll(run) == Lines{"fork k1", "fork k2", "turns k1:x k2:x", "sleep", "call read c1",
                             "sleep", "call read c2", "turns k1:y k2:y", "open", "generate",
                             "close", "open", "generate", "close",
                             R"(finish [["c1 said mine k1 y","c2 said mine k2 y"]])"});
}

TEST_CASE("OneForkRunsOneTurnAtATime") {
  ScriptRun run(R"(flow("x", function(f)
    local kid = session.current():fork { label = "k" }
    return f:each({ 1, 2 }, { at_once = 2 }, function(i) return kid:ask(tostring(i)) end)
  end))");
  CHECK(RunAll(run) == Lines{"fork k", "turns k:1", "turns k:2", R"(finish ["k 1","k 2"])"});
}

TEST_CASE("TheFirstItemThatGivesSomethingEndsARaceThatRunsAtOnce") {
  ScriptRun run = Flow("race", 4, 2, R"(
    local kid = s:fork { label = "k" .. i }
    local said = kid:ask("a")
    return i >= 2 and said)");
  // Both were asked; the third item begins when the first has given nothing.
  CHECK(RunAll(run) ==
        Lines{"fork k1", "fork k2", "turns k1:a k2:a", "fork k3", R"(finish ["k2 a",2])"});
  ScriptRun none = Flow("race", 3, 8, "return false");
  CHECK(RunAll(none) == Lines{"finish {}"});
}

TEST_CASE("AnErrorInOneItemEndsAllAndTheNextListBeginsAnew") {
  ScriptRun run(R"(flow("x", function(f)
    local s = session.current()
    local function item(i)
      local kid = s:fork { label = "k" .. i }
      local said = kid:ask("a")
      if not said then error("no answer of " .. i) end
      return pcall(pcall, function() return kid:ask("b") end) and i
    end
    local ok, why = pcall(f.each, f, { 1, 2, 3 }, { at_once = 3 }, item)
    return { ok, why, f:each({ 4, 5 }, { at_once = 2 }, function(i) return i end) }
  end))");
  CHECK(RunAll(run, "k2") == Lines{"fork k1", "fork k2", "fork k3", "turns k1:a k2:a k3:a",
                                   R"(finish [false,"script.lua:6: no answer of 2",[4,5]])"});
}

TEST_CASE("AnItemGoesOnWhenItsOwnForkHasEnded") {
  ScriptRun run = Flow("each", 3, 2, R"(
    local kid = s:fork { label = "k" .. i }
    return kid:ask("a") .. "+" .. kid:ask("b"))");
  // The second is done, and the third item begins, while the first one's turn still runs.
  CHECK(RunAll(run, "", {"k2", "k2", "k1", "k3", "k1", ""}) ==
        Lines{"fork k1", "fork k2", "turns k1:a k2:a", "turns k1 runs k2:b", "fork k3",
              "turns k1 runs k3:a", "turns k1:b k3 runs", "turns k1 runs k3:b", "turns k3 runs",
              R"(finish [["k1 a+k1 b","k2 a+k2 b","k3 a+k3 b"]])"});
}

TEST_CASE("WhatTheLosersOfARaceDoIsStoppedAndTheirForksAreClosed") {
  ScriptRun run = Flow("race", 3, 3, R"(
    local kid <close> = s:fork { label = "k" .. i, worktree = i > 1 }
    return kid:ask("a"))");
  CHECK(RunAll(run, "", {"k2"}) == Lines{"fork k1", "fork k2", "fork k3", "turns k1:a k2:a k3:a",
                                         "remove k2", "stop k1 k3", "remove k3",
                                         R"(finish ["k2 a",2])"});
  // Nothing is stopped that runs no more.
  ScriptRun last = Flow("race", 2, 2, R"(
    return s:fork { label = "k" .. i }:ask("a") and i == 2)");
  CHECK(RunAll(last, "", {"k1", "k2"}) ==
        Lines{"fork k1", "fork k2", "turns k1:a k2:a", "turns k2 runs", "finish [true,2]"});
}

TEST_CASE("AnErrorInOneItemStopsWhatTheOthersDo") {
  ScriptRun run(R"(flow("x", function(f)
    local s = session.current()
    local ok, why = pcall(f.each, f, { 1, 2, 3 }, { at_once = 3 }, function(i)
      local kid <close> = s:fork { label = "k" .. i, worktree = true }
      if not kid:ask("a") then error("no answer of " .. i) end
      return kid:ask("b")
    end)
    return { ok, why, s:fork { label = "next" }:ask("c") }
  end))");
  CHECK(RunAll(run, "k2", {"k1", "k2"}) ==
        Lines{"fork k1", "fork k2", "fork k3", "turns k1:a k2:a k3:a", "turns k1:b k2 runs k3 runs",
              "remove k2", "stop k1 k3", "remove k1", "remove k3", "fork next", "turns next:c",
              R"(finish [false,"script.lua:5: no answer of 2","next c"])"});
}

TEST_CASE("AScriptThatHasUsedUpItsLimitsStopsNothingItself") {
  ScriptRun run = Flow("each", 2, 2, R"(
    s:fork { label = "k" .. i }:ask("x")
    while true do pcall(error) end)");
  run.options.instructions_max = 1'000'000;
  const Lines told = RunAll(run, "", {"k1"});
  CHECK(told.size() == 4);
  CHECK(told.back().starts_with("RESOURCE_EXHAUSTED"));
}

TEST_CASE("EndsThatFitNoStepAreRefused") {
  ScriptRun run = Flow("race", 2, 2, R"(return s:fork { label = "k" .. i }:ask("a"))");
  REQUIRE(run.Step(UserTurnEvent{"go"}));
  REQUIRE(run.Step(ForkedEvent{"k1"}));
  REQUIRE(run.Step(ForkedEvent{"k2"}));
  const ChildTurnEnd end{true, "done", "", 1, 1, 0, 0};
  CHECK_FALSE(run.agent->Resume(ChildTurnsEvent{{end}}).ok());
  CHECK_FALSE(run.agent->Resume(ChildTurnsEvent{{std::nullopt, std::nullopt}}).ok());
  REQUIRE(run.Step(ChildTurnsEvent{{end, std::nullopt}}));
  REQUIRE(std::get<StopTurnsEffect>(run.effect).sessions == std::vector<std::string>{"k2"});
  CHECK_FALSE(run.agent->Resume(ChildTurnsEvent{{std::nullopt}}).ok());
  REQUIRE(run.Step(ChildTurnsEvent{{end}}));
}

TEST_CASE("WithinAnItemListsRunOneAfterTheOther") {
  ScriptRun run = Flow("each", 2, 2, R"(
    return f:each({ "a", "b" }, { at_once = 2 }, function(name)
      return s:fork { label = name .. i }:ask("x")
    end))");
  CHECK(RunAll(run) == Lines{"fork a1", "fork a2", "turns a1:x a2:x", "fork b1", "fork b2",
                             "turns b1:x b2:x", R"(finish [[["a1 x","b1 x"],["a2 x","b2 x"]]])"});
}

TEST_CASE("WhatWrapsAnItemsForkIsNotInterleaved") {
  // Budgets nest, and `tools` of an s:ask holds for all within: no other item comes in between.
  ScriptRun run(R"(
    local s = session.current()
    tool "look" { about = "x", run = function() return s:fork { label = "deep" }:ask("x") end }
    local inner = flow("inner", { budget = { tokens = 9 } }, function(f, i)
      return s:fork { label = "in" .. i }:ask("y")
    end)
    local outer = flow("outer", function(f)
      return f:each({ 1, 2 }, { at_once = 2 }, function(i) return inner(i) end)
    end)
    return function(message) return outer(message) end)");
  CHECK(RunAll(run) == Lines{"open", "fork in1", "turns in1:y", "close", "open", "fork in2",
                             "turns in2:y", "close", R"(finish ["in1 y","in2 y"])"});
}

TEST_CASE("AtOnceIsFromOneToEight") {
  for (const char* const wrong : {"0", "9", "1.5", "'2'", "{}"}) {
    CAPTURE(wrong);
    ScriptRun run(std::string("flow('x', function(f) return f:each({ 1 }, { at_once = ") + wrong +
                  " }, function() end) end)");
    CHECK_FALSE(run.Step(UserTurnEvent{"go"}));
    CHECK(run.status.message().find("'at_once' must be") != std::string::npos);
  }
  ScriptRun empty = Flow("each", 0, 8, "return i");
  CHECK(RunAll(empty) == Lines{"finish [{}]"});
}

TEST_CASE("LimitsHoldInItemsThatRunAtOnce") {
  // Endless work in one, behind a pcall that must not outlive it.
  ScriptRun busy = Flow("each", 2, 2, R"(
    s:fork { label = "k" .. i }:ask("x")
    if i == 2 then pcall(function() while true do end end) end
    while true do pcall(error) end)");
  busy.options.instructions_max = 1'000'000;
  CHECK(RunAll(busy).back().starts_with("RESOURCE_EXHAUSTED"));

  ScriptRun hungry = Flow("each", 2, 2, R"(
    local kid, held = s:fork { label = "k" .. i }, {}
    kid:ask("x")
    while true do held[#held + 1] = ("x"):rep(100000) .. #held end)");
  CHECK(RunAll(hungry).back().starts_with("RESOURCE_EXHAUSTED"));

  // Deep recursion in a thread of its own, caught, again and again.
  ScriptRun deep = Flow("each", 2, 2, R"(
    s:fork { label = "k" .. i }:ask("x")
    local function dive(n) return n + dive(n) end
    for n = 1, 50 do pcall(dive, n) end
    return "up")");
  const Lines told = RunAll(deep);
  CHECK(
      (told.back() == R"(finish [["up","up"]])" || told.back().starts_with("RESOURCE_EXHAUSTED")));

  // A pcall that other items' ends never leave behind: its depth is counted per item.
  ScriptRun nested = Flow("race", 400, 8, R"(
    local kid = s:fork { label = "k" .. i }
    return pcall(pcall, function() kid:ask("x"); if i < 400 then error("no") end end) and i == 400 and i)");
  CHECK(RunAll(nested).back() == "finish [400,400]");
}

TEST_CASE("NothingOfItsBranchesIsLeftWhenAScriptIsReplayed") {
  const std::string body = R"(
    local kid = s:fork { label = "k" .. i .. baleen.random(1, 9) }
    local order = {}
    for name in pairs({ b = 1, a = 2, [i] = 3 }) do order[#order + 1] = tostring(name) end
    kid:ask(table.concat(order, ","))
    return baleen.random(1, 1000000))";
  ScriptRun first = Flow("each", 5, 3, body);
  ScriptRun second = Flow("each", 5, 3, body);
  CHECK(RunAll(first) == RunAll(second));
}

}  // namespace
}  // namespace baleen
