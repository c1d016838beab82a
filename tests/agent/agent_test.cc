// The agent as the runtime sees it: effects out, events in.
#include "agent/agent.h"

#include <catch2/catch.hpp>

#include "tests/agent/script_run.h"

namespace baleen {
namespace {

TEST_CASE("DefaultLoopRunsToolsUntilTheModelOnlyTalks") {
  AgentOptions options;
  auto agent = Agent::Create(options);
  INFO(agent.status().message());
  REQUIRE(agent.ok());

  Result<Effect> effect = (*agent)->Resume(UserTurnEvent{"list the files"});
  REQUIRE(effect.ok());
  REQUIRE(EffectToJson(*effect) ==
          R"({"kind":"generate","append":[{"role":"user","content":"list the files"}]})");

  GeneratedEvent wants_tools;
  wants_tools.reason = FinishReason::kToolCalls;
  wants_tools.message.role = Role::kAssistant;
  // Member order and number form are the model's own and must survive.
  wants_tools.message.tool_calls = {{"m1", "list", R"({"path": ".", "depth": 1.0, "a": 1})"},
                                    {"m2", "read", R"({"path": "x"})"}};
  effect = (*agent)->Resume(wants_tools);
  REQUIRE(effect.ok());
  const auto& calls = std::get<CallToolsEffect>(*effect).calls;
  REQUIRE(calls.size() == 2);
  CHECK(calls[0].id == "m1");
  CHECK(calls[0].arguments == R"({"path": ".", "depth": 1.0, "a": 1})");

  ToolResultsEvent results;
  results.results = {{"m1", ToolOutcome::kOk, "a.txt", 0},
                     {"m2", ToolOutcome::kError, "no file", 0}};
  effect = (*agent)->Resume(results);
  REQUIRE(effect.ok());
  const auto& append = std::get<GenerateEffect>(*effect).append;
  REQUIRE(append.size() == 2);
  CHECK(append[0].role == Role::kTool);
  CHECK(append[0].tool_call_id == "m1");
  CHECK(append[0].content == "a.txt");
  CHECK(append[1].content == "ERROR: no file");

  GeneratedEvent done;
  done.message.content = "There is a.txt.";
  effect = (*agent)->Resume(done);
  REQUIRE(effect.ok());
  CHECK(std::get<FinishEffect>(*effect).text == "There is a.txt.");

  effect = (*agent)->Resume(done);
  CHECK(effect.status().code() == StatusCode::kFailedPrecondition);
}

TEST_CASE("DefaultLoopTellsTheModelOnceAboutBrokenSyntax") {
  auto agent = Agent::Create({});
  REQUIRE(agent.ok());
  REQUIRE((*agent)->Resume(UserTurnEvent{"hi"}).ok());
  GeneratedEvent broken;
  broken.message.content = "<call";
  broken.parse_error = "the call does not end";
  Result<Effect> effect = (*agent)->Resume(broken);
  REQUIRE(effect.ok());
  const std::string told = std::get<GenerateEffect>(*effect).append.at(0).content;
  CHECK(told.find("the call does not end") != std::string::npos);
  effect = (*agent)->Resume(broken);
  REQUIRE(effect.ok());
  CHECK(std::get<FinishEffect>(*effect).text == "<call");
}

TEST_CASE("DefaultLoopGivesUpAfterFiftyRounds") {
  auto agent = Agent::Create({});
  REQUIRE(agent.ok());
  Result<Effect> effect = (*agent)->Resume(UserTurnEvent{"hi"});
  GeneratedEvent wants;
  wants.message.tool_calls = {{"x", "list", "{}"}};
  ToolResultsEvent results{{{"x", ToolOutcome::kOk, "", 0}}};
  int rounds = 0;
  while (effect.ok() && rounds < 1000) {
    if (std::holds_alternative<GenerateEffect>(*effect)) {
      effect = (*agent)->Resume(wants);
    } else {
      ++rounds;
      effect = (*agent)->Resume(results);
    }
  }
  CHECK(rounds == 50);
  CHECK(effect.status().message().find("after 50 rounds") != std::string::npos);
  CHECK(effect.status().message().rfind("loop.lua:", 0) == 0);
}

TEST_CASE("EventThatDoesNotAnswerTheEffectLeavesTheAgentUsable") {
  auto agent = Agent::Create({});
  REQUIRE(agent.ok());
  CHECK((*agent)->Resume(ToolResultsEvent{}).status().code() == StatusCode::kFailedPrecondition);
  REQUIRE((*agent)->Resume(UserTurnEvent{"hi"}).ok());
  CHECK((*agent)->Resume(UserTurnEvent{"hi"}).status().code() == StatusCode::kFailedPrecondition);
  GeneratedEvent wants;
  wants.message.tool_calls = {{"x", "list", "{}"}};
  REQUIRE((*agent)->Resume(wants).ok());
  ToolResultsEvent wrong{{{"y", ToolOutcome::kOk, "", 0}}};
  CHECK((*agent)->Resume(wrong).status().code() == StatusCode::kFailedPrecondition);
  CHECK((*agent)->Resume(ToolResultsEvent{}).status().code() == StatusCode::kFailedPrecondition);
  ToolResultsEvent right{{{"x", ToolOutcome::kOk, "", 0}}};
  CHECK((*agent)->Resume(right).ok());
}

TEST_CASE("CreateNamesFileAndLine") {
  AgentOptions options;
  options.script_name = "flow.lua";
  options.script = "local x = 1\nlocal y = = 2";
  CHECK(Agent::Create(options).status().message().rfind("flow.lua:2:", 0) == 0);
  CHECK(Agent::Create(options).status().code() == StatusCode::kInvalidArgument);
  options.script = "return 42";
  CHECK(Agent::Create(options).status().message().find("got number") != std::string::npos);
  CHECK(CheckScript("x = = 1", "a.lua").message().rfind("a.lua:1:", 0) == 0);
  CHECK(CheckScript("error('not run')", "a.lua").ok());
}

TEST_CASE("BindingsTakeAndGiveEveryField") {
  ScriptRun run(R"(
    return function(message)
      local reply = baleen.generate { messages = {
        { role = "user", content = message },
        { role = "tool", content = "r", tool_call_id = "t1" } },
        max_tokens = 7, temperature = 0.5, seed = 9 }
      local results = baleen.call_tools {
        { name = "read", arguments = { path = "p", b = { 1, 2 }, a = true } },
        { name = "list" },
        { name = "grep", id = "mine", arguments = {} } }
      local content, outcome = baleen.call("read", { path = "q" })
      return table.concat({ reply.content, reply.reasoning, reply.finish_reason, reply.tokens,
        reply.tool_calls[1].arguments.x[2], results[3].call_id, results[1].outcome, content,
        outcome, baleen.tools[1].name, baleen.tools[1].description, #baleen.tools }, "|")
    end)");
  run.options.tools = {{"read", "Reads.", "{}", EffectClass::kPure, 0, 0}};
  REQUIRE(run.Step(UserTurnEvent{"hello"}));
  const auto& generate = std::get<GenerateEffect>(run.effect);
  CHECK(generate.append.at(0).content == "hello");
  CHECK(generate.append.at(1).tool_call_id == "t1");
  CHECK(generate.tokens_max == 7);
  CHECK(generate.temperature == 0.5f);
  CHECK(generate.seed == 9);
  GeneratedEvent event;
  event.message.content = "C";
  event.message.reasoning = "R";
  event.reason = FinishReason::kLength;
  event.tokens = 12;
  event.message.tool_calls = {{"i", "n", R"({"x":[1,"two"]})"}};
  REQUIRE(run.Step(event));
  const auto calls = std::get<CallToolsEffect>(run.effect).calls;
  REQUIRE(calls.size() == 3);
  CHECK(calls[0].arguments == R"({"a":true,"b":[1,2],"path":"p"})");
  CHECK(calls[0].id == "c1");
  CHECK(calls[1].arguments == "{}");
  CHECK(calls[1].id == "c2");
  CHECK(calls[2].id == "mine");
  REQUIRE(run.Step(ToolResultsEvent{{{"c1", ToolOutcome::kTimeout, "1", 0},
                                     {"c2", ToolOutcome::kOk, "2", 0},
                                     {"mine", ToolOutcome::kOk, "3", 0}}}));
  CHECK(std::get<CallToolsEffect>(run.effect).calls.at(0).id == "c3");
  REQUIRE(run.Step(ToolResultsEvent{{{"c3", ToolOutcome::kDenied, "no", 0}}}));
  CHECK(std::get<FinishEffect>(run.effect).text ==
        "C|R|length|12|two|mine|TIMEOUT|no|DENIED|read|Reads.|1");
}

TEST_CASE("EditedArgumentsWinOverTheModelsText") {
  ScriptRun run(R"(
    return function(message)
      local reply = baleen.generate { user = message }
      reply.tool_calls[1].arguments.path = "safe"
      return baleen.call_tools(reply.tool_calls)[1].content
    end)");
  REQUIRE(run.Step(UserTurnEvent{"x"}));
  GeneratedEvent event;
  event.message.tool_calls = {{"i", "read", R"({"path":"/etc/passwd","n":[]})"}};
  REQUIRE(run.Step(event));
  CHECK(std::get<CallToolsEffect>(run.effect).calls.at(0).arguments == R"({"n":[],"path":"safe"})");
}

TEST_CASE("EffectsYieldThroughPcallAndMethods") {
  ScriptRun run(R"(
    local Class = {}
    Class.__index = Class
    function Class:ask(m) return baleen.generate { user = m }.content end
    local object = setmetatable({}, { __index = function(_, key)
      return baleen.generate { user = key }.content
    end })
    local derived = setmetatable({}, { __index = object })
    return function(message)
      local ok, text = pcall(function()
        local inner_ok, inner = pcall(baleen.generate, { user = "one" })
        error(inner.content)
      end)
      return text .. setmetatable({}, Class):ask("two") .. derived.three
    end)");
  REQUIRE(run.Step(UserTurnEvent{"x"}));
  GeneratedEvent event;
  for (const char* expected : {"one", "two", "three"}) {
    INFO(expected);
    REQUIRE(std::get<GenerateEffect>(run.effect).append.at(0).content == expected);
    event.message.content = std::string("<") + expected + ">";
    REQUIRE(run.Step(event));
  }
  CHECK(std::get<FinishEffect>(run.effect).text == "script.lua:12: <one><two><three>");
}

}  // namespace
}  // namespace baleen
