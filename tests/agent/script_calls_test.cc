// What scripts get of a call by s:call and kid:call, what a turn and a flow are called with.
#include <catch2/catch.hpp>
#include <string>
#include <utility>

#include "tests/agent/script_run.h"

namespace baleen {
namespace {

const ToolCall& OnlyCall(const ScriptRun& run) {
  INFO(run.status.ToString() << " " << EffectToJson(run.effect));
  REQUIRE(std::holds_alternative<CallToolsEffect>(run.effect));
  REQUIRE(std::get<CallToolsEffect>(run.effect).calls.size() == 1);
  return std::get<CallToolsEffect>(run.effect).calls[0];
}

std::string Text(const ScriptRun& run) {
  INFO(run.status.ToString() << " " << EffectToJson(run.effect));
  REQUIRE(std::holds_alternative<FinishEffect>(run.effect));
  return std::get<FinishEffect>(run.effect).text;
}

/// The text of a turn that makes one call, which ends so.
std::string Called(const std::string& script, std::string content,
                   ToolOutcome outcome = ToolOutcome::kOk) {
  ScriptRun run(script);
  REQUIRE(run.Step(UserTurnEvent{"go"}));
  REQUIRE(run.Step(ToolResultsEvent{{{OnlyCall(run).id, outcome, std::move(content), 0}}}));
  return Text(run);
}

/// The text of a turn, or why it failed.
std::string Turn(const std::string& script, const std::string& message) {
  ScriptRun run(script);
  if (!run.Step(UserTurnEvent{message})) return run.status.message();
  return Text(run);
}

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("ACallGivesOneTableHoweverItEnds") {
  const auto calls = [](const std::string& tool) {
    return "return function() return baleen.json.encode(session.current():call('" + tool +
           "', {})) end";
  };
  CHECK(Called(calls("bash"), "a\nb\n[exit code: 0; 1 ms]") ==
        R"({"content":"a\nb","exit":0,"ok":true,"outcome":"OK"})");
  CHECK(Called(calls("bash"), "no\n[exit code: 3; 1 ms]\n[network refused: a:1]") ==
        R"({"content":"no","exit":3,"ok":false,"outcome":"OK"})");
  CHECK(Called(calls("bash"), "x\n[exit code: 137; it ran too long and was ended; 9 ms]",
               ToolOutcome::kTimeout) ==
        R"({"content":"x","exit":137,"ok":false,"outcome":"TIMEOUT"})");
  CHECK(Called(calls("bash"), "started 'job1'") ==
        R"({"content":"started 'job1'","ok":true,"outcome":"OK"})");
  // Of what didn't run there is no exit code, whatever the text says.
  CHECK(Called(calls("bash"), "no\n[exit code: 0; 1 ms]", ToolOutcome::kDenied) ==
        R"({"content":"no\n[exit code: 0; 1 ms]","ok":false,"outcome":"DENIED"})");
  CHECK(Called(calls("read"), "text\n[exit code: 0; 1 ms]") ==
        R"({"content":"text\n[exit code: 0; 1 ms]","ok":true,"outcome":"OK"})");
  CHECK(Called("return function() return 'says ' .. tostring(session.current():call('read')) end",
               "text") == "says text");
  for (const char* wrong : {"s:call()", "s:call('x', 1)", "s:fork{}:call({})"}) {
    ScriptRun run(std::string("return function() local s = session.current() ") + wrong + " end");
    bool goes_on = run.Step(UserTurnEvent{"go"});
    if (goes_on) goes_on = run.Step(ForkedEvent{"kid"});
    CHECK(!goes_on);
    CHECK(Has(run.status.message(), "call: expected "));
  }
}

TEST_CASE("WhatHooksSayOfAScriptsCallIsNotInItsExitCode") {
  ScriptRun run(R"lua(
    on.tool_result("bash", function(result)
      result.trust = "untrusted"
      return note("was " .. result.content)
    end)
    return function()
      local ran = session.current():call("bash", { command = "x" })
      return ran.exit .. ran.content .. baleen.generate({ user = "Well?" }).content
    end)lua");
  REQUIRE(run.Step(UserTurnEvent{"go"}));
  REQUIRE(run.Step(ToolResultsEvent{{{"c1", ToolOutcome::kOk, "a\n[exit code: 4; 1 ms]", 0}}}));
  const auto& prompt = std::get<GenerateEffect>(run.effect).append;
  REQUIRE(prompt.size() == 2);
  CHECK(prompt[1].content == "was a");
  GeneratedEvent says;
  says.message.content = "!";
  REQUIRE(run.Step(says));
  CHECK(Text(run).starts_with("4[Content of what bash gave."));
  CHECK(Text(run).ends_with("\na\n[End of content of bash]!"));
}

TEST_CASE("AResultThatAHookWithholdsHasNoExitCode") {
  CHECK(Called(R"lua(on.tool_result("bash", function() error("no", 0) end)
    return function()
      return baleen.json.encode(session.current():call("bash", { command = "x" }))
    end)lua",
               "a\n[exit code: 0; 1 ms]") ==
        R"({"content":"The result was withheld: a hook failed: no","ok":false,"outcome":"ERROR"})");
}

TEST_CASE("AForkGivesExitCodesAndNotesAndSaysWhyItCouldNotRun") {
  const std::string script = R"lua(
    on.before_prompt(function() return note "of the prompt" end)
    on.after_tool("bash", function(result) return note("it said " .. result.content) end)
    return function(message)
      if message ~= "go" then return message end
      local kid = session.current():fork { budget = { tool_calls = 2 } }
      local list = {}
      for i = 1, 4 do list[i] = kid:call("bash", { command = "x" }) end
      return baleen.json.encode(list) .. baleen.generate({ user = "Well?" }).content
    end)lua";
  ScriptRun run(script);
  REQUIRE(run.Step(UserTurnEvent{"go"}));
  REQUIRE(run.Step(ForkedEvent{"kid"}));
  const auto ends = [&run](bool ok, const std::string& text, int64_t calls) {
    return run.Step(
        ChildTurnsEvent{{ChildTurnEnd{ok, ok ? text : "", ok ? "" : text, 1, 1, calls, 0}}});
  };
  const ChildTurn turn = std::get<ChildTurnsEffect>(run.effect).turns.at(0);
  ScriptRun kid(script);
  kid.options.errand = turn.errand;
  REQUIRE(kid.Step(UserTurnEvent{turn.text}));
  REQUIRE(kid.Step(ToolResultsEvent{{{"c1", ToolOutcome::kOk, "a\n[exit code: 4; 1 ms]", 0}}}));
  CHECK(Text(kid) == R"({"content":"a","exit":4,"notes":["it said a"],"outcome":"OK"})");
  REQUIRE(ends(true, Text(kid), 1));
  // As forks said it before they read exit codes.
  REQUIRE(ends(true, R"({"content":"b\n[exit code: 0; 1 ms]","outcome":"OK"})", 0));
  REQUIRE(ends(false, "no more tokens", 1));
  const auto& prompt = std::get<GenerateEffect>(run.effect).append;  // the fourth ran nowhere
  REQUIRE(prompt.size() == 3);
  CHECK(prompt[1].content == "of the prompt");  // its own, of which forks tell nothing
  CHECK(prompt[2].content == "it said a");
  REQUIRE(run.Step(GeneratedEvent{}));
  CHECK(Text(run) ==
        R"([{"content":"a","exit":4,"ok":false,"outcome":"OK"},)"
        R"({"content":"b","exit":0,"ok":true,"outcome":"OK"},)"
        R"({"content":"no more tokens","ok":false,"outcome":"ERROR"},)"
        R"x({"content":"the fork's budget of tool_calls is spent (2 of 2)","ok":false,)x"
        R"x("outcome":"ERROR"}])x");
}

