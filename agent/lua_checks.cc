// What our Lua asks of C++ and nobody waits for: patterns, rules about commands, diffs, schemas.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <lua5.4/lua.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "agent/lua_baleen.h"
#include "agent/lua_libraries.h"
#include "agent/lua_sandbox_state.h"
#include "tools_sdk/builtin/patch.h"
#include "tools_sdk/framed_text.h"
#include "tools_sdk/schema.h"
#include "tools_sdk/shell/shell_quote.h"
#include "tools_sdk/tool_pattern.h"
#include "tools_sdk/tool_set.h"
#include "tools_sdk/wildcard.h"

namespace baleen {
namespace {

std::string_view TextAt(lua_State* L, int index) {
  size_t size = 0;
  const char* text = luaL_checklstring(L, index, &size);
  return {text, size};
}

int RaiseText(lua_State* L) { return Raise(L, "%s", luaL_checkstring(L, 1)); }

int Wildcard(lua_State* L) {  // (pattern, text)
  const std::string_view pattern = TextAt(L, 1);
  const std::string_view text = TextAt(L, 2);
  Charge(L, static_cast<int64_t>((pattern.size() + 1) * (text.size() + 16) / 16));
  lua_pushboolean(L, MatchesWildcard(pattern, text));
  return 1;
}

int MatchesTool(lua_State* L) {  // (pattern, name, whether it is a server's: nil: look)
  const std::string_view pattern = TextAt(L, 1), name = TextAt(L, 2);
  const auto& of_servers = BindingOf(L).mcp_tools;
  Charge(L,
         static_cast<int64_t>((pattern.size() + 1) * (name.size() + 16) / 16 + of_servers.size()));
  const bool is_one = lua_isnoneornil(L, 3) ? std::find(of_servers.begin(), of_servers.end(),
                                                        name) != of_servers.end()
                                            : lua_toboolean(L, 3) != 0;
  lua_pushboolean(L, MatchesToolPattern(pattern, name, is_one));
  return 1;
}

bool IsToolPattern(std::string_view pattern, TurnBinding* binding) {
  const Status status = CheckToolPattern(pattern);
  if (!status.ok()) binding->problem = status.message();
  return status.ok();
}

int CheckPattern(lua_State* L) {  // (pattern): nothing, or what is wrong
  TurnBinding& binding = BindingOf(L);
  if (IsToolPattern(TextAt(L, 1), &binding)) return 0;
  lua_pushlstring(L, binding.problem.data(), binding.problem.size());
  return 1;
}

// What is read of a rule about commands: a little more than CheckCommandRule lets pass, so that a
// script can't fill memory that isn't Lua's.
constexpr lua_Integer kListRead = 65;
constexpr size_t kWordRead = 257;
constexpr lua_Integer kCommandRulesMax = 256;

// What is remembered of a script's rules, for whoever lints them: that isn't Lua's memory.
constexpr size_t kRulesKept = 256;
constexpr size_t kRuleToolsRead = 4096;

// A rule, from the table on top of the stack.
void ReadCommandRule(lua_State* L, CommandRule* rule) {
  lua_getfield(L, -1, "level");
  rule->level = static_cast<CommandLevel>(luaL_checkinteger(L, -1));
  lua_getfield(L, -2, "writes");
  if (!lua_isnil(L, -1)) rule->writes = TextAt(L, -1).substr(0, kWordRead);
  lua_getfield(L, -3, "argv");
  const lua_Integer words = lua_isnil(L, -1) ? 0 : luaL_len(L, -1);
  for (lua_Integer i = 1; i <= std::min(words, kListRead); ++i) {
    auto& alternatives = rule->argv.emplace_back();
    lua_geti(L, -1, i);
    const lua_Integer count = luaL_len(L, -1);
    for (lua_Integer k = 1; k <= std::min(count, kListRead); ++k) {
      Charge(L, 1);
      lua_geti(L, -1, k);
      alternatives.emplace_back(TextAt(L, -1).substr(0, kWordRead));
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 3);
}

// No Lua in here. Its index, from 1; 0: none decided.
int JudgeInto(std::string_view command, bool covered, TurnBinding* binding, CommandLevel* level) {
  const CommandVerdict verdict = JudgeCommand(command, binding->command_rules, covered);
  binding->command_text = CommandReason(verdict, "");
  *level = verdict.level;
  return verdict.rule + 1;
}

bool CheckLastRule(TurnBinding* binding) {
  const Status status = CheckCommandRule(binding->command_rules.back());
  if (!status.ok()) binding->problem = status.message();
  return status.ok();
}

int JudgeCommandText(lua_State* L) {  // (command, rules, covered): level, index or nil, text
  const std::string_view command = TextAt(L, 1);
  TurnBinding& binding = BindingOf(L);
  binding.command_rules.clear();
  const lua_Integer count = luaL_len(L, 2);
  if (count > kCommandRulesMax) return Raise(L, "more than 256 rules about commands");
  for (lua_Integer i = 1; i <= count; ++i) {
    lua_geti(L, 2, i);
    ReadCommandRule(L, &binding.command_rules.emplace_back());
    lua_pop(L, 1);
    if (!CheckLastRule(&binding)) return Raise(L, "%s", binding.problem.c_str());
  }
  Charge(L, static_cast<int64_t>(command.size()) * (1 + count));
  CommandLevel level = CommandLevel::kNone;
  const int rule = JudgeInto(command, lua_toboolean(L, 3) != 0, &binding, &level);
  lua_pushinteger(L, static_cast<lua_Integer>(level));
  if (rule > 0) {
    lua_pushinteger(L, rule);
  } else {
    lua_pushnil(L);
  }
  lua_pushlstring(L, binding.command_text.data(), binding.command_text.size());
  return 3;
}

// False: the text is no diff. No Lua in here, as in Declare.
bool DiffPathsOf(std::string_view diff, std::vector<std::string>* paths) {
  const auto files = ParsePatch(diff);
  if (!files.ok()) return false;
  for (const FilePatch& file : *files) paths->push_back(file.path);
  return true;
}

int DiffPaths(lua_State* L) {  // (diff): the paths that it changes, or nil
  const std::string_view diff = TextAt(L, 1);
  Charge(L, static_cast<int64_t>(diff.size()));
  std::vector<std::string>& paths = BindingOf(L).diff_paths;
  paths.clear();
  if (!DiffPathsOf(diff, &paths)) return 0;
  lua_createtable(L, static_cast<int>(paths.size()), 0);
  for (size_t i = 0; i < paths.size(); ++i) {
    lua_pushlstring(L, paths[i].data(), paths[i].size());
    lua_rawseti(L, -2, static_cast<lua_Integer>(i) + 1);
  }
  return 1;
}

int ReadOnly(lua_State* L) {  // (table): a view of it
  lua_settop(L, 1);
  Freeze(L);
  return 1;
}

int ShellCommandOf(lua_State* L) {  // (words): a command that has them as its words
  std::string& command = BindingOf(L).command_text;
  command.clear();
  const lua_Integer count = luaL_len(L, 1);
  for (lua_Integer i = 1; i <= count; ++i) {
    lua_geti(L, 1, i);
    const std::string_view word = TextAt(L, -1);
    Charge(L, static_cast<int64_t>(word.size()));
    AppendShellWord(word, &command);
    lua_pop(L, 1);
  }
  lua_pushlstring(L, command.data(), command.size());
  return 1;
}

int Framed(lua_State* L) {  // (tool, text): what the tool gave, as somebody else's
  const std::string_view tool = TextAt(L, 1), text = TextAt(L, 2);
  Charge(L, static_cast<int64_t>(text.size()));
  std::string& framed = BindingOf(L).command_text;
  framed = FramedText("what " + std::string(tool) + " gave", tool, std::string(text));
  lua_pushlstring(L, framed.data(), framed.size());
  return 1;
}

// FNV-1a: tells calls apart; nothing rests on it that an opponent could gain by.
int Digest(lua_State* L) {
  const std::string_view text = TextAt(L, 1);
  Charge(L, static_cast<int64_t>(text.size()));
  uint64_t hash = 0xcbf29ce484222325;
  for (const char byte : text) hash = (hash ^ static_cast<uint8_t>(byte)) * 0x100000001b3;
  char digits[16];
  for (int i = 0; i < 16; ++i) digits[i] = "0123456789abcdef"[hash >> (60 - 4 * i) & 15];
  lua_pushlstring(L, digits, sizeof(digits));
  return 1;
}

// The line of the script that runs: what is declared stands there. 0: none does.
int LineOf(lua_State* L) {
  lua_Debug frame;
  for (int level = 0; lua_getstack(L, level, &frame) != 0; ++level) {
    if (lua_getinfo(L, "Sl", &frame) == 0 || frame.currentline <= 0) continue;
    if (std::strcmp(frame.source, kOwnChunk) != 0) return frame.currentline;
  }
  return 0;
}

int Line(lua_State* L) {
  lua_pushinteger(L, LineOf(L));
  return 1;
}

// False: `binding->problem` says why not. No Lua in here, so that nothing jumps over its objects.
bool Declare(ToolSpec spec, TurnBinding* binding) {
  ToolSet tools;
  for (const ToolSpec& earlier : binding->declared)
    tools.Add(earlier).IgnoreError("checked before");
  const Status status = tools.Add(spec);
  if (!status.ok()) {
    binding->problem = status.message();
    return false;
  }
  binding->declared.push_back(std::move(spec));
  return true;
}

bool DeclareFrom(std::string_view name, std::string_view about, std::string_view parameters,
                 int64_t effect, int64_t output_bytes_max, TurnBinding* binding) {
  ToolSpec spec;
  spec.name = name;
  spec.description = about;
  spec.parameters = parameters;
  spec.effect = static_cast<EffectClass>(effect);
  spec.output_bytes_max = output_bytes_max;
  return Declare(std::move(spec), binding);
}

int DeclareTool(lua_State* L) {  // (name, about, parameters, effect, output)
  const std::string_view name = TextAt(L, 1), about = TextAt(L, 2), parameters = TextAt(L, 3);
  Charge(L, static_cast<int64_t>(parameters.size()));
  const int64_t effect = luaL_checkinteger(L, 4), output = luaL_checkinteger(L, 5);
  TurnBinding& binding = BindingOf(L);
  if (!DeclareFrom(name, about, parameters, effect, output, &binding)) {
    return Raise(L, "%s", binding.problem.c_str());
  }
  binding.declared_lines.push_back(LineOf(L));
  return 0;
}

void KeepRule(std::string_view decision, std::string_view tools, bool whole, int64_t line,
              TurnBinding* binding) {
  if (binding->rules.size() >= kRulesKept) return;
  DeclaredRule rule{static_cast<int>(line), std::string(decision), {}, whole};
  while (!tools.empty()) {
    const size_t end = std::min(tools.find('|'), tools.size());
    rule.tools.emplace_back(tools.substr(0, end));
    tools.remove_prefix(std::min(end + 1, tools.size()));
  }
  binding->rules.push_back(std::move(rule));
}

int DeclareRule(lua_State* L) {  // (decision, tools, of whole calls, line)
  const std::string_view decision = TextAt(L, 1), tools = TextAt(L, 2);
  const lua_Integer line = luaL_checkinteger(L, 4);
  KeepRule(decision, tools.substr(0, kRuleToolsRead), lua_toboolean(L, 3) != 0, line,
           &BindingOf(L));
  return 0;
}

bool Fits(std::string_view schema, std::string_view text, std::string_view what,
          TurnBinding* binding) {
  const auto parsed = Schema::ParseValue(schema, std::string(what));
  const Status status = parsed.ok() ? parsed->Validate(text) : parsed.status();
  if (!status.ok()) binding->problem = status.message();
  return status.ok();
}

int CheckValue(lua_State* L) {  // (schema, text, what it is): nothing, or what is wrong
  const std::string_view schema = TextAt(L, 1), text = TextAt(L, 2), what = TextAt(L, 3);
  Charge(L, static_cast<int64_t>(schema.size() + text.size()));
  TurnBinding& binding = BindingOf(L);
  if (Fits(schema, text, what, &binding)) return 0;
  lua_pushlstring(L, binding.problem.data(), binding.problem.size());
  return 1;
}

constexpr LibraryFunction kChecks[] = {{"check_tool_pattern", CheckPattern},
                                       {"check_value", CheckValue},
                                       {"declare_rule", DeclareRule},
                                       {"declare_tool", DeclareTool},
                                       {"diff_paths", DiffPaths},
                                       {"digest", Digest},
                                       {"framed", Framed},
                                       {"judge_command", JudgeCommandText},
                                       {"line", Line},
                                       {"matches_tool", MatchesTool},
                                       {"raise", RaiseText},
                                       {"read_only", ReadOnly},
                                       {"shell_command", ShellCommandOf},
                                       {"wildcard", Wildcard},
                                       {nullptr, nullptr}};

}  // namespace

void AddChecks(lua_State* L) { SetFunctions(L, kChecks); }

}  // namespace baleen
