// What a hostile or broken script can and cannot do.
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>

#include "tests/agent/script_run.h"

namespace baleen {
namespace {

// A hang would show as the test's timeout; this bound only has to be far below it.
double SecondsOf(const std::string& body, std::string* text) {
  const auto start = std::chrono::steady_clock::now();
  *text = ScriptRun::Text(body);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

TEST_CASE("RunawayScriptsEndWithResourceExhausted") {
  const char* const bodies[] = {
      "while true do end",
      "while true do pcall(function() while true do end end) end",
      "local function f() while true do pcall(f) end end f()",
      "local function f() return pcall(f) end while true do f() end",
      "while true do xpcall(error, function() while true do end end) end",
      "repeat local ok = pcall(error) until false",
      "::top:: goto top",
      "local t = {} for i = 1, 1e9 do t[i] = i end",
      "local t = {} while true do t[#t + 1] = string.rep('x', 1000) .. #t end",
      "local s = 'x' while true do s = s .. s end",
      "local t = {} while true do t = { t } end",
      "while true do pcall(string.rep, 'x', 1 << 24) end",
      "local s = string.rep('x', 1 << 22) while true do local t = s .. 'y' end",
      "local s = string.rep('a', 4000) return s:find(('a*'):rep(30) .. 'b')",
      "local s = string.rep('a', 100000) return s:match('.-.-.-.-b')",
      "local s = string.rep('(', 1 << 20) for i = 1, 1e6 do s:find('%b()') end",
      "local s = string.rep('a', 1 << 20) return s:gsub('a*b', '')",
      "for w in string.rep('a', 1 << 20):gmatch('(a*)*b') do end",
      "local p = '[' .. string.rep('b', 1 << 20) .. ']' return string.rep('a', 1 << 20):match(p)",
      "local t = setmetatable({}, { __len = function() return 1 << 60 end }) "
      "while true do table.insert(t, 1, 'x') table.remove(t, 1) end",
      "return table.unpack({}, 1, 1 << 50)",
      "return table.concat({}, 'x', 1, 1 << 50)",
      "return table.move({}, 1, 1 << 50, 2)",
      "local t = {} for i = 1, 5e4 do t[i] = i end while true do table.sort(t) end",
      "local t = {} for i = 1, 3e4 do t['k' .. i] = i end while true do for _ in pairs(t) do end "
      "end",
      "local t = {} for i = 1, 3e4 do t['k' .. i] = i end while true do next(t) end",
      "local t = setmetatable({}, { __index = function(t, k) return t[k + 1] end }) "
      "while true do pcall(function() return t[1] end) end",
      "local s = string.rep('x', 1 << 22) while true do s:upper() s:byte(1) utf8.len(s) end",
      "local t = {} for i = 1, 1e4 do t[i] = 'abc' end while true do baleen.json.encode(t) end",
      "local s = '[' .. string.rep('1,', 1e5) .. '1]' while true do baleen.json.decode(s) end",
      "local f = string.format local s = string.rep('x', 1 << 22) while true do f('%s', s) end",
      "return (string.rep('x', 1 << 22)):rep(1 << 2):rep(2)",
      "for i = 1, math.huge do tonumber(string.rep('1', 10000)) end",
      "for _ = 1, math.maxinteger do end",
      "local t = setmetatable({}, { __lt = function() while true do end end }) return t < t",
      "local t = setmetatable({}, { __eq = function(a, b) return a == b end }) "
      "while true do pcall(function() return t == setmetatable({}, getmetatable(t)) end) end",
      "local t = setmetatable({}, { __concat = function(a) return a .. 'x' end }) "
      "while true do pcall(function() return t .. 'x' end) end",
      "local t = setmetatable({}, { __newindex = function(t, k, v) t[k + 1] = v end }) "
      "while true do pcall(function() t[1] = 1 end) end",
      "local t = setmetatable({}, { __call = function(self) return self() end }) return t()",
      "local t = setmetatable({}, { __tostring = function() while true do end end }) tostring(t)",
      "local t = setmetatable({}, { __index = function() while true do end end }) return t.x",
      "table.sort({ 3, 1, 2 }, function() while true do end end)",
      "return ('x'):gsub('x', function() while true do end end)",
      "local s = string.rep('x', 1 << 20) while true do for _, c in utf8.codes(s) do end end",
      "local s = string.rep('x', 1 << 22) while true do utf8.codepoint(s, 1) s:reverse() end",
      "local t = {} for i = 1, 1e5 do t[i] = 'x' end while true do table.concat(t, ',') end",
      "local t = {} for i = 1, 1e5 do t[i] = i end while true do table.move(t, 1, #t, 2) end",
      "local a, b = string.rep('x', 1 << 23), string.rep('x', 1 << 23) while true do local _ = a "
      "== b .. '' "
      "end",
      "local f f = function(...) return f(1, ...) end return f()",
      "local function g() end local function f(...) while true do g(...) end end "
      "f(table.unpack({}, 1, 50000))",
      "local t = {} for i = 1, 60 do t = { t } end while true do baleen.json.encode(t) end",
      "local d = baleen.json.decode while true do d(string.rep('[', 1000)) end",
      "while true do math.random() end",
      "while true do select('#', table.unpack({}, 1, 200)) end",
  };
  for (const char* body : bodies) {
    INFO(body);
    std::string text;
    const double seconds = SecondsOf(body, &text);
    INFO(text);
    const bool ended = text.rfind("RESOURCE_EXHAUSTED: script.lua:", 0) == 0 ||
                       text.find("too many results to unpack") != std::string::npos ||
                       text.find("more than 16777216 bytes") != std::string::npos ||
                       text.find("pattern too complex") != std::string::npos;
    CHECK(ended);
    // 2,000,000 instructions take about 20 ms; sanitizers and a busy machine are slower.
    CHECK(seconds < 20);
  }
}

TEST_CASE("ErrorsAreReportedWithPlaceAndNeverCrash") {
  const std::pair<const char*, const char*> cases[] = {
      {"local function f() return 1 + f() end return f()", "script.lua:2:"},
      {"local s = string.rep('(', 300) return load and 'x' or ('x'):find(s)", "too many captures"},
      {"error({})", "script.lua:2: the error value is a table"},
      {"error(nil)", "the error value is a nil"},
      {"error(print)", "the error value is a nil"},
      {"error(setmetatable({}, { __tostring = function() while true do end end }))",
       "the error value is a table"},
      {"error(42, 0)", "the error value is a number"},
      {"error('plain', 0)", "script.lua:2: plain"},
      {"error(string.rep('x', 1 << 20))", "script.lua:2: xxxx"},
      {"return 42", "must return the final text (a string), got number"},
      {"return nil", "got nil"},
      {"return {}", "got table"},
      {"return '\\xff'", "not UTF-8 at byte 0"},
      {"return undefined.x", "attempt to index a nil value (global 'undefined')"},
      {"return setmetatable({}, { __gc = function() end })", "'__gc' is not available"},
      {"return setmetatable({}, { __mode = 'k' })", "'__mode' is not available"},
      {"return setmetatable({}, { __close = pcall })", "'__close' is not available"},
      {"local x <close> = {} return ''", "non-closable value"},
      {"return setmetatable({}, { __call = setmetatable({}, {}) })", "must be a function"},
      {"return setmetatable('', {})", "table expected"},
      {"return string.format('%p', {})", "'%p' is not available"},
      {"return string.format('%9999999d', 1)", "script.lua:2:"},
      {"string.rep = nil", "read-only"},
      {"baleen.generate = nil", "read-only"},
      {"baleen = nil", "global 'baleen' is read-only"},
      {"rawset(string, 'rep', 1)", "read-only"},
      {"rawset(_ENV, 'pcall', 1)", "read-only"},
      {"table.insert(string, 1)", "read-only"},
      {"setmetatable(_ENV, nil)", "protected metatable"},
      {"setmetatable(string, {})", "protected metatable"},
      {"for k in pairs({ [true] = 1 }) do end", "with a boolean key"},
      {"next({ [{}] = 1 })", "with a table key"},
      {"for k in pairs({ [1.5] = 1 }) do end", "with a number key"},
      {"return baleen.json.encode({ 0 / 0 })", "no infinity and no NaN"},
      {"local t = {} t.t = t return baleen.json.encode(t)", "(a cycle?)"},
      {"return baleen.json.encode(print or pcall)", "a function has no JSON form"},
      {"return baleen.json.encode({ [1] = 1, ['1'] = 2, x = 3 })", "both 1 and \"1\""},
      {"baleen.generate { usr = 'x' }", "unknown member 'usr'"},
      {"baleen.generate { user = 1 }", "'user' must be a string, got number"},
      {"baleen.generate {}", "give either 'user' or 'messages'"},
      {"baleen.generate { messages = { { role = 'system', content = 'x' } } }", "'role' must be"},
      {"baleen.generate { messages = {} }", "1 to 1024 messages"},
      {"baleen.generate { user = 'x', temperature = 0 / 0 }", "'temperature'"},
      {"baleen.generate { user = 'x', max_tokens = 0 }", "'max_tokens'"},
      {"baleen.generate { user = '\\xc3' }", "'user' is not UTF-8"},
      {"baleen.call_tools {}", "1 to 128 calls"},
      {"baleen.call_tools { { name = 'x', id = 'a' }, { name = 'y', id = 'a' } }", "the id 'a'"},
      {"baleen.call('x', { 1, 2 })", "must have named members"},
      {"baleen.call('', {})", "1 to 64 bytes"},
      {"table.sort({ 2, 1 }, function() baleen.call('x') end)", "cannot wait here"},
      {"return ('x'):gsub('x', function() baleen.generate { user = 'x' } end)", "cannot wait here"},
      {"return ('x'):find('[a')", "malformed pattern"},
      {"return ('x'):find('%')", "malformed pattern"},
      {"return ('x'):find('%1')", "invalid capture index"},
      {"return ('x'):gsub('x', '%2')", "invalid capture index"},
  };
  for (const auto& [body, expected] : cases) {
    INFO(body);
    const std::string text = ScriptRun::Text(body);
    INFO(text);
    CHECK(text.find(expected) != std::string::npos);
    // A wrong result has no line, only a script.
    const bool result = text.find("script.lua: the turn's") != std::string::npos;
    CHECK(text.find(result ? "script.lua: " : "script.lua:2:") != std::string::npos);
  }
}

TEST_CASE("WhatCouldLeaveTheSandboxIsNotThere") {
  for (const char* name : {"load", "loadstring", "loadfile", "dofile", "package", "io", "os",
                           "debug", "collectgarbage", "coroutine", "print", "warn", "_G",
                           "string.dump", "string.pack", "math.randomseed"}) {
    INFO(name);
    CHECK(ScriptRun::Text(std::string("return tostring(") + name + ")") == "nil");
  }
  ScriptRun bytecode("\x1bLua\x54\x00\x19\x93\r\n\x1a\n");
  CHECK(!bytecode.Step(UserTurnEvent{"x"}));
  CHECK(bytecode.status.message().find("script.lua") != std::string::npos);
  CHECK(CheckScript(std::string_view("\x1bLua\x54\0\x19\x93", 8), "b.lua")
            .message()
            .find("binary chunk") != std::string::npos);
  CHECK(CheckScript(std::string(300 << 10, ' '), "b.lua").message().find("at most") !=
        std::string::npos);
  CHECK(CheckScript(std::string(100'000, '('), "b.lua").code() == StatusCode::kInvalidArgument);
  ScriptRun loading("baleen.generate { user = 'x' } return function() end");
  CHECK(!loading.Step(UserTurnEvent{"x"}));
  CHECK(loading.status.message().find("cannot wait here") != std::string::npos);
  ScriptRun endless("while true do end");
  CHECK(!endless.Step(UserTurnEvent{"x"}));
  CHECK(endless.status.code() == StatusCode::kResourceExhausted);
}

TEST_CASE("TextShowsNoAddresses") {
  CHECK(ScriptRun::Text("return tostring({}) .. tostring(pcall) .. tostring(baleen.json.null) .. "
                        "string.format('%s %s', {}, tostring)") ==
        "tablefunctionnulltable function");
  CHECK(ScriptRun::Text("return select(2, pcall(error, 'x' .. tostring(baleen)))") == "xtable");
  CHECK(ScriptRun::Text("return tostring(1e15) .. ' ' .. tostring(1e16) .. ' ' .. 0.1 .. ' ' .. "
                        "tostring(0.1) .. ' ' .. tostring(3.0) .. ' ' .. tostring(-1 / 0)") ==
        "1e+15 1e+16 0.1 0.1 3.0 -inf");
}

TEST_CASE("PairsAndNextGoIntegersThenBytes") {
  CHECK(ScriptRun::Text(R"(
    local t = { z = 1, [3] = 1, a = 1, [-1] = 1, ["\xff"] = 1, B = 1, [10] = 1, [2.0] = 1 }
    local out = {}
    for k in pairs(t) do out[#out + 1] = k == "\xff" and "ff" or tostring(k) end
    local k, v = next(t)
    while k do out[#out + 1] = k == "\xff" and "ff" or tostring(k) k, v = next(t, k) end
    return table.concat(out, " "))") == "-1 2 3 10 B a z ff -1 2 3 10 B a z ff");
  CHECK(ScriptRun::Text("local t = { 1, 2, 3, x = 4 } for k in pairs(t) do t[k] = nil end "
                        "return tostring(next(t))") == "nil");
}

TEST_CASE("InterruptEndsTheStepAsCancelled") {
  const std::atomic<bool> interrupt = true;
  ScriptRun run("return function() while true do pcall(error) end end");
  run.options.interrupt = &interrupt;
  CHECK(!run.Step(UserTurnEvent{"x"}));
  CHECK(run.status.code() == StatusCode::kCancelled);
}

TEST_CASE("BudgetIsPerStep") {
  ScriptRun run(R"(return function()
      for i = 1, 5 do
        for j = 1, 100000 do end
        baleen.generate { user = "x" }
      end
      return "done"
    end)");
  run.options.instructions_max = 150'000;
  REQUIRE(run.Step(UserTurnEvent{"x"}));
  for (int i = 0; i < 5; ++i) REQUIRE(run.Step(GeneratedEvent{}));
  CHECK(std::get<FinishEffect>(run.effect).text == "done");
}

// Every allocation fails once: at each memory limit from nothing up to enough.
TEST_CASE("AnyAllocationMayFail") {
  const std::string script = R"(
    local Class = setmetatable({}, { __index = { inherited = 1 } })
    return function(message)
      local reply = baleen.generate { user = message }
      local parts = {}
      for k, v in pairs(baleen.json.decode('{"b":[1,2.5,"x\\u00e9"],"a":{"c":null}}')) do
        parts[#parts + 1] = k .. baleen.json.encode(v)
      end
      parts[#parts + 1] = ("a-b"):gsub("%w", function(c) return c:upper() end)
      parts[#parts + 1] = string.format("%s %5.2f", {}, 1.5) .. Class.inherited
      table.sort(parts)
      pcall(error, { message })
      local results = baleen.call_tools(reply.tool_calls)
      return table.concat(parts, " ") .. results[1].content
    end)";
  GeneratedEvent generated;
  generated.message.tool_calls = {{"i", "read", R"({"path":"x","n":[1,2]})"}};
  const ToolResultsEvent results{{{"i", ToolOutcome::kOk, "!", 0}}};
  int failed = 0;
  std::string text;
  // 8 is the least difference between two sizes of Lua's.
  for (int64_t limit = 0; limit < (1 << 20); limit += 8) {
    ScriptRun run(script);
    run.options.memory_bytes_max = limit;
    if (run.Step(UserTurnEvent{"m"}) && run.Step(generated) && run.Step(results)) {
      text = std::get<FinishEffect>(run.effect).text;
      break;
    }
    INFO("limit " << limit << ": " << run.status.ToString());
    REQUIRE(run.status.code() == StatusCode::kResourceExhausted);
    ++failed;
  }
  CHECK(text == R"(A-B a{"c":null} b[1,2.5,"xé"] table  1.501!)");
  CHECK(failed > 1000);  // The sweep went through the libraries and the script.
}

}  // namespace
}  // namespace baleen