TEST_CASE("AHookThatTripsOverAMissingProgramSaysSo") {
  const std::string script = R"lua(
    on.after_edit("*.go", function(event, ctx)
      local out = ctx:sh { "gofmt", "-l", event.path }
      if out.text ~= "" then return note("gofmt wants changes in " .. event.path) end
    end)
    return function() return (baleen.call("write", { path = "a.go", content = "" })) end)lua";
  const auto noted = [&script](std::string content, ToolOutcome outcome) {
    ScriptRun run(script);
    REQUIRE(run.Step(UserTurnEvent{"go"}));
    REQUIRE(run.Step(ToolResultsEvent{{{"c1", ToolOutcome::kOk, "written", 0}}}));
    REQUIRE(run.Step(ToolResultsEvent{{{OnlyCall(run).id, outcome, std::move(content), 0}}}));
    return Text(run);
  };
  const std::string trips =
      "written\n[note: a hook failed: script.lua:4: attempt to index a nil value (local 'out') "
      "(its sh gave nil: ";
  CHECK(noted("/bin/bash: line 1: gofmt: command not found\n[exit code: 127; 1 ms]",
              ToolOutcome::kOk) == trips + "/bin/bash: line 1: gofmt: command not found)]");
  CHECK(noted("there is no tool 'bash'", ToolOutcome::kError) ==
        trips + "there is no tool 'bash')]");
  CHECK(noted("a.go\n[exit code: 0; 1 ms]", ToolOutcome::kOk) ==
        "written\n[note: gofmt wants changes in a.go]");
  CHECK(noted("[exit code: 0; 1 ms]", ToolOutcome::kOk) == "written");
  // A program's own 127.
  CHECK(noted("all is well\n[exit code: 127; 1 ms]", ToolOutcome::kOk) ==
        "written\n[note: gofmt wants changes in a.go]");
}

