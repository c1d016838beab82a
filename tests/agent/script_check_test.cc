// What authors of scripts are told, beside what a live script sees.
#include "agent/script_check.h"

#include <catch2/catch.hpp>
#include <set>

#include "agent/global_uses.h"
#include "agent/lua_api.h"
#include "agent/lua_baleen.h"
#include "agent/lua_sandbox.h"
#include "tests/agent/script_run.h"

namespace baleen {
namespace {

std::string Lint(const std::string& script, const std::vector<std::string>& tools = {}) {
  const auto findings = LintScript(script, "a.lua", tools);
  if (!findings.ok()) return findings.status().message();
  std::string text;
  for (const ScriptFinding& finding : *findings) {
    text +=
        std::to_string(finding.line) + (finding.sure ? ": " : ": note: ") + finding.message + "\n";
  }
  return text;
}

TEST_CASE("LintNamesGlobalsAndMembersThatAreNotThere") {
  const std::pair<const char*, const char*> cases[] = {
      {"return function(m) return m end", ""},
      {"local t = {} return function(m) t.x = m return string.rep(m, 2) .. baleen.tools[1].name "
       "end",
       ""},
      {"return function(m)\n  return mesage\nend", "2: no global 'mesage'\n"},
      {"return function(m)\n\n  return tostrng(m)\nend",
       "3: no global 'tostrng'; did you mean 'tostring'?\n"},
      {"count = 1\nreturn function(m) return tostring(count) end",
       "1: sets global 'count'; make it local\n"},
      {"return function(m)\n return baleen.genrate { user = m }\nend",
       "2: 'baleen' has no member 'genrate'; did you mean 'generate'?\n"},
      {"local s = string.pack", "1: 'string' has no member 'pack'\n"},
      {"print('x') io.write('x') os.exit()",
       "1: no global 'io'\n1: no global 'os'\n"
       "1: no global 'print'\n"},
      {"string = {}", "1: global 'string' is read-only; name the variable otherwise, and local\n"},
      {"local function f()\n local function g()\n  return nothere\n end return g\nend",
       "3: no global 'nothere'\n"},
      {"nothere = nil return nothere", "1: sets global 'nothere'; make it local\n"},
      {"local _ENV = { x = function(m) return m end } return x", ""},
      {"x:y()", "1: no global 'x'\n1: no value has a method 'y'\n"},
  };
  for (const auto& [script, expected] : cases) {
    CAPTURE(script);
    CHECK(Lint(script) == expected);
  }
  CHECK(Lint("x = = 1").rfind("a.lua:1:", 0) == 0);
  // Lines beyond what one step can tell, and more constants than fit an instruction.
  CHECK(Lint(std::string(300, '\n') + "return nothere") == "301: no global 'nothere'\n");
  std::string long_script = "local t = {";
  for (int i = 0; i < 1000; ++i) long_script += "'k" + std::to_string(i) + "',\n";
  CHECK(Lint(long_script + "} return function(m) return nothere end") ==
        "1001: no global 'nothere'\n");
}

TEST_CASE("LintNamesMethodsThatNothingHas") {
  const std::pair<const char*, const char*> cases[] = {
      {"flow('x', function(f, input)\n  f:slep(1)\nend)",
       "2: no value has a method 'slep'; did you mean 'sleep'?\n"},
      {"local s = session.current()\nflow('x', function(f, input)\n  local kid <close> = s:frok "
       "{}\n"
       "  return kid:dif() .. input:uper()\nend)",
       "3: no value has a method 'frok'; did you mean 'fork'?\n"
       "4: no value has a method 'dif'; did you mean 'diff'?\n"
       "4: no value has a method 'uper'; did you mean 'upper'?\n"},
      {"on.before_tool(function(ev, ctx)\n  ctx:shell { 'ls' }\nend)",
       "2: no value has a method 'shell'\n"},
      {"local http = require 'baleen.http'\nreturn function(m)\n  return http:get(m).body\nend",
       "3: no value has a method 'get'\n"},
      // Its own are its own business, and what an __index makes up may be called anything.
      {"local T = {} function T:turn() return 1 end return function(m) return T:turn() end", ""},
      {"local T = { turn = tostring } return function(m) return T:turn() end", ""},
      {"local T = setmetatable({}, { __index = function() return tostring end })\n"
       "return function(m) return T:whatever() end",
       ""},
      {"return function(m) local seen = memo {} return m:rep(seen:bump(m)):gsub('a', 'b') end", ""},
  };
  for (const auto& [script, expected] : cases) {
    CAPTURE(script);
    CHECK(Lint(script) == expected);
  }
}

TEST_CASE("LintNamesRulesThatAreAboutNothingOrCantDecide") {
  const std::pair<const char*, const char*> cases[] = {
      {"policy { allow { tool = 'read|wriet' }, deny { tool = 'edit' } }",
       "1: this allow is about no tool of Baleen's or of the script's own: none is called 'wriet'; "
       "did you mean 'write'?\n"},
      // A host, a server or a plugin may have it.
      {"policy {\n  allow { tool = 'nosuch_*' },\n  ask { tool = 'pay' },\n}",
       "2: note: this allow is about no tool of Baleen's or of the script's own: none matches "
       "'nosuch_*'\n"
       "3: note: this ask is about no tool of Baleen's or of the script's own: none is called "
       "'pay'\n"},
      {"policy { allow { tool = 'pa*' } }\n"
       "tool 'pay' { about = 'Pays.', run = function() return 'paid' end }",
       ""},
      {"policy {\n  allow { tool = 'read' },\n  deny { tool = 'read', why = 'no' },\n}",
       "2: this allow of 'read' never decides: the deny of 'read' in line 3 is of every such call, "
       "and the strictest rule counts\n"},
      {"policy {\n  deny { tool = '*' },\n  allow { tool = 'read|grep', path = 'src/*' },\n}",
       "3: this allow of 'read|grep' never decides: the deny of '*' in line 2 is of every such "
       "call, and the strictest rule counts\n"},
      {"policy { ask { tool = 'write|edit' } }\npolicy { allow { tool = 'edit' } }",
       "2: this allow of 'edit' never decides: the ask of 'write|edit' in line 1 is of every such "
       "call, and the strictest rule counts\n"},
      // Stricter about some calls, or about some of the tools.
      {"policy { allow { tool = 'read' }, deny { tool = 'read', path = '.env' } }", ""},
      {"policy { allow { tool = 'bash' }, deny { tool = 'bash', argv = { 'rm' } } }", ""},
      {"policy { allow { tool = 'read|write' }, deny { tool = 'write' } }", ""},
      {"policy { allow { tool = 'w*' }, deny { tool = 'write' } }", ""},
      {"policy { deny { tool = 'read' }, ask { tool = 'write' }, allow { tool = 'edit' } }", ""},
  };
  const std::vector<std::string> tools = {"read", "grep", "write", "edit", "bash"};
  for (const auto& [script, expected] : cases) {
    CAPTURE(script);
    CHECK(Lint(script, tools) == expected);
  }
}

TEST_CASE("LintFindsWhatOnlyATurnOrASessionWouldHaveFound") {
  const std::vector<std::string> tools = {"read", "glob"};
  CHECK(Lint("\ntool 'read' { about = 'x', run = function() return '' end }", tools) ==
        "2: tool 'read': Baleen has one of this name; give it another\n");
  CHECK(Lint("\n\nflow('x', { budget = { tokens = 'many' } }, function(f) end)", tools) ==
        "a.lua:3: flow 'x': budget: 'tokens' must be an integer of at least 1");
  CHECK(Lint("flow('x', { budget = { wall = 'soon' } }, function(f) end)", tools)
            .starts_with("a.lua:1: flow 'x': budget.wall: expected a duration"));
  CHECK(Lint("flow('x', { budget = { token = 1 } }, function(f) end)", tools) ==
        "a.lua:1: flow 'x': budget: unknown member 'token'");
}

TEST_CASE("NameUsesRefuseEveryPrefixAndSurviveEveryDamagedByte") {
  const auto sandbox = LuaSandbox::Create(
      {.memory_bytes_max = 1 << 24, .instructions_max = 1 << 20, .seed = 0, .interrupt = nullptr});
  REQUIRE((*sandbox)
              ->Compile("local t = { 1, 2.5, 'x' } return function(m, ...) y = z.a return t end",
                        "a.lua")
              .ok());
  const std::string dump = (*sandbox)->Dump();
  CHECK(ReadNameUses(dump)->globals.size() == 2);
  for (size_t size = 0; size < dump.size(); ++size) CHECK(!ReadNameUses(dump.substr(0, size)).ok());
  for (size_t at = 0; at < dump.size(); ++at) {
    for (const char change : {'\x01', '\x80', '\xff'}) {
      std::string damaged = dump;
      damaged[at] = static_cast<char>(damaged[at] ^ change);
      const auto uses = ReadNameUses(damaged);
      CHECK((!uses.ok() || uses->globals.size() + uses->methods.size() <= dump.size()));
    }
  }
}

TEST_CASE("TypesListWhatAScriptSeesAndNothingElse") {
  const std::string types = ScriptTypes();
  CHECK(CheckScript(types, "types.lua").ok());
  std::set<std::string> listed;
  for (const LuaSignature& signature : LuaSignatures()) {
    listed.insert(signature.name);
    CHECK(types.find("function " + std::string(signature.name) + "(") != std::string::npos);
  }
  for (const LuaField& value : LuaValues()) listed.insert(value.name);
  for (const std::string& name : listed) {
    CAPTURE(name);
    CHECK(ScriptRun::Text("return tostring(" + name + " ~= nil)") == "true");
    CHECK(Lint("local x = " + name + " return function(m) return m end") == "");
  }
  TurnBinding binding;
  const auto sandbox = LuaSandbox::Create({.memory_bytes_max = 1 << 24,
                                           .instructions_max = 1 << 20,
                                           .seed = 0,
                                           .interrupt = nullptr,
                                           .binding = &binding});
  const auto names = (*sandbox)->Globals();
  listed.insert("baleen.json");
  for (const std::string& member : names->at("baleen")) {
    CAPTURE(member);
    CHECK(listed.erase("baleen." + member) == 1);
  }
  CHECK(listed.erase("session.current") == names->at("session").size());
  const std::set<std::string> of_lua = {
      "_VERSION", "assert", "error",        "getmetatable", "ipairs", "math",
      "next",     "pairs",  "pcall",        "rawequal",     "rawget", "rawlen",
      "rawset",   "select", "setmetatable", "string",       "table",  "tonumber",
      "tostring", "type",   "utf8",         "xpcall",       "baleen", "session"};
  for (const auto& [name, members] : *names) {
    CAPTURE(name);
    CHECK(listed.erase(name) + of_lua.count(name) == 1);
  }
  CHECK(listed.empty());
  for (const std::string& hook : names->at("on")) {
    CAPTURE(hook);
    CHECK(types.find("---@field " + hook + " fun(") != std::string::npos);
  }
  for (const LuaClass* table : LuaClasses()) {
    CHECK(types.find("---@class " + std::string(table->name) + "\n") != std::string::npos);
    for (const LuaField& field : table->fields) {
      CHECK(types.find("---@field " + std::string(field.name) + " ") != std::string::npos);
    }
  }
  CHECK(types.find("\"ABORTED_BEFORE_DISPATCH\"") != std::string::npos);
}

}  // namespace
}  // namespace baleen
