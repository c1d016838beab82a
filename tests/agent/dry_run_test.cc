// What scripts would have said to recorded turns.
#include "agent/dry_run.h"

#include <catch2/catch.hpp>
#include <string>
#include <utility>
#include <vector>

namespace baleen {
namespace {

GeneratedEvent Says(std::string text, std::vector<ToolCall> calls = {}) {
  GeneratedEvent event;
  event.message.role = Role::kAssistant;
  event.message.content = std::move(text);
  event.reason = calls.empty() ? FinishReason::kStop : FinishReason::kToolCalls;
  event.message.tool_calls = std::move(calls);
  return event;
}

/// The model calls, is told `results`, and talks; once for each call.
RecordedTurn Turn(const std::vector<std::pair<ToolCall, ToolResult>>& calls) {
  RecordedTurn turn;
  turn.turn = "t1";
  turn.input = "go";
  for (const auto& [call, result] : calls) {
    turn.answers.push_back(Says("", {call}));
    turn.calls.push_back(call);
    turn.answers.push_back(ToolResultsEvent{{result}});
  }
  turn.answers.push_back(Says("done"));
  return turn;
}

ToolResult Ok(const std::string& id, std::string content) {
  ToolResult result;
  result.call_id = id;
  result.content = std::move(content);
  return result;
}

const ToolCall kRead{"call-1-1", "read", R"({"path":"a.txt"})"};
const ToolCall kPush{"call-2-1", "bash", R"({"command":"git push"})"};
const ToolCall kList{"call-3-1", "list", "{}"};

RecordedTurn ThreeCalls() {
  return Turn({{kRead, Ok("call-1-1", "text")},
               {kPush, Ok("call-2-1", "pushed")},
               {kList, Ok("call-3-1", "a.txt")}});
}

Result<DryRun> Dry(const std::string& script, const std::vector<RecordedTurn>& turns) {
  AgentOptions options;
  options.script = script;
  options.script_name = "guard.lua";
  for (const char* name : {"read", "bash", "list"}) {
    ToolSpec spec;
    spec.name = name;
    spec.description = "A tool.";
    spec.parameters = R"({"type":"object"})";
    options.tools.push_back(spec);
  }
  return RunDry(options, turns);
}

DryRun Must(Result<DryRun> run) {
  INFO(run.status().message());
  REQUIRE(run.ok());
  return std::move(run).value();
}

TEST_CASE("ADryRunTellsWhatAPolicySaysOfEachCall") {
  const DryRun run = Must(Dry(R"(
policy {
  deny { tool = "bash", argv = { "git", "push" }, why = "not from here" },
  ask { tool = "list" },
  allow { tool = "*" },
})",
                              {ThreeCalls()}));
  REQUIRE(run.calls.size() == 3);
  CHECK(run.calls[0].decision.empty());
  CHECK(run.calls[0].call.arguments == kRead.arguments);
  CHECK(run.calls[1].decision == "deny");
  CHECK(run.calls[1].why == "`git push`: not from here");
  CHECK(run.calls[2].decision == "ask");
  CHECK(run.calls[2].turn == "t1");
  CHECK(run.notes.empty());
}

TEST_CASE("ADryRunShowsWhatHooksMakeOfArgumentsAndResults") {
  const DryRun run = Must(Dry(R"(
on.before_tool("read", function(call) call.arguments.path = "b.txt" end)
on.tool_result("bash", function(result) result.content = "hidden" end)
on.after_tool("list", function() return note "few files" end))",
                              {ThreeCalls()}));
  REQUIRE(run.calls.size() == 3);
  CHECK(run.calls[0].rewritten == R"({"path":"b.txt"})");
  CHECK(!run.calls[0].told.has_value());  // the result is the one of the call as it was
  CHECK(run.calls[1].rewritten.empty());
  CHECK(run.calls[1].told == "hidden");
  CHECK(run.calls[2].told == "a.txt\n[note: few files]");
  CHECK(run.notes.empty());
}

TEST_CASE("ADryRunGivesAScriptsOwnCallsWhatTheSameOnesGot") {
  RecordedTurn turn = ThreeCalls();
  const ToolCall own{"c7", "list", R"({"path":"src"})"};
  turn.calls.push_back(own);
  turn.answers.insert(turn.answers.begin() + 2, ToolResultsEvent{{Ok("c7", "main.py")}});
  const std::string script = R"(
on.after_tool("read", function()
  local first = baleen.call("list", { path = "src" })
  local again, outcome = baleen.call("list", { path = "src" })
  return note(first .. "/" .. again .. "/" .. outcome)
end))";
  const DryRun run = Must(Dry(script, {turn}));
  REQUIRE(run.calls.size() == 3);
  CHECK(run.calls[0].told == "text\n[note: main.py/a dry run calls nothing/ERROR]");
  REQUIRE(run.notes.size() == 1);
  CHECK(run.notes[0].message ==
        R"(its call of list has no recorded result, and gets an error: {"path":"src"})");
}

TEST_CASE("ADryRunSaysWhereItLeavesTheRecording") {
  const DryRun soon = Must(Dry("return function(message) return 'no' end", {ThreeCalls()}));
  CHECK(soon.calls.empty());
  REQUIRE(soon.notes.size() == 1);
  CHECK(soon.notes[0].message == "it ends before the last 4 of the model's recorded answers");

  const DryRun more = Must(Dry(R"(
return function(message)
  for i = 1, 5 do baleen.generate { user = message } end
end)",
                               {ThreeCalls()}));
  REQUIRE(more.notes.size() == 1);
  CHECK(more.notes[0].message.find("one more answer of the model") != std::string::npos);

  const DryRun asks = Must(Dry(R"(
flow("f", function(f) f:sleep("5m") f:approve { title = "go" } end))",
                               {ThreeCalls()}));
  REQUIRE(asks.notes.size() == 1);
  CHECK(asks.notes[0].message.find("an approval") != std::string::npos);
  CHECK(!asks.notes[0].failed);
}

TEST_CASE("ADryRunFollowsEachTurnThoughTheScriptFailsInOne") {
  RecordedTurn bad = ThreeCalls(), good = ThreeCalls();
  bad.input = "fail";
  good.turn = "t2";
  const DryRun run = Must(Dry(R"(
on.before_prompt(function(event) if event.text == "fail" then error("broken") end end,
                 { on_error = "deny" }))",
                              {bad, good}));
  CHECK(run.calls.size() == 3);
  REQUIRE(run.notes.size() == 1);
  CHECK(run.notes[0].turn == "t1");
  CHECK(run.notes[0].failed);
  CHECK(run.notes[0].message.find("broken") != std::string::npos);
  CHECK(Dry("return 7", {good}).status().code() == StatusCode::kInvalidArgument);
}

TEST_CASE("ADryRunDrawsWhatTheTurnDrew") {
  const std::string script =
      "on.after_tool('read', function() return note(tostring(math.random(1 << 40))) end)";
  RecordedTurn turn = ThreeCalls(), other = ThreeCalls();
  other.seed = 7;
  const DryRun run = Must(Dry(script, {turn, other, turn}));
  REQUIRE(run.calls.size() == 9);
  CHECK(run.calls[0].told == run.calls[6].told);
  CHECK(run.calls[0].told != run.calls[3].told);
}

TEST_CASE("ADryRunEndsThoughAScriptDoesNot") {
  const DryRun run =
      Must(Dry("flow('f', function(f) while true do f:sleep('1m') end end)", {ThreeCalls()}));
  REQUIRE(run.notes.size() == 1);
  CHECK(run.notes[0].message == "it takes more steps than a turn may");
}

}  // namespace
}  // namespace baleen
