// The libraries that are ours, against what the Lua 5.4 manual says of them.
#include <catch2/catch.hpp>

#include "tests/agent/script_run.h"

namespace baleen {
namespace {

// Each line must be true; the first that isn't is named.
std::string Failing(const std::string& lines) {
  return ScriptRun::Text("local function check(ok, what) if not ok then error(what, 2) end end\n" +
                         lines + "\nreturn 'ok'");
}

TEST_CASE("StringFunctionsFollowTheManual") {
  CHECK(Failing(R"lua(
    check(("hello world"):find("o w") == 5)
    check(select(2, ("hello"):find("l+")) == 4)
    check(("a.b"):find(".", 1, true) == 2)
    check(("abc"):find("b", -1) == nil)
    check(("abc"):find("", 10) == nil and ("abc"):find("", 4) == 4)
    check(("key = value"):match("^(%w+)%s*=%s*(%w+)$") == "key")
    check(select(2, ("key = value"):match("^(%w+)%s*=%s*(%w+)$")) == "value")
    check(("x(a(b)c)y"):match("%b()") == "(a(b)c)")
    check(("THE (quick) fox"):find("%f[%a]%a+%f[%A]") == 1)
    check(("[[x]]"):match("^%[(%[.-%])%]$") == "[x]")
    check(("aXb"):match("[^%l]") == "X" and ("a-z]"):match("[]]") == "]")
    check(("2024-01-02"):gsub("(%d+)-(%d+)-(%d+)", "%3/%2/%1") == "02/01/2024")
    check(("abc"):gsub("", "-") == "-a-b-c-")
    check(select(2, ("abc"):gsub("%w", "%0%0", 2)) == 2)
    check(("hello"):gsub("l", { l = "L" }) == "heLLo")
    check(("hello"):gsub(".", function(c) if c == "e" then return false end return c .. c end)
      == "hhelllloo")
    check(("abab"):match("(a)(b)%1%2") == "a")
    check(("  trim  "):match("^%s*(.-)%s*$") == "trim")
    check(("abc"):match("()b()") == 2)
    check(("aaa"):match("a-$") == "aaa" and ("aaab"):match("a-b") == "aaab")
    check(("ac"):match("ab?c") == "ac" and ("abc"):match("ab?c") == "abc")
    local words = {}
    for w in ("one two  three"):gmatch("%a+") do words[#words + 1] = w end
    check(table.concat(words, ",") == "one,two,three")
    local pairs_found = 0
    for k, v in ("a=1, b=2"):gmatch("(%w+)=(%w+)") do pairs_found = pairs_found + 1 end
    check(pairs_found == 2)
    check(("ab"):rep(3, "-") == "ab-ab-ab" and ("x"):rep(0) == "" and (""):rep(1e9) == "")
    check(("aÄz"):upper() == "AÄZ" and ("AB"):lower() == "ab")
    check(("%d%%"):format(5) == "5%" and ("%s|%5s|%-3s|"):format(nil, true, 1.0) == "nil| true|1.0|")
    check(("%q"):format("a\nb") == '"a\\\nb"' and ("%x"):format(255) == "ff")
    check(not pcall(string.format, "%d", "x") and not pcall(string.format, "%d"))
    check("10" + 1 == 11 and #"abc" == 3 and ("x"):byte() == 120))lua") == "ok");
}

TEST_CASE("TableFunctionsFollowTheManual") {
  CHECK(Failing(R"lua(
    local t = { 1, 2, 3 }
    table.insert(t, 4) table.insert(t, 1, 0)
    check(table.concat(t, ",") == "0,1,2,3,4")
    check(table.remove(t) == 4 and table.remove(t, 1) == 0 and #t == 3)
    check(table.remove({}) == nil and not pcall(table.insert, t, 9, 1))
    check(select("#", table.unpack({ 1, nil, 3 }, 1, 3)) == 3)
    check(table.pack(1, nil).n == 2)
    check(table.concat(table.move({ 1, 2, 3 }, 1, 3, 2), ",") == "1,1,2,3")
    check(table.concat(table.move({ 1, 2, 3 }, 2, 3, 1), ",") == "2,3,3")
    local list = {}
    for i = 1, 500 do list[i] = (i * 7919) % 501 end
    table.sort(list)
    for i = 2, 500 do check(list[i - 1] <= list[i], "sorted") end
    table.sort(list, function(a, b) return a > b end)
    check(list[1] == 500)
    local stable = { { 1, "a" }, { 0, "b" }, { 1, "c" }, { 0, "d" } }
    table.sort(stable, function(a, b) return a[1] < b[1] end)
    check(stable[1][2] .. stable[2][2] .. stable[3][2] .. stable[4][2] == "bdac")
    table.sort({ 3, 1, 2 }, function() return true end)
    local words = { "b", "B", "a" } table.sort(words)
    check(table.concat(words) == "Bab")
    check(not pcall(table.sort, { 1, "x" })))lua") == "ok");
}

TEST_CASE("ProtectedCallsFollowTheManual") {
  CHECK(Failing(R"lua(
    local ok, a, b = xpcall(function(x, y) return x, y end, error, 1, 2)
    check(ok and a == 1 and b == 2)
    local bad, report, more = xpcall(error, function(e) return e .. "!", 7 end, "x")
    check(bad == false and report == "x!" and more == 7)
    check(select("#", pcall(error)) == 2 and select("#", pcall(select, 2, 1)) == 1)
    local function nest(n) if n == 0 then return true end return pcall(nest, n - 1) end
    local inner = { nest(400) }
    check(inner[#inner]:find("nested deeper") ~= nil)
    check(select(-1, nest(100)) == true))lua") == "ok");
}

TEST_CASE("MetatablesWorkAsSnapshots") {
  CHECK(Failing(R"lua(
    local Base = {} Base.__index = Base
    function Base.new(x) return setmetatable({ x = x }, Base) end
    function Base:get() return self.x end
    local Derived = setmetatable({}, { __index = Base }) Derived.__index = Derived
    local d = setmetatable({ x = 7 }, Derived)
    check(d:get() == 7 and d.nothing == nil and Base.new(3):get() == 3)
    check(getmetatable(d) == Derived and getmetatable({}) == nil and getmetatable("") == nil)
    local V = { __add = function(a, b) return a.v + b.v end, __tostring = function(s) return "V" .. s.v end,
      __eq = function(a, b) return a.v == b.v end, __len = function() return 9 end,
      __call = function(_, y) return y end, __newindex = function(t, k, v) rawset(t, k, v * 2) end }
    local a, b = setmetatable({ v = 1 }, V), setmetatable({ v = 1 }, V)
    check(a + b == 2 and tostring(a) == "V1" and a == b and #a == 9 and a(5) == 5)
    a.z = 4 check(a.z == 8)
    local deep = {} for i = 1, 200 do deep = setmetatable({}, { __index = deep }) end
    check(not pcall(function() return deep.x end))
    check(setmetatable(setmetatable({}, V), nil).v == nil))lua") == "ok");
}

TEST_CASE("JsonKeepsOrderTypesAndArrays") {
  CHECK(Failing(R"lua(
    local json = baleen.json
    local function same(text) return json.encode(json.decode(text)) == text end
    check(same('{"a":1,"b":1.5,"c":[],"d":{},"e":[1,[2]],"f":null,"g":true,"h":"x"}'))
    check(json.encode({ z = 1, a = 2, [10] = 3, [2] = 4 }) == '{"2":4,"10":3,"a":2,"z":1}')
    check(json.encode({ 1, 2, 3 }) == "[1,2,3]" and json.encode({}) == "{}")
    check(json.encode(json.array({})) == "[]" and json.encode(json.null) == "null")
    check(json.encode("\"\\\n\1é") == [["\"\\\n\u0001é"]])
    check(json.decode('"\\ud83d\\ude00\\u00e9\\/"') == "😀é/")
    check(json.encode(2.0) == "2.0" and json.decode("2") == 2 and math.type(json.decode("2.0")) == "float")
    check(json.decode("9223372036854775807") == math.maxinteger)
    check(math.type(json.decode("9223372036854775808")) == "float")
    for _, bad in ipairs { "", "[1,]", "{a:1}", "01", "1.", "1e", "+1", "nul", '"\1"', '"\\x"',
        '"\\ud800"', "[1] 2", "{\"a\" 1}", '"\xff"', "1e999", ("["):rep(100), "-" } do
      local value, message = json.decode(bad)
      check(value == nil and message:find("^JSON, byte %d+: "), bad)
    end)lua") == "ok");
}

TEST_CASE("RandomFollowsTheSeed") {
  const std::string body =
      "return function() return math.random(1 << 40) .. ' ' .. "
      "baleen.random(5, 5) .. ' ' .. tostring(math.random() < 1) end";
  std::string texts[3];
  for (int i = 0; i < 3; ++i) {
    ScriptRun run(body);
    run.options.seed = i == 2 ? 8 : 7;
    REQUIRE(run.Step(UserTurnEvent{"x"}));
    texts[i] = std::get<FinishEffect>(run.effect).text;
  }
  CHECK(texts[0] == texts[1]);
  CHECK(texts[0] != texts[2]);
  CHECK(texts[0].find(" 5 true") != std::string::npos);
  CHECK(Failing(
            "for i = 1, 1000 do local r = math.random(3, 5) check(r >= 3 and r <= 5, 'range') end "
            "check(not pcall(math.random, 2, 1)) "
            "check(math.type(math.random(math.mininteger, math.maxinteger)) == 'integer')") ==
        "ok");
}

}  // namespace
}  // namespace baleen
