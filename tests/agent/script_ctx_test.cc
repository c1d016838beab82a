// What hooks, bodies of tools and flows get besides: requests, commands, secrets, time limits.
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

/// Answers the only call; false: the script has failed.
bool Answer(ScriptRun& run, std::string content, ToolOutcome outcome = ToolOutcome::kOk) {
  return run.Step(ToolResultsEvent{{{OnlyCall(run).id, outcome, std::move(content), 0}}});
}

bool IsClock(const ScriptRun& run) { return std::holds_alternative<SleepEffect>(run.effect); }

/// The message with which a script doesn't load.
std::string Load(const std::string& script) {
  AgentOptions options;
  options.script = script;
  options.script_name = "script.lua";
  return Agent::Create(options).status().message();
}

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// A turn that begins with a call of the tool `look`, which the runtime lets through.
void BeginBody(ScriptRun& run) {
  REQUIRE(run.Step(UserTurnEvent{"go"}));
  CHECK(OnlyCall(run).name == "look");
  REQUIRE(Answer(run, "begun"));
}

std::string Looking(const std::string& spec) {
  return R"(local http = require "baleen.http"
    tool "look" { about = "Looks.", )" +
         spec + R"( }
    return function() return (baleen.call("look")) end)";
}

}  // namespace

TEST_CASE("RequireKnowsTwoModules") {
  CHECK(ScriptRun::Text(
            R"(return require("baleen.json").encode({ require "baleen.json" == baleen.json }))") ==
        "[true]");
  for (const char* name : {"'os'", "'baleen'", "nil", "{}", "'baleen.http.x'"}) {
    const std::string text = ScriptRun::Text(std::string("local m = require(") + name + ")");
    INFO(text);
    CHECK(Has(text, "script.lua:2: require: there is no module '"));
    CHECK(Has(text, "there are baleen.http and baleen.json"));
  }
  CHECK(Has(ScriptRun::Text("require('baleen.http').get = nil return 'x'"), "read-only"));
}

