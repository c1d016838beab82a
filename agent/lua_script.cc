// What scripts declare: loads our Lua when a script first names one of its globals, and gives it
// the effects, tools and checks that it is made of.
#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstdint>
#include <cstring>
#include <lua5.4/lua.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "agent/agent.h"
#include "agent/lua_baleen.h"
#include "agent/lua_libraries.h"
#include "agent/lua_sources.h"
#include "agent/sandbox_state.h"
#include "tools_sdk/builtin/patch.h"
#include "tools_sdk/schema.h"
#include "tools_sdk/shell/shell_quote.h"
#include "tools_sdk/tool_set.h"
#include "tools_sdk/wildcard.h"

namespace baleen {
namespace {

// Their addresses are registry keys.
const char kParts = 0;

constexpr const char* kGlobals[] = {"allow", "ask",    "bool",    "deny",    "fail", "flow",
                                    "int",   "list",   "memo",    "note",    "on",   "one_of",
                                    "opt",   "policy", "require", "session", "str",  "tool"};

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

// What is read of a rule about commands: a little more than CheckCommandRule lets pass, so that a
// script can't fill memory that isn't Lua's.
constexpr lua_Integer kListRead = 65;
constexpr size_t kWordRead = 257;
constexpr lua_Integer kCommandRulesMax = 256;

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
  if (DeclareFrom(name, about, parameters, effect, output, &binding)) return 0;
  return Raise(L, "%s", binding.problem.c_str());
}

bool FitsAnswer(std::string_view schema, std::string_view text, TurnBinding* binding) {
  const auto parsed = Schema::ParseValue(schema, "answer");
  const Status status = parsed.ok() ? parsed->Validate(text) : parsed.status();
  if (!status.ok()) binding->problem = status.message();
  return status.ok();
}

int CheckAnswer(lua_State* L) {  // (schema, text): nothing, or what is wrong
  const std::string_view schema = TextAt(L, 1), text = TextAt(L, 2);
  Charge(L, static_cast<int64_t>(schema.size() + text.size()));
  TurnBinding& binding = BindingOf(L);
  if (FitsAnswer(schema, text, &binding)) return 0;
  lua_pushlstring(L, binding.problem.data(), binding.problem.size());
  return 1;
}

int SleepDone(lua_State* L, int, lua_KContext) {
  lua_pushinteger(L, std::get_if<ClockEvent>(BindingOf(L).event)->unix_ms);
  return 1;
}

int Sleep(lua_State* L) {  // (milliseconds)
  CheckYieldable(L, "f:sleep and f:now");
  TurnBinding& binding = BindingOf(L);
  binding.effect.emplace<SleepEffect>().ms = luaL_checkinteger(L, 1);
  binding.effect_ready = true;
  return lua_yieldk(L, 0, 0, SleepDone);
}

int ApproveDone(lua_State* L, int, lua_KContext) {
  const ApprovalEvent& event = *std::get_if<ApprovalEvent>(BindingOf(L).event);
  lua_pushboolean(L, event.granted);
  lua_pushlstring(L, event.by.data(), event.by.size());
  lua_pushlstring(L, event.reason.data(), event.reason.size());
  return 3;
}

int Approve(lua_State* L) {  // (title, description)
  CheckYieldable(L, "f:approve");
  lua_settop(L, 2);
  TurnBinding& binding = BindingOf(L);
  ApproveEffect* effect = &binding.effect.emplace<ApproveEffect>();
  TakeText(L, "f:approve", "description", &effect->description);
  TakeText(L, "f:approve", "title", &effect->title);
  binding.effect_ready = true;
  return lua_yieldk(L, 0, 0, ApproveDone);
}

int AccountDone(lua_State*, int, lua_KContext) { return 0; }

int OpenAccount(lua_State* L) {  // (name, tokens, wall_ms, tool_calls, micro_usd)
  CheckYieldable(L, "a budget");
  TurnBinding& binding = BindingOf(L);
  AccountEffect* effect = &binding.effect.emplace<AccountEffect>();
  effect->tokens = luaL_checkinteger(L, 2);
  effect->wall_ms = luaL_checkinteger(L, 3);
  effect->tool_calls = luaL_checkinteger(L, 4);
  effect->micro_usd = luaL_checkinteger(L, 5);
  lua_settop(L, 1);
  TakeText(L, "a budget", "name", &effect->name);
  binding.effect_ready = true;
  return lua_yieldk(L, 0, 0, AccountDone);
}

int CloseAccount(lua_State* L) {
  CheckYieldable(L, "a budget");
  TurnBinding& binding = BindingOf(L);
  binding.effect.emplace<AccountEffect>().opens = false;
  binding.effect_ready = true;
  return lua_yieldk(L, 0, 0, AccountDone);
}

int PushTextOrError(lua_State* L, const std::string& text, const std::string& error) {
  if (!error.empty()) return Raise(L, "%s", error.c_str());
  lua_pushlstring(L, text.data(), text.size());
  return 1;
}

int ForkDone(lua_State* L, int, lua_KContext) {
  const ForkedEvent& event = *std::get_if<ForkedEvent>(BindingOf(L).event);
  PushTextOrError(L, event.session, event.error);
  lua_pushlstring(L, event.worktree.data(), event.worktree.size());
  return 2;
}

int Fork(lua_State* L) {  // (label, clean, worktree: 0 none, 1 without what is ignored, 2 all)
  CheckYieldable(L, "s:fork");
  TurnBinding& binding = BindingOf(L);
  ForkEffect* effect = &binding.effect.emplace<ForkEffect>();
  effect->clean = lua_toboolean(L, 2) != 0;
  effect->worktree = static_cast<ForkEffect::Worktree>(luaL_checkinteger(L, 3));
  lua_settop(L, 1);
  TakeText(L, "s:fork", "label", &effect->label);
  binding.effect_ready = true;
  return lua_yieldk(L, 0, 0, ForkDone);
}

int WorktreeDone(lua_State* L, int, lua_KContext) {
  const WorktreeEvent& event = *std::get_if<WorktreeEvent>(BindingOf(L).event);
  return PushTextOrError(L, event.diff, event.error);
}

int Worktree(lua_State* L) {  // (session, whether it is removed): the diff
  CheckYieldable(L, "a fork's worktree");
  TurnBinding& binding = BindingOf(L);
  WorktreeEffect* effect = &binding.effect.emplace<WorktreeEffect>();
  effect->removes = lua_toboolean(L, 2) != 0;
  lua_settop(L, 1);
  TakeText(L, "a fork's worktree", "session", &effect->session);
  binding.effect_ready = true;
  return lua_yieldk(L, 0, 0, WorktreeDone);
}

int CompactDone(lua_State* L, int, lua_KContext) {
  const CompactedEvent& event = *std::get_if<CompactedEvent>(BindingOf(L).event);
  return PushTextOrError(L, event.summary, event.error);
}

int Compact(lua_State* L) {  // (note to keep): the summary
  CheckYieldable(L, "s:compact");
  TurnBinding& binding = BindingOf(L);
  CompactEffect* effect = &binding.effect.emplace<CompactEffect>();
  lua_settop(L, 1);
  TakeText(L, "s:compact", "keep", &effect->keep);
  binding.effect_ready = true;
  return lua_yieldk(L, 0, 0, CompactDone);
}

int ChildTurnDone(lua_State* L, int, lua_KContext) {
  const TurnBinding& binding = BindingOf(L);
  const ChildTurnEnd& end = binding.child_end != nullptr
                                ? *binding.child_end
                                : *std::get_if<ChildTurnsEvent>(binding.event)->ends[0];
  lua_pushboolean(L, end.succeeded);
  const std::string& told = end.succeeded ? end.text : end.error;
  lua_pushlstring(L, told.data(), told.size());
  for (const int64_t spent : {end.tokens, end.wall_ms, end.tool_calls, end.micro_usd}) {
    lua_pushinteger(L, spent);
  }
  lua_createtable(L, static_cast<int>(end.files.size()), 0);
  lua_Integer position = 0;
  for (const std::string& path : end.files) {
    lua_pushlstring(L, path.data(), path.size());
    lua_rawseti(L, -2, ++position);
  }
  return 7;
}

int RunChildTurn(lua_State* L) {  // (session, text, errand, tokens, wall_ms, tool_calls, micro_usd)
  CheckYieldable(L, "a fork's turn");
  TurnBinding& binding = BindingOf(L);
  ChildTurn* turn = &binding.effect.emplace<ChildTurnsEffect>().turns.emplace_back();
  turn->tokens = luaL_checkinteger(L, 4);
  turn->wall_ms = luaL_checkinteger(L, 5);
  turn->tool_calls = luaL_checkinteger(L, 6);
  turn->micro_usd = luaL_checkinteger(L, 7);
  lua_settop(L, 3);
  TakeText(L, "a fork's turn", "errand", &turn->errand);
  TakeText(L, "a fork's turn", "text", &turn->text);
  TakeText(L, "a fork's turn", "session", &turn->session);
  binding.effect_ready = true;
  return lua_yieldk(L, 0, 0, ChildTurnDone);
}

std::string Compile(std::string_view source, const char* name) {
  std::string bytes;
  lua_State* L = luaL_newstate();
  if (L == nullptr) return bytes;  // then whoever loads it is told so
  const lua_Writer append = [](lua_State*, const void* part, size_t size, void* out) {
    static_cast<std::string*>(out)->append(static_cast<const char*>(part), size);
    return 0;
  };
  if (luaL_loadbufferx(L, source.data(), source.size(), name, "t") == LUA_OK) {
    lua_dump(L, append, &bytes, 0);
  }
  lua_close(L);
  return bytes;
}

// Ours, compiled once per process: parsing them for each turn would take longer than the turn's
// Lua.
struct OwnChunks {
  /// Each may use what those before it have left in the table of parts.
  std::array<std::string, 9> declarations = {
      Compile(OptionsSource(), kOwnChunk), Compile(KindsSource(), kOwnChunk),
      Compile(RulesSource(), kOwnChunk),   Compile(ContextSource(), kOwnChunk),
      Compile(HttpSource(), kOwnChunk),    Compile(HooksSource(), kOwnChunk),
      Compile(ToolsSource(), kOwnChunk),   Compile(ApiSource(), kOwnChunk),
      Compile(FlowSource(), kOwnChunk)};
  std::string loop = Compile(DefaultLoopSource(), "@loop.lua");
  std::string task = Compile(TaskSource(), kOwnChunk);
};

const OwnChunks& Own() {
  static const OwnChunks chunks;
  return chunks;
}

void LoadOwn(lua_State* L, const std::string& chunk) {
  if (luaL_loadbufferx(L, chunk.data(), chunk.size(), kOwnChunk, "b") != LUA_OK) lua_error(L);
}

/// Pushes the chunk, which sees all built-in globals.
void LoadOwnWithGlobals(lua_State* L, const std::string& chunk) {
  LoadOwn(L, chunk);
  PushBuiltins(L);
  lua_setupvalue(L, -2, 1);
}

int DefaultLoop(lua_State* L) {
  LoadOwn(L, Own().loop);
  lua_call(L, 0, 1);
  return 1;
}

// Moves the members of the table on top into the one at `globals`, tables as read-only views.
void AddGlobals(lua_State* L, int globals) {
  lua_pushnil(L);
  while (lua_next(L, -2) != 0) {
    if (lua_istable(L, -1)) Freeze(L);
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, globals);
  }
  lua_pop(L, 1);
}