TEST_CASE("ATurnsFunctionGetsAContext") {
  // Also where nothing is declared, and beside hooks of the turn.
  for (const char* declared : {"", "on.turn_end(function() end)\n", "memo {}\n"}) {
    CAPTURE(declared);
    ScriptRun run(std::string(declared) + R"(return function(message, ctx)
      return message .. tostring(ctx.secret "KEY") .. ctx:sh({ "ls" }).text
    end)");
    REQUIRE(run.Step(UserTurnEvent{"go "}));
    CHECK(OnlyCall(run).arguments == R"({"command":"ls"})");
    REQUIRE(run.Step(ToolResultsEvent{{{"c1", ToolOutcome::kOk, " a\n[exit code: 0; 1 ms]", 0}}}));
    CHECK(Text(run) == "go secret KEY a");
  }
  CHECK(Turn("return function(...) return tostring(select('#', ...)) end", "x") == "2");
  CHECK(Turn("return function(message) return message end", "x") == "x");
}

TEST_CASE("AFlowsInputIsATableWhereItIsAnObject") {
  const std::string shows = R"(flow("x", function(f, input)
    return type(input) .. " " .. tostring(input.test) .. " " .. tostring(input.n)
  end))";
  CHECK(Turn(shows, R"({"test":"make","n":3})") == "table make 3");
  CHECK(Turn(shows, "\n { }") == "table nil nil");
  for (const char* text : {"make test", "", "[1]", R"({"test":)", R"({"a":1} and more)", "{{}}"}) {
    CAPTURE(text);
    CHECK(Turn(shows, text) == "string nil nil");
  }
  CHECK(Turn(R"(local run = flow("x", function(f, input) return input.test end)
    return function(message) return run { test = message .. "!" } end)",
             "make") == "make!");
}

TEST_CASE("AFlowSaysWhatItsInputLacks") {
  const std::string takes = R"(flow("fix", { input = { test = str "The command that must pass",
      at = opt(int()), kind = opt(str():match "^%l+$") } }, function(f, input)
    return input.test .. tostring(input.at)
  end))";
  CHECK(Turn(takes, R"({"test":"make"})") == "makenil");
  CHECK(Turn(takes, R"({"test":"make","at":2})") == "make2");
  CHECK(Turn(takes, "{}") ==
        "script.lua: flow 'fix': the input lacks 'test' (The command that must pass): give it in "
        "the JSON "
        "object, or by baleen run --arg test=VALUE");
  CHECK(Turn(takes, "make") ==
        "script.lua: flow 'fix': expected an input with at, kind, test: a JSON object, or baleen "
        "run --arg "
        "NAME=VALUE");
  CHECK(Has(Turn(takes, R"({"test":"make","tset":"x"})"), "flow 'fix': input: "));
  CHECK(Has(Turn(takes, R"({"test":"make","at":"2"})"), "input.at"));
  CHECK(Has(Turn(takes, R"({"test":"make","kind":"A"})"), "'kind' does not match"));
  for (const char* wrong : {"str()", "{}", "1", "{ test = 1 }", "{ str() }"}) {
    CAPTURE(wrong);
    const std::string text =
        Turn("flow('fix', { input = " + std::string(wrong) + " }, function() end)", "{}");
    CHECK(Has(text, "script.lua:1: flow 'fix': "));
  }
}

TEST_CASE("APatternNamesTheToolsOfMcpServersOrDoesNotLoad") {
  ScriptRun run(R"lua(
    policy { deny { tool = "mcp:hub_delete*", why = "nothing is deleted",
      match = { { tool = "mcp:hub_delete_issue" } }, not_match = { { tool = "hub_delete_issue" } } } }
    on.tool_result("web_fetch|mcp:*", function(result) result.trust = "untrusted" end)
    return function()
      local said = {}
      for i, name in ipairs { "hub_issue", "look", "web_fetch", "hub_delete_issue", "hub_delete" } do
        said[i] = baleen.call(name):sub(1, 27)
      end
      return table.concat(said, "|")
    end)lua");
  run.options.mcp_tools = {"hub_issue", "hub_delete_issue"};
  REQUIRE(run.Step(UserTurnEvent{"go"}));
  std::string denied;
  while (std::holds_alternative<CallToolsEffect>(run.effect)) {
    const ToolCall call = OnlyCall(run);
    const auto& verdicts = std::get<CallToolsEffect>(run.effect).verdicts;
    if (!verdicts.empty()) denied += call.name + " " + verdicts[0].why;
    REQUIRE(run.Step(ToolResultsEvent{{{call.id, ToolOutcome::kOk, "text", 0}}}));
  }
  CHECK(denied == "hub_delete_issue nothing is deleted");
  CHECK(Text(run) ==
        "[Content of what hub_issue |text|[Content of what web_fetch |[Content of what "
        "hub_delete|text");

  for (const char* wrong :
       {"on.before_tool('mpc:*', print_nothing)", "on.tool_result('read|mcp:', print_nothing)",
        "on.after_tool('mcp:hub.issue', print_nothing)", "policy { deny { tool = 'mcp:a:b' } }",
        "session.current():ask('x', { tools = 'read|http:*' })"}) {
    CAPTURE(wrong);
    const std::string text =
        Turn("local function print_nothing() end return (function() " + std::string(wrong) +
                 " return function() return 'x' end end)()",
             "go");
    CHECK(Has(text, "names no tool: "));
  }
  // Paths have other rules.
  CHECK(Turn("on.after_edit('c:*', function() end) return function() return 'x' end", "") == "x");
}

}  // namespace baleen
