// What scripts declare: loads our Lua when a script first names one of its globals, and gives it
// the effects, tools and checks that it is made of.
#include <array>
#include <cstdarg>
#include <cstring>
#include <lua5.4/lua.hpp>
#include <string>
#include <string_view>

#include "agent/agent.h"
#include "agent/lua_baleen.h"
#include "agent/lua_libraries.h"
#include "agent/lua_sandbox_state.h"
#include "agent/lua_sources.h"

namespace baleen {
namespace {

// Their addresses are registry keys.
const char kParts = 0;

constexpr const char* kGlobals[] = {"allow", "ask",    "bool",    "deny",    "fail", "flow",
                                    "int",   "list",   "memo",    "note",    "on",   "one_of",
                                    "opt",   "policy", "require", "session", "str",  "tool"};

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
  constexpr LibraryFunction kCore[] = {{"call_tools", CallTools},
                                       {"default_loop", DefaultLoop},
                                       {"generate", Generate},
                                       {"generate_or_compact", GenerateOrCompact},
                                       {"generate_uncompacted", GenerateUncompacted},
                                       {"in_branch", InBranch},
                                       {"limited", Limited},
                                       {"run_branches", RunBranches},
                                       {"set_close", SetClose},
                                       {"undivided", Undivided},
                                       {nullptr, nullptr}};
  lua_newtable(L);
  SetFunctions(L, kCore);
  AddChecks(L);
  AddSteps(L);
  lua_pushinteger(L, kBranchesMax);
  lua_setfield(L, -2, "branches_max");
  lua_pushboolean(L, BindingOf(L).first_turn);
  lua_setfield(L, -2, "first_turn");
  lua_pushboolean(L, BindingOf(L).has_script);
  lua_setfield(L, -2, "has_script");
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

// Whether the function on top takes more than the message.
bool TakesContext(lua_State* L) {
  if (!lua_isfunction(L, -1)) return false;
  lua_Debug about;
  lua_pushvalue(L, -1);
  return lua_getinfo(L, ">u", &about) != 0 && (about.nparams > 1 || about.isvararg != 0);
}

}  // namespace

void PushTurnFunction(lua_State* L) {
  const TurnBinding* binding = StateOf(L).binding;
  const bool errand = binding != nullptr && !binding->errand.empty();
  if (errand || (binding != nullptr && binding->has_script && TakesContext(L))) LoadDeclarations(L);
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