int PassOn(lua_State* L, int, lua_KContext) { return lua_gettop(L); }

}  // namespace

void PushPlace(lua_State* L) {
  lua_Debug frame;
  for (int level = 0; lua_getstack(L, level, &frame) != 0; ++level) {
    if (lua_getinfo(L, "Sl", &frame) == 0 || frame.currentline <= 0) continue;
    if (std::strcmp(frame.source, kOwnChunk) == 0) continue;
    lua_pushfstring(L, "%s:%d: ", frame.short_src, frame.currentline);
    return;
  }
  lua_pushliteral(L, "");
}

int Raise(lua_State* L, const char* format, ...) {
  PushPlace(L);
  va_list arguments;
  va_start(arguments, format);
  lua_pushvfstring(L, format, arguments);
  va_end(arguments);
  lua_concat(L, 2);
  return lua_error(L);
}

void LoadDeclarations(lua_State* L) {
  const bool loaded = lua_rawgetp(L, LUA_REGISTRYINDEX, &kParts) != LUA_TNIL;
  lua_pop(L, 1);
  if (loaded) return;
  luaL_checkstack(L, 16, "declarations");
  constexpr LibraryFunction kCore[] = {{"approve", Approve},
                                       {"call_tools", CallTools},
                                       {"check_answer", CheckAnswer},
                                       {"child_turn", RunChildTurn},
                                       {"close_account", CloseAccount},
                                       {"compact", Compact},
                                       {"declare_tool", DeclareTool},
                                       {"default_loop", DefaultLoop},
                                       {"diff_paths", DiffPaths},
                                       {"digest", Digest},
                                       {"fork", Fork},
                                       {"generate", Generate},
                                       {"generate_or_compact", GenerateOrCompact},
                                       {"generate_uncompacted", GenerateUncompacted},
                                       {"in_branch", InBranch},
                                       {"judge_command", JudgeCommandText},
                                       {"limited", Limited},
                                       {"open_account", OpenAccount},
                                       {"raise", RaiseText},
                                       {"read_only", ReadOnly},
                                       {"run_branches", RunBranches},
                                       {"set_close", SetClose},
                                       {"shell_command", ShellCommandOf},
                                       {"sleep", Sleep},
                                       {"undivided", Undivided},
                                       {"wildcard", Wildcard},
                                       {"worktree", Worktree},
                                       {nullptr, nullptr}};
  lua_newtable(L);
  SetFunctions(L, kCore);
  lua_pushinteger(L, kBranchesMax);
  lua_setfield(L, -2, "branches_max");
  lua_pushboolean(L, BindingOf(L).first_turn);
  lua_setfield(L, -2, "first_turn");
  lua_newtable(L);
  const int core = lua_gettop(L) - 1, parts = core + 1;
  PushBuiltins(L);
  const int globals = lua_gettop(L);
  for (const std::string& chunk : Own().declarations) {
    LoadOwnWithGlobals(L, chunk);
    lua_pushvalue(L, core);
    lua_pushvalue(L, parts);
    lua_call(L, 2, 1);
    if (!lua_isnil(L, -1)) AddGlobals(L, globals);
    lua_settop(L, globals);
  }
  lua_pushvalue(L, parts);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &kParts);
  lua_settop(L, core - 1);
}