TEST_CASE("ARequestIsACallAndItsAnswerATable") {
  ScriptRun run(R"(
    local http = require "baleen.http"
    return flow("f", function(f)
      local one = http.get("https://a.example/x", { auth = f.secret "KEY", auth_header = "X-Key",
        headers = { Accept = "text/plain" }, wall = "2s", bytes = "1KiB" })
      local two, why, how = http.post("https://a.example/y", { json = { n = 1 } })
      local three, gone, lost = http.request { method = "PUT", url = "http://b.example", body = "hi" }
      return baleen.json.encode { one, why, how, gone, lost }
    end))");
  REQUIRE(run.Step(UserTurnEvent{"go"}));
  CHECK(OnlyCall(run).name == "http_request");
  CHECK(OnlyCall(run).arguments ==
        R"({"bytes_max":1024,"headers":{"Accept":"text/plain"},"method":"GET","secret":"KEY",)"
        R"("secret_header":"X-Key","timeout_ms":2000,"url":"https://a.example/x"})");
  REQUIRE(Answer(run, "{\"status\":404,\"cut\":true,\"content_type\":\"text/plain\"}\nno\nsuch"));
  CHECK(OnlyCall(run).arguments ==
        R"({"body":"{\"n\":1}","method":"POST","url":"https://a.example/y"})");
  REQUIRE(Answer(run, "denied by somebody", ToolOutcome::kDenied));
  CHECK(OnlyCall(run).arguments ==
        R"({"body":"hi","headers":{"Content-Type":"text/plain; charset=utf-8"},"method":"PUT",)"
        R"("url":"http://b.example"})");
  REQUIRE(Answer(run, "late", ToolOutcome::kTimeout));
  CHECK(Text(run) == R"([{"body":"no\nsuch","content_type":"text/plain","cut":true,"status":404},)"
                     R"("denied by somebody","DENIED","late","TIMEOUT"])");
}

TEST_CASE("ARequestThatIsWrittenWronglyIsRefusedWithItsPlace") {
  const std::pair<const char*, const char*> kWrong[] = {
      {"http.get()", "http.get: expected a URL, got nil"},
      {"http.get('http://x', { auth = 'sk-123' })", "'auth' must be ctx.secret \"NAME\""},
      {"http.get('http://x', { auth_header = 'X' })", "'auth_header' is the header of 'auth'"},
      {"http.get('http://x', { heads = {} })", "http.get: unknown member 'heads'"},
      {"http.get('http://x', { method = 'PUT' })", "http.get: unknown member 'method'"},
      {"http.get('http://x', { headers = 'A: b' })", "'headers' must be a table"},
      {"http.get('http://x', { headers = { A = {} } })", "'headers' must give a text to each name"},
      {"http.post('http://x', { body = 'a', json = {} })", "give either 'body' or 'json'"},
      {"http.post('http://x', { body = {} })", "'body' must be a string"},
      {"http.get('http://x', { wall = '1h' })", "'wall' must be 1 ms to 600000 ms"},
      {"http.get('http://x', { bytes = '2MiB' })", "'bytes': expected bytes"},
      {"table.sort({ 2, 1 }, function() http.get('http://x') end)", "cannot wait here"},
      {"('x'):gsub('x', function() return http.get('http://x').body end)", "cannot wait here"},
  };
  for (const auto& [code, expected] : kWrong) {
    const std::string text =
        ScriptRun::Text(std::string("local http = require 'baleen.http'; ") + code + " return 'x'");
    INFO(code << " -> " << text);
    CHECK(Has(text, expected));
    CHECK(Has(text, "script.lua:2: "));
  }
  CHECK(Has(Load("require('baleen.http').get('http://x')"), "cannot wait here"));
}

TEST_CASE("ABodyAsksOnlyTheHostsThatItsToolNames") {
  ScriptRun none(Looking(R"(run = function() return http.get("https://a.example:1/x").body end)"));
  BeginBody(none);
  CHECK(Text(none) ==
        "script.lua:2: http.get: tool 'look' reaches no hosts: add traits = { network = "
        "{ \"a.example:1\" } }");
  ScriptRun some(Looking(R"(traits = { network = { "a.example", "*.b.example:8443" } },
    run = function() return http.get("https://a.example/x").body end)"));
  BeginBody(some);
  CHECK(OnlyCall(some).arguments == R"({"hosts":["a.example","*.b.example:8443"],"method":"GET",)"
                                    R"("tool":"look","url":"https://a.example/x"})");
  REQUIRE(Answer(some, "{\"status\":200}\nfine"));
  CHECK(Text(some) == "fine");
  for (const char* wrong : {"'a.example'", "{}", "{ 'https://a.example' }", "{ 1 }", "{ a = 'b' }",
                            "{ 'a b' }", "{ '' }"}) {
    INFO(wrong);
    CHECK(Has(
        Load(Looking("traits = { network = " + std::string(wrong) + " }, run = function() end")),
        "traits.network: expected a list of hosts"));
  }
  // Nobody else's: neither a hook's nor what comes after the body.
  ScriptRun after(
      Looking(R"(traits = { network = { "a.example" } }, run = function() return "x" end)") + "");
  BeginBody(after);
  CHECK(Text(after) == "x");
}

TEST_CASE("WhatHooksDoToAScriptsRequestLeavesItReadable") {
  ScriptRun run(R"(
    local http = require "baleen.http"
    on.tool_result(function(res)
      res.trust, res.content = "untrusted", res.content:upper()
      return note "seen"
    end)
    on.before_model(function(request) end)
    return flow("f", function()
      local r = http.get("http://a.example")
      return r.status .. r.body .. session.current():ask("And?")
    end))");
  REQUIRE(run.Step(UserTurnEvent{"go"}));
  REQUIRE(Answer(run, "{\"status\":200}\nbody"));
  const auto& told = std::get<GenerateEffect>(run.effect).append;
  REQUIRE(told.size() == 2);
  CHECK(told[1].content == "seen");
  GeneratedEvent says;
  says.message.content = "!";
  REQUIRE(run.Step(says));
  CHECK(Text(run) == "200BODY!");
}

TEST_CASE("ACommandIsMadeOfItsWords") {
  ScriptRun run(R"lua(return flow("f", function(f)
    local out = f:sh({ "printf", "a b", "it's", "$(id)", "", 7, "x=1", "-n" }, { wall = "3s", workdir = "sub" })
    local no, why = f:sh { "if", "x" }
    local late = f:sh { "FOO=1", "y" }
    return baleen.json.encode { out, why, late }
  end))lua");
  REQUIRE(run.Step(UserTurnEvent{"go"}));
  CHECK(OnlyCall(run).name == "bash");
  CHECK(OnlyCall(run).arguments ==
        R"({"command":"printf 'a b' 'it'\\''s' '$(id)' '' 7 'x=1' -n","timeout_s":3,)"
        R"("workdir":"sub"})");
  REQUIRE(
      Answer(run, "[exit code: 9; 1 ms]\nout\n\n[exit code: 3; 12 ms]\n[network refused: a:1]"));
  CHECK(OnlyCall(run).arguments == R"({"command":"'if' x"})");
  REQUIRE(Answer(run, "no leave", ToolOutcome::kDenied));
  CHECK(OnlyCall(run).arguments == R"({"command":"'FOO=1' y"})");
  REQUIRE(
      Answer(run, "[exit code: 137; it ran too long and was ended; 9 ms]", ToolOutcome::kTimeout));
  CHECK(Text(run) ==
        R"([{"exit":3,"ok":false,"text":"[exit code: 9; 1 ms]\nout\n","timed_out":false},)"
        R"("no leave",{"exit":137,"ok":false,"text":"","timed_out":true}])");
  for (const char* wrong : {"f:sh {}", "f:sh 'ls'", "f:sh { {} }", "f:sh { 'a\\0b' }",
                            "f:sh({ 'ls' }, { shell = true })", "f.secret ''", "f.secret {}"}) {
    ScriptRun bad(std::string("return flow('f', function(f) ") + wrong + " end)");
    INFO(wrong);
    CHECK(!bad.Step(UserTurnEvent{"go"}));
    CHECK(Has(bad.status.message(), "script.lua:1: "));
  }
}

TEST_CASE("HooksGetWhatBodiesGetAndDontHearOfWhatTheyCause") {
  ScriptRun run(R"(
    on.before_tool(function(call, ctx)
      local out = ctx:sh { "test", "-e", call.arguments.path }
      if not out.ok then return deny "no such file" end
    end)
    return function() return baleen.json.encode { baleen.call("read", { path = "a b" }) } end)");
  REQUIRE(run.Step(UserTurnEvent{"go"}));
  CHECK(OnlyCall(run).arguments == R"({"command":"test -e 'a b'"})");
  REQUIRE(Answer(run, "[exit code: 1; 2 ms]"));
  const auto& effect = std::get<CallToolsEffect>(run.effect);
  CHECK(effect.calls[0].name == "read");
  REQUIRE(effect.verdicts.size() == 1);
  CHECK(effect.verdicts[0].why == "no such file");
}

TEST_CASE("ABodysTimeIsCountedByAJournalledClock") {
  ScriptRun run(
      Looking(R"(traits = { network = { "a" } }, limits = { wall = "10s" }, run = function(a, ctx)
    http.get("http://a", { wall = "60s" })
    ctx:sh({ "ls" }, { wall = "1s" })
    baleen.call("read", { path = "x" })
    local ok, why = pcall(ctx.sh, ctx, { "ls" })
    return why
  end)"));
  BeginBody(run);
  REQUIRE(IsClock(run));
  REQUIRE(run.Step(ClockEvent{1000}));
  REQUIRE(IsClock(run));
  REQUIRE(run.Step(ClockEvent{4000}));
  CHECK(Has(OnlyCall(run).arguments, R"("timeout_ms":7000)"));
  REQUIRE(Answer(run, "{\"status\":200}\n"));
  REQUIRE(run.Step(ClockEvent{500}));  // a clock that was set back gives no more than all
  CHECK(Has(OnlyCall(run).arguments, R"("timeout_s":1})"));
  REQUIRE(Answer(run, "[exit code: 0; 1 ms]"));
  REQUIRE(run.Step(ClockEvent{10'999}));
  CHECK(OnlyCall(run).arguments == R"({"path":"x"})");
  REQUIRE(Answer(run, "text"));
  REQUIRE(run.Step(ClockEvent{11'000}));
  CHECK(Text(run) == "script.lua:6: tool 'look': its limits.wall of 10000 ms is over");
}

TEST_CASE("WhoeverCatchesThatABodysTimeIsOverGetsNoFurtherSteps") {
  ScriptRun run(Looking(R"(limits = { wall = "1s" }, run = function(a, ctx)
    local why
    for i = 1, 1e9 do why = select(2, pcall(baleen.call, "read", { path = "x" })) end
    return why
  end)"));
  BeginBody(run);
  REQUIRE(run.Step(ClockEvent{1000}));
  REQUIRE_FALSE(run.Step(ClockEvent{3000}));
  CHECK(Has(run.status.message(), "more than"));
}

TEST_CASE("CommandsOfABodyGetWhatIsLeftInSeconds") {
  ScriptRun run(Looking(R"(limits = { wall = "10s" }, run = function(a, ctx)
    ctx:sh { "ls" }
    return baleen.call("bash", { command = "ls", timeout_s = 20 })
  end)"));
  BeginBody(run);
  REQUIRE(run.Step(ClockEvent{1000}));
  REQUIRE(run.Step(ClockEvent{1500}));
  CHECK(OnlyCall(run).arguments == R"({"command":"ls","timeout_s":9.5})");
  REQUIRE(Answer(run, "[exit code: 0; 1 ms]"));
  REQUIRE(run.Step(ClockEvent{4000}));
  CHECK(OnlyCall(run).arguments == R"({"command":"ls","timeout_s":7})");
}

TEST_CASE("AHookThatTakesTooLongHasFailedAndTheTurnGoesOn") {
  const auto verdict = [](const std::string& options, const std::string& body) {
    ScriptRun run("on.before_tool(function(call) " + body + " end, " + options + R"()
      return function()
        local spent = 0
        for i = 1, 20000 do spent = spent + i end
        return (baleen.call "read")
      end)");
    REQUIRE(run.Step(UserTurnEvent{"go"}));
    const auto& effect = std::get<CallToolsEffect>(run.effect);
    const std::string why = effect.verdicts.empty() ? "-" : effect.verdicts[0].why;
    REQUIRE(Answer(run, "text"));
    return why + "|" + Text(run);
  };
  const std::string over =
      "script.lua:1: it took longer than its 'wall' of 5 ms (100000 instructions)";
  CHECK(verdict("{ wall = '5ms' }", "while true do end") == "a hook failed: " + over + "|text");
  // Nothing in it outlives that.
  CHECK(verdict("{ wall = '5ms' }", "while true do pcall(function() while true do end end) end") ==
        "a hook failed: " + over + "|text");
  CHECK(verdict("{ wall = '5ms' }",
                "while true do xpcall(function() while true do end end, function() while true do "
                "end end) "
                "end") == "a hook failed: " + over + "|text");
  CHECK(Has(verdict("{ wall = '5ms' }", "local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(9) end"),
            "a hook failed: " + over));
  CHECK(Has(verdict("{ wall = '5ms' }", "('x'):rep(200):find(('.-'):rep(9) .. 'y')"),
            "it took longer"));
  CHECK(verdict("{ wall = '5ms', on_error = 'ignore' }", "while true do end") ==
        "-|text\n[note: a hook failed: " + over + "]");
  CHECK(verdict("{ wall = '5ms' }", "for i = 1, 1000 do end") == "-|text");
  CHECK(
      Has(Load("on.before_tool(function() end, { wall = 0 })"), "'wall' must be 1 ms to 10000 ms"));
}

TEST_CASE("AHooksLimitIsOverSeveralStepsAndItsOwn") {
  // Each of its steps is below the limit, together they aren't; the inner hook's ends with it.
  ScriptRun run(R"(
    local function work(n) for i = 1, n do end end
    on.before_tool("inner", function() pcall(work, 1e9) end, { wall = "1ms" })
    on.before_tool("outer", function()
      for i = 1, 20 do
        work(100000)
        baleen.call("inner")
      end
    end, { wall = "30ms" })
    return function() return (baleen.call "outer") end)");
  REQUIRE(run.Step(UserTurnEvent{"go"}));
  int steps = 0;
  while (OnlyCall(run).name == "inner") {
    CHECK(Has(std::get<CallToolsEffect>(run.effect).verdicts.at(0).why, "wall' of 1 ms"));
    REQUIRE(Answer(run, "x"));
    ++steps;
  }
  CHECK(steps >= 3);
  CHECK(steps <= 6);
  const auto& effect = std::get<CallToolsEffect>(run.effect);
  CHECK(effect.calls[0].name == "outer");
  CHECK(Has(effect.verdicts.at(0).why, "wall' of 30 ms"));
  REQUIRE(Answer(run, "y"));
  CHECK(Text(run) == "y");
}

TEST_CASE("WhatAHookUsesInOneStepIsGoneInTheNext") {
  ScriptRun run(R"(
    on.before_tool("outer", function()
      for i = 1, 20 do
        for k = 1, 100000 do end
        baleen.call("inner")
      end
    end, { wall = "20ms" })
    return function() return (baleen.call "outer") end)");
  REQUIRE(run.Step(UserTurnEvent{"go"}));
  int steps = 0;
  while (OnlyCall(run).name == "inner") {
    REQUIRE(Answer(run, "x"));
    ++steps;
  }
  CHECK(steps >= 2);
  CHECK(steps <= 4);
  CHECK(Has(std::get<CallToolsEffect>(run.effect).verdicts.at(0).why, "wall' of 20 ms"));
}

TEST_CASE("AnAnswerMayBeAListOfAtMostSoMany") {
  ScriptRun run(R"(return flow("f", function()
    local s = session.current()
    local plan, why = s:ask("Plan?", { returns = list(str()), max = 2, tools = "none" })
    return plan and #plan .. "" or why
  end))");
  REQUIRE(run.Step(UserTurnEvent{"go"}));
  CHECK(std::get<GenerateEffect>(run.effect).answer_schema ==
        R"({"items":{"type":"string"},"maxItems":2,"type":"array"})");
  GeneratedEvent says;
  says.message.content = R"(["a","b","c"])";
  REQUIRE(run.Step(says));
  CHECK(Has(Text(run), "has 3 items, expected 0 to 2"));
  for (const char* wrong :
       {"{ max = 2 }", "{ max = 2, returns = str() }", "{ max = 0, returns = list(str()) }"}) {
    ScriptRun bad(std::string("return function() session.current():ask('x', ") + wrong + ") end");
    INFO(wrong);
    CHECK(!bad.Step(UserTurnEvent{"go"}));
    CHECK(Has(bad.status.message(), "'max'"));
  }
}

TEST_CASE("AForkIsClosedAtTheEndOfItsBlock") {
  const std::string begin = R"(return flow("f", function()
    local s = session.current()
    local ok, why = pcall(function()
      local kid <close> = s:fork { label = "k", worktree = true }
      )";
  for (const char* body : {"return kid.label", "error('no', 0)", "kid:close()"}) {
    ScriptRun run(begin + body + R"(
    end)
    return tostring(ok) .. tostring(why)
  end))");
    REQUIRE(run.Step(UserTurnEvent{"go"}));
    REQUIRE(run.Step(ForkedEvent{"kid", "all", ""}));
    INFO(body << " " << run.status.ToString());
    REQUIRE(std::holds_alternative<WorktreeEffect>(run.effect));
    CHECK(std::get<WorktreeEffect>(run.effect).removes);
    REQUIRE(run.Step(WorktreeEvent{}));
    CHECK(Text(run) == (body[0] == 'r' ? "truek" : body[0] == 'e' ? "falseno" : "truenil"));
  }
  ScriptRun command(R"(return flow("f", function()
    local kid <close> = session.current():fork {}
    local out = kid:sh { "make", "a b" }
    return out.text .. out.exit .. tostring(out.ok)
  end))");
  REQUIRE(command.Step(UserTurnEvent{"go"}));
  REQUIRE(command.Step(ForkedEvent{"kid", "", ""}));
  const auto& turns = std::get<ChildTurnsEffect>(command.effect).turns;
  CHECK(turns.at(0).errand == R"({"arguments":{"command":"make 'a b'"},"call":"bash"})");
  ChildTurnEnd end;
  end.succeeded = true;
  end.text = R"({"content":"made\n[exit code: 2; 5 ms]","outcome":"OK"})";
  REQUIRE(command.Step(ChildTurnsEvent{{end}}));
  CHECK(Text(command) == "made2false");
}

}  // namespace baleen
