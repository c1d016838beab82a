#include "agent/lua_sandbox.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <lua5.4/lua.hpp>

#include "agent/lua_baleen.h"
#include "agent/lua_libraries.h"

namespace baleen {
namespace {

// The parser resolves gotos in quadratic time; this keeps the worst source below a second.
constexpr size_t kSourceBytesMax = 256 << 10;

const char kTurnFunction = 0;  // Its address is a registry key.
const char kTurnThread = 0;
const char kBuiltins = 0;

static_assert(LUA_VERSION_NUM == 504, "another Lua may allocate its stacks in another order");

// Lua 5.4 allocates a thread's stack right after the thread, and a larger one right before it frees
// the one it had. `moved` is where `block` went; null: it was freed.
void FollowStack(SandboxState& state, const void* block, size_t tag, const void* moved,
                 size_t new_size) {
  const auto stack = std::find(std::begin(state.stacks), std::end(state.stacks), block);
  if (block == nullptr && state.stack_is_next) {
    const auto place = std::find(std::begin(state.stacks), std::end(state.stacks), nullptr);
    if (place != std::end(state.stacks)) *place = moved;
    state.stack_is_next = false;
  } else if (block == nullptr) {
    state.stack_is_next = tag == LUA_TTHREAD;
    state.allocated = moved;
    state.allocated_bytes = static_cast<int64_t>(new_size);
  } else if (moved == nullptr && stack != std::end(state.stacks)) {
    *stack = state.allocated;
    state.stack_bytes = state.allocated_bytes;
  }
}

// Counts every byte. Growth costs budget, because one instruction may copy megabytes. It never
// refuses for lack of budget (each refusal makes Lua collect everything); it ends the step instead.
void* Allocate(void* user, void* block, size_t old_size, size_t new_size) {
  SandboxState& state = *static_cast<SandboxState*>(user);
  const size_t tag = old_size;
  if (block == nullptr) old_size = 0;  // Then it is a type tag.
  if (new_size == 0) {
    if (block != nullptr) FollowStack(state, block, 0, nullptr, 0);
    std::free(block);
    state.memory_used -= static_cast<int64_t>(old_size);
    return nullptr;
  }
  const int64_t growth = static_cast<int64_t>(new_size) - static_cast<int64_t>(old_size);
  if (growth > 0) {
    const bool refused = state.memory_used + growth > state.memory_max ||
                         static_cast<int64_t>(new_size) > kAllocationBytesMax;
    // A refusal costs a full collection.
    state.instructions_left -= (refused ? state.memory_used : growth) / kBytesPerInstruction;
    if (state.instructions_left < 0) Exhaust(state);
    if (refused) {
      state.memory_refused = true;
      state.stack_is_next = false;  // the thread that it was for is dropped
      return nullptr;
    }
  }
  void* moved = std::realloc(block, new_size);
  // Lua relies on shrinking to succeed.
  if (moved == nullptr) return growth > 0 ? nullptr : block;
  FollowStack(state, block, tag, moved, new_size);
  state.memory_used += growth;
  return moved;
}

void RaiseExhausted(lua_State* L) {
  const SandboxState& state = StateOf(L);
  PushPlace(L);
  if (state.interrupted) {
    lua_pushliteral(L, "the step was interrupted");
  } else {
    lua_pushfstring(L, "the step used more than %I instructions; do less between two effects",
                    static_cast<LUAI_UACINT>(state.instructions_max));
  }
  lua_concat(L, 2);
  lua_error(L);
}

void CountHook(lua_State* L, lua_Debug*) {
  SandboxState& state = StateOf(L);
  if (!state.exhausted) {
    state.instructions_left -= kHookInterval * (1 + state.stack_bytes / kStackBytesPerCost);
    if (state.interrupt != nullptr && state.interrupt->load(std::memory_order_relaxed)) {
      state.interrupted = true;
    } else if (state.instructions_left >= 0) {
      if (!IsOverLimit(state)) return;
      RaiseOverLimit(L);
    }
    Exhaust(state);
  }
  RaiseExhausted(L);
}

// The coroutine's body: calls the script's function and hands its text to the binding.
int FinishTurn(lua_State* L, int, lua_KContext) {
  SetFinishEffect(L);
  return 0;
}

int RunTurn(lua_State* L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &kTurnFunction);
  PushUserMessage(L);
  lua_callk(L, 1, 1, 0, FinishTurn);
  return FinishTurn(L, LUA_OK, 0);
}

int WriteGlobal(lua_State* L) {  // (environment, name, value); upvalue: the built-in globals
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) {
    return luaL_error(L, "global '%s' is read-only", lua_tostring(L, 2));
  }
  lua_settop(L, 3);
  lua_rawset(L, 1);
  return 0;
}