bool PushDeclaration(lua_State* L, const char* name) {
  for (const char* global : kGlobals) {
    if (std::strcmp(global, name) != 0) continue;
    LoadDeclarations(L);
    PushBuiltins(L);
    lua_pushstring(L, name);
    lua_rawget(L, -2);
    lua_remove(L, -2);
    return true;
  }
  return false;
}

namespace {

// Declares the tool task, whose parts LoadDeclarations has left.
void LoadTask(lua_State* L) {
  LoadDeclarations(L);
  LoadOwnWithGlobals(L, Own().task);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &kParts);
  lua_call(L, 1, 0);
}

}  // namespace

void PushTurnFunction(lua_State* L) {
  const TurnBinding* binding = StateOf(L).binding;
  const bool errand = binding != nullptr && !binding->errand.empty();
  if (errand) LoadDeclarations(L);
  if (binding != nullptr && binding->task) LoadTask(L);
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &kParts) == LUA_TNIL) {
    lua_pop(L, 1);
    return;
  }
  lua_getfield(L, -1, "turn_function");
  lua_replace(L, -2);
  lua_insert(L, -2);
  if (errand) lua_pushlstring(L, binding->errand.data(), binding->errand.size());
  lua_call(L, errand ? 2 : 1, 1);
}

int CallThrough(lua_State* L, const char* name, int (*plain)(lua_State*)) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &kParts) == LUA_TNIL) {
    lua_pop(L, 1);
    return plain(L);
  }
  lua_getfield(L, -1, name);
  lua_replace(L, -2);
  lua_insert(L, 1);
  lua_callk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, PassOn);
  return lua_gettop(L);
}

}  // namespace baleen