// What isn't among the built-in globals may be one that is loaded when it is asked for.
int FindGlobal(lua_State* L) {  // (built-in globals, name)
  if (lua_type(L, 2) == LUA_TSTRING && PushDeclaration(L, lua_tostring(L, 2))) return 1;
  lua_pushnil(L);
  return 1;
}

void AddLibrary(lua_State* L, const char* name, void (*open)(lua_State*)) {
  open(L);
  Freeze(L);
  lua_setfield(L, -2, name);
}

// Leaves nothing on the stack. The script's environment is an empty table over the built-in
// globals.
int Build(lua_State* L) {
  luaL_checkstack(L, 20, "libraries");
  OpenBase(L);
  AddLibrary(L, "string", OpenString);
  AddLibrary(L, "table", OpenTable);
  AddLibrary(L, "math", OpenMath);
  AddLibrary(L, "utf8", OpenUtf8);
  if (StateOf(L).binding != nullptr) {
    AddLibrary(L, "baleen", OpenBaleen);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, FindGlobal);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
  }
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &kBuiltins);
  Freeze(L);
  // A frozen view whose writes go through when the name is free.
  lua_getmetatable(L, -1);
  lua_getfield(L, -1, "__index");
  lua_pushcclosure(L, WriteGlobal, 1);
  lua_setfield(L, -2, "__newindex");
  lua_pop(L, 1);
  lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);

  lua_State** turn = static_cast<lua_State**>(lua_touserdata(L, 1));
  *turn = lua_newthread(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &kTurnThread);
  return 0;
}

struct ChunkSource {
  const char* text;
  size_t size;
  const char* name;
};

int LoadChunk(lua_State* L) {
  const ChunkSource& source = *static_cast<const ChunkSource*>(lua_touserdata(L, 1));
  lua_pushfstring(L, "@%s", source.name);
  if (luaL_loadbufferx(L, source.text, source.size, lua_tostring(L, -1), "t") != LUA_OK) {
    return lua_error(L);
  }
  lua_rawsetp(L, LUA_REGISTRYINDEX, &kTurnFunction);
  return 0;
}

/// Leaves the table behind a frozen view on top.
void PushBehind(lua_State* L, int view) {
  lua_getmetatable(L, view);
  lua_getfield(L, -1, "__index");
  lua_remove(L, -2);
}

// Adds the members of the view on top, also those of views within; `path` is a string at that index
// that each name is put behind.
void AddMembers(lua_State* L, int path, std::set<std::string>* members) {
  luaL_checkstack(L, 8, "names");
  PushBehind(L, -1);
  lua_pushnil(L);
  while (lua_next(L, -2) != 0) {
    if (lua_type(L, -2) == LUA_TSTRING) {
      lua_pushfstring(L, "%s%s", lua_tostring(L, path), lua_tostring(L, -2));
      members->insert(lua_tostring(L, -1));
      lua_insert(L, -2);
      if (lua_type(L, -1) == LUA_TTABLE && IsFrozen(L, -1)) {
        lua_pushfstring(L, "%s.", lua_tostring(L, -2));
        lua_insert(L, -2);
        AddMembers(L, lua_gettop(L) - 1, members);
        lua_remove(L, -2);
      }
      lua_remove(L, -2);
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

int ReadGlobals(lua_State* L) {  // a pointer to the names, which nothing below outlives
  if (StateOf(L).binding != nullptr) LoadDeclarations(L);
  auto* names = static_cast<GlobalNames*>(lua_touserdata(L, 1));
  lua_pushliteral(L, "");
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
  PushBehind(L, -1);
  lua_pushnil(L);
  while (lua_next(L, -2) != 0) {
    std::set<std::string>* members = &(*names)[lua_tostring(L, -2)];
    if (lua_type(L, -1) == LUA_TTABLE && IsFrozen(L, -1)) AddMembers(L, 2, members);
    lua_pop(L, 1);
  }
  return 0;
}

int CallChunk(lua_State* L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &kTurnFunction);
  lua_call(L, 0, 1);
  PushTurnFunction(L);
  if (lua_type(L, -1) != LUA_TFUNCTION) {
    return luaL_error(L,
                      "the script must return function(message), or declare tools, a policy, hooks "
                      "or a flow; got %s",
                      luaL_typename(L, -1));
  }
  lua_rawsetp(L, LUA_REGISTRYINDEX, &kTurnFunction);
  return 0;
}

}  // namespace

void PushBuiltins(lua_State* L) { lua_rawgetp(L, LUA_REGISTRYINDEX, &kBuiltins); }

SandboxState& StateOf(lua_State* L) { return **static_cast<SandboxState**>(lua_getextraspace(L)); }

void Exhaust(SandboxState& state) {
  state.exhausted = true;
  // From now on the hook fires at every instruction, so that no pcall outlives the limit.
  if (state.running != nullptr) lua_sethook(state.running, CountHook, LUA_MASKCOUNT, 1);
}

void RunUnderHook(lua_State* L) {
  SandboxState& state = StateOf(L);
  state.running = L;
  lua_sethook(L, CountHook, LUA_MASKCOUNT, state.exhausted ? 1 : kHookInterval);
}

void Charge(lua_State* L, int64_t units) {
  SandboxState& state = StateOf(L);
  state.instructions_left -= units;
  if (state.instructions_left >= 0 && !state.exhausted) {
    if (!IsOverLimit(state)) return;
    RaiseOverLimit(L);
  }
  Exhaust(state);
  RaiseExhausted(L);
}

LuaSandbox::LuaSandbox(const LuaSandboxOptions& options) {
  state_.memory_max = options.memory_bytes_max;
  state_.instructions_max = options.instructions_max;
  state_.interrupt = options.interrupt;
  state_.binding = options.binding;
  SeedRandom(state_, options.seed);
}

LuaSandbox::~LuaSandbox() {
  if (main_ == nullptr) return;
  state_.running = nullptr;
  lua_close(main_);
}

Result<std::unique_ptr<LuaSandbox>> LuaSandbox::Create(const LuaSandboxOptions& options) {
  std::unique_ptr<LuaSandbox> sandbox(new LuaSandbox(options));
  SandboxState* state = &sandbox->state_;
  // Building the libraries is ours, not the script's: it costs memory, not instructions.
  state->instructions_left = INT64_MAX;
  lua_State* L = lua_newstate(Allocate, state);
  if (L == nullptr) {
    return ResourceExhaustedError("Lua state: the memory limit of " +
                                  std::to_string(options.memory_bytes_max) + " bytes is too small");
  }
  sandbox->main_ = L;
  *static_cast<SandboxState**>(lua_getextraspace(L)) = state;
  lua_pushcfunction(L, Build);
  lua_pushlightuserdata(L, &sandbox->turn_);
  if (const int code = lua_pcall(L, 1, 0, 0); code != LUA_OK) {
    return sandbox->ErrorFrom(L, code).WithContext("Lua libraries");
  }
  return sandbox;
}

void LuaSandbox::StartStep(lua_State* running) {
  if (state_.limited) state_.limit_left = LimitLeft(state_);
  state_.instructions_left = state_.limit_mark = state_.instructions_max;
  state_.memory_refused = false;
  RunUnderHook(running);
}

Status LuaSandbox::Compile(std::string_view source, std::string_view name) {
  script_name_ = std::string(name.substr(0, name.find('\0')));
  if (source.size() > kSourceBytesMax) {
    return InvalidArgumentError(script_name_ + ": the script has " + std::to_string(source.size()) +
                                " bytes, at most " + std::to_string(kSourceBytesMax) +
                                " are allowed; split it");
  }
  StartStep(main_);
  const ChunkSource chunk{source.data(), source.size(), script_name_.c_str()};
  lua_pushcfunction(main_, LoadChunk);
  lua_pushlightuserdata(main_, const_cast<ChunkSource*>(&chunk));
  const int code = lua_pcall(main_, 1, 0, 0);
  return code == LUA_OK ? OkStatus() : ErrorFrom(main_, code);
}

std::string LuaSandbox::Dump() {
  std::string bytes;
  lua_rawgetp(main_, LUA_REGISTRYINDEX, &kTurnFunction);
  const lua_Writer append = [](lua_State*, const void* part, size_t size, void* out) {
    static_cast<std::string*>(out)->append(static_cast<const char*>(part), size);
    return 0;
  };
  lua_dump(main_, append, &bytes, 0);
  lua_pop(main_, 1);
  return bytes;
}

Result<GlobalNames> LuaSandbox::Globals() {
  GlobalNames names;
  StartStep(main_);
  lua_pushcfunction(main_, ReadGlobals);
  lua_pushlightuserdata(main_, &names);
  const int code = lua_pcall(main_, 1, 0, 0);
  if (code != LUA_OK) return ErrorFrom(main_, code);
  return names;
}

Status LuaSandbox::RunChunk() {
  StartStep(main_);
  lua_pushcfunction(main_, CallChunk);
  const int code = lua_pcall(main_, 0, 0, 0);
  return code == LUA_OK ? OkStatus() : ErrorFrom(main_, code);
}

Result<LuaSandbox::StepEnd> LuaSandbox::Resume() {
  StartStep(turn_);
  if (!started_) {
    lua_pushcfunction(turn_, RunTurn);  // No upvalues: allocates nothing.
    started_ = true;
  }
  int results = 0;
  const int code = lua_resume(turn_, main_, 0, &results);
  if (code != LUA_OK && code != LUA_YIELD) return ErrorFrom(turn_, code);
  lua_pop(turn_, results);
  return code == LUA_YIELD ? StepEnd::kYielded : StepEnd::kReturned;
}

// Reads the error on top of `thread` without running Lua code or allocating in it.
Status LuaSandbox::ErrorFrom(lua_State* thread, int lua_status) {
  std::string text;
  size_t size = 0;
  if (lua_type(thread, -1) == LUA_TSTRING) {
    const char* raw = lua_tolstring(thread, -1, &size);
    text.assign(raw, size < 4096 ? size : 4096);
  } else {
    text = std::string("the error value is a ") + luaL_typename(thread, -1) + ", not a text";
  }
  if (text.rfind(script_name_ + ":", 0) != 0) {
    std::string place = script_name_;
    lua_Debug frame;
    // A coroutine that failed keeps its frames until it is closed.
    for (int level = 0; lua_getstack(thread, level, &frame) != 0; ++level) {
      if (lua_getinfo(thread, "Sl", &frame) == 0 || frame.currentline <= 0) continue;
      if (std::strcmp(frame.source, kOwnChunk) == 0) continue;
      place = frame.short_src + (":" + std::to_string(frame.currentline));
      break;
    }
    if (text.rfind(place + ":", 0) != 0) text = place.empty() ? text : place + ": " + text;
  }
  lua_pop(thread, 1);
  if (state_.interrupted) return CancelledError(text);
  if (lua_status == LUA_ERRMEM || (state_.memory_refused && text.ends_with("not enough memory"))) {
    return ResourceExhaustedError(text + " (limit " + std::to_string(state_.memory_max) +
                                  " bytes, and " + std::to_string(kAllocationBytesMax) +
                                  " for one value)");
  }
  if (state_.exhausted) return ResourceExhaustedError(text);
  return InvalidArgumentError(text);
}

}  // namespace baleen
