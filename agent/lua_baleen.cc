#include "agent/lua_baleen.h"

#include <cmath>
#include <limits>
#include <lua5.4/lua.hpp>
#include <string>

#include "agent/lua_api.h"
#include "agent/lua_libraries.h"
#include "agent/lua_sandbox_state.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

constexpr lua_Integer kMessagesMax = 1024;
constexpr size_t kNameBytesMax = 64;

}  // namespace

TurnBinding& BindingOf(lua_State* L) { return *StateOf(L).binding; }

void CheckYieldable(lua_State* L, const char* name) {
  if (lua_isyieldable(L) != 0 && !BindingOf(L).asks_nothing) return;
  Raise(L,
        "%s cannot wait here: call it from the turn's function, not while the script loads "
        "and not inside a sort, gsub or __tostring function",
        name);
}

namespace {

// Raises for members that nobody reads: a misspelt option must not be ignored.
void CheckMembers(lua_State* L, int index, const char* what, const LuaClass& table) {
  lua_pushnil(L);
  while (lua_next(L, index) != 0) {
    lua_pop(L, 1);
    bool known = false;
    if (lua_type(L, -1) == LUA_TSTRING) {
      const std::string_view member = lua_tostring(L, -1);
      for (const LuaField& field : table.fields) known |= member == NameOf(field);
    }
    if (!known) {
      PushText(L, -1);
      Raise(L, "%s: unknown member '%s'", what, lua_tostring(L, -1));
    }
  }
}

}  // namespace

void TakeText(lua_State* L, const char* what, const char* member, std::string* out) {
  if (lua_type(L, -1) != LUA_TSTRING) {
    Raise(L, "%s: '%s' must be a string, got %s", what, member, luaL_typename(L, -1));
  }
  size_t size = 0;
  const char* text = lua_tolstring(L, -1, &size);
  Charge(L, static_cast<int64_t>(size / 8));
  const size_t valid = Utf8ValidPrefix(std::string_view(text, size));
  if (valid != size) {
    Raise(L, "%s: '%s' is not UTF-8 at byte %I of %I", what, member,
          static_cast<LUAI_UACINT>(valid), static_cast<LUAI_UACINT>(size));
  }
  out->assign(text, size);
  lua_pop(L, 1);
}

namespace {

void TakeMessage(lua_State* L, int index, Message* out) {
  constexpr const char* kWhat = "baleen.generate: message";
  CheckMembers(L, index, kWhat, kMessageTable);
  lua_getfield(L, index, "role");
  const std::string_view role = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
  if (role != "user" && role != "tool") {
    Raise(L, "%s: 'role' must be \"user\" or \"tool\"", kWhat);
  }
  out->role = role == "user" ? Role::kUser : Role::kTool;
  lua_pop(L, 1);
  lua_getfield(L, index, "content");
  TakeText(L, kWhat, "content", &out->content);
  lua_getfield(L, index, "tool_call_id");
  if (out->role == Role::kTool) {
    TakeText(L, kWhat, "tool_call_id", &out->tool_call_id);
  } else if (!lua_isnil(L, -1)) {
    Raise(L, "%s: 'tool_call_id' belongs to tool messages only", kWhat);
  } else {
    lua_pop(L, 1);
  }
}

void TakeMessages(lua_State* L, GenerateEffect* effect) {
  const int user_type = lua_getfield(L, 1, "user");
  const int messages_type = lua_getfield(L, 1, "messages");
  if ((user_type == LUA_TNIL) == (messages_type == LUA_TNIL)) {
    Raise(L, "baleen.generate: give either 'user' or 'messages'");
  }
  if (messages_type == LUA_TNIL) {
    lua_pop(L, 1);
    effect->append.emplace_back();
    TakeText(L, "baleen.generate", "user", &effect->append.back().content);
    return;
  }
  if (messages_type != LUA_TTABLE) {
    Raise(L, "baleen.generate: 'messages' must be a table, got %s", luaL_typename(L, -1));
  }
  const lua_Integer count = static_cast<lua_Integer>(lua_rawlen(L, -1));
  if (count < 1 || count > kMessagesMax) {
    Raise(L, "baleen.generate: 'messages' must hold 1 to %I messages, got %I",
          static_cast<LUAI_UACINT>(kMessagesMax), static_cast<LUAI_UACINT>(count));
  }
  for (lua_Integer i = 1; i <= count; ++i) {
    if (lua_rawgeti(L, 3, i) != LUA_TTABLE) {
      Raise(L, "baleen.generate: message %I must be a table, got %s", static_cast<LUAI_UACINT>(i),
            luaL_typename(L, -1));
    }
    effect->append.emplace_back();
    TakeMessage(L, lua_gettop(L), &effect->append.back());
    lua_pop(L, 1);
  }
  lua_pop(L, 2);
}

// Reads an optional integer member of the table at 1. Returns false where it is absent.
bool TakeInteger(lua_State* L, const char* member, lua_Integer least, lua_Integer* out) {
  const bool present = lua_getfield(L, 1, member) != LUA_TNIL;
  int is_integer = 0;
  if (present) {
    *out = lua_tointegerx(L, -1, &is_integer);
    if (is_integer == 0 || lua_type(L, -1) != LUA_TNUMBER || *out < least) {
      Raise(L, "baleen.generate: '%s' must be an integer of at least %I", member,
            static_cast<LUAI_UACINT>(least));
    }
  }
  lua_pop(L, 1);
  return present;
}

// Reads an optional text member of the table at 1.
void TakeOptionalText(lua_State* L, const char* member, std::optional<std::string>* out) {
  if (lua_getfield(L, 1, member) == LUA_TNIL) {
    lua_pop(L, 1);
    return;
  }
  TakeText(L, "baleen.generate", member, &out->emplace());
}

void PushGenerated(lua_State* L, const GeneratedEvent& event) {
  const auto set = [L](const char* member, const std::string& text) {
    lua_pushlstring(L, text.data(), text.size());
    lua_setfield(L, -2, member);
  };
  lua_createtable(L, 0, 6);
  set("content", event.message.content);
  set("reasoning", event.message.reasoning);
  if (!event.parse_error.empty()) set("parse_error", event.parse_error);
  constexpr const char* kReasons[] = {"stop", "length", "tool_calls"};
  lua_pushstring(L, kReasons[static_cast<int>(event.reason)]);
  lua_setfield(L, -2, "finish_reason");
  lua_pushinteger(L, event.tokens);
  lua_setfield(L, -2, "tokens");
  lua_newtable(L);
  lua_Integer position = 0;
  for (const ToolCall& call : event.message.tool_calls) {
    lua_createtable(L, 0, 4);
    set("id", call.id);
    set("name", call.name);
    set("arguments_json", call.arguments);
    const char* message = nullptr;
    size_t offset = 0;
    // Text that isn't JSON travels on as `arguments_json`; the runtime answers such a call itself.
    if (PushJsonValue(L, call.arguments.data(), call.arguments.size(), &message, &offset)) {
      lua_setfield(L, -2, "arguments");
    }
    lua_rawseti(L, -2, ++position);
  }
  lua_setfield(L, -2, "tool_calls");
}

int GenerateDone(lua_State* L, int, lua_KContext) {
  const AgentEvent* event = BindingOf(L).event;
  if (const auto* due = std::get_if<CompactionDueEvent>(event)) {
    lua_pushnil(L);
    lua_pushinteger(L, due->tokens);
    lua_pushinteger(L, due->tokens_max);
    return 3;
  }
  PushGenerated(L, *std::get_if<GeneratedEvent>(event));
  return 1;
}

// Makes the effect of the table at 1, the only value on the stack.
GenerateEffect* TakeGenerate(lua_State* L) {
  if (lua_type(L, 1) != LUA_TTABLE) {
    Raise(L, "baleen.generate: expected a table, got %s", luaL_typename(L, 1));
  }
  CheckYieldable(L, "baleen.generate");
  CheckMembers(L, 1, "baleen.generate", kGenerateRequest);
  GenerateEffect* effect = &BindingOf(L).effect.emplace<GenerateEffect>();
  TakeMessages(L, effect);
  lua_Integer seed = 0, tokens_max = 0;
  if (TakeInteger(L, "max_tokens", 1, &tokens_max)) effect->tokens_max = tokens_max;
  if (TakeInteger(L, "seed", 0, &seed)) effect->seed = static_cast<uint64_t>(seed);
  if (lua_getfield(L, 1, "temperature") != LUA_TNIL) {
    const double value = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
    if (!(value >= 0 && value <= 100)) {
      Raise(L, "baleen.generate: 'temperature' must be a number from 0 to 100");
    }
    effect->temperature = static_cast<float>(value);
  }
  lua_Integer thinking_tokens = 0;
  if (TakeInteger(L, "thinking_tokens", 0, &thinking_tokens)) {
    effect->thinking_tokens = thinking_tokens;
  }
  TakeOptionalText(L, "tool_choice", &effect->tool_choice);
  TakeOptionalText(L, "answer_schema", &effect->answer_schema);
  return effect;
}

int YieldGenerate(lua_State* L) {
  BindingOf(L).effect_ready = true;
  return lua_yieldk(L, 0, 0, GenerateDone);
}

}  // namespace

int Generate(lua_State* L) {
  lua_settop(L, 1);
  TakeGenerate(L);
  return YieldGenerate(L);
}

// (request): the reply; or, where the context must be compacted first, nil, the tokens that it
// would have, and may have.
int GenerateOrCompact(lua_State* L) {
  lua_settop(L, 1);
  TakeGenerate(L)->asks_to_compact = true;
  return YieldGenerate(L);
}

int GenerateUncompacted(lua_State* L) {  // (request, why)
  lua_settop(L, 2);
  TakeText(L, "a generation", "why", &BindingOf(L).problem);
  TakeGenerate(L)->refuses_compaction = BindingOf(L).problem;
  return YieldGenerate(L);
}

namespace {

// Leaves the JSON text of the call's arguments on top. The model's own text is kept unless the
// script changed the table: it holds the members in the order in which the model wrote them.
void PushArguments(lua_State* L, int call) {
  constexpr const char* kWhat = "baleen.call_tools";
  const int text_type = lua_getfield(L, call, "arguments_json");
  const int table_type = lua_getfield(L, call, "arguments");
  if (text_type != LUA_TNIL && text_type != LUA_TSTRING) {
    Raise(L, "%s: 'arguments_json' must be a string", kWhat);
  }
  if (table_type != LUA_TNIL && table_type != LUA_TTABLE) {
    Raise(L, "%s: 'arguments' must be a table, got %s", kWhat, luaL_typename(L, -1));
  }
  if (table_type == LUA_TNIL) {
    lua_pop(L, 1);
    if (text_type == LUA_TNIL) {
      lua_pop(L, 1);
      lua_pushliteral(L, "{}");
    }
    return;
  }
  PushJson(L, -1);
  const std::string_view encoded = lua_tostring(L, -1);
  if (encoded.front() != '{') Raise(L, "%s: 'arguments' must have named members", kWhat);
  lua_replace(L, -2);
  if (text_type == LUA_TSTRING) {
    size_t size = 0, offset = 0;
    const char* message = nullptr;
    const char* text = lua_tolstring(L, -2, &size);
    if (PushJsonValue(L, text, size, &message, &offset)) {
      PushJson(L, -1);
      const bool unchanged = lua_rawequal(L, -1, -3) != 0;
      lua_pop(L, 2);
      if (unchanged) {
        lua_pop(L, 1);
        return;
      }
    }
  }
  lua_replace(L, -2);
}

void TakeCall(lua_State* L, int index, TurnBinding* binding, ToolCall* out) {
  constexpr const char* kWhat = "baleen.call_tools";
  CheckMembers(L, index, kWhat, kCallTable);
  lua_getfield(L, index, "name");
  TakeText(L, kWhat, "name", &out->name);
  if (out->name.empty() || out->name.size() > kNameBytesMax) {
    Raise(L, "%s: 'name' must have 1 to %d bytes", kWhat, static_cast<int>(kNameBytesMax));
  }
  if (lua_getfield(L, index, "id") == LUA_TNIL) {
    lua_pop(L, 1);
    lua_pushfstring(L, "c%I", static_cast<LUAI_UACINT>(++binding->calls_made));
  }
  TakeText(L, kWhat, "id", &out->id);
  PushArguments(L, index);
  TakeText(L, kWhat, "arguments", &out->arguments);
}

void PushOutcome(lua_State* L, const ToolResult& result) {
  lua_pushlstring(L, result.content.data(), result.content.size());
  lua_pushstring(L, ToolOutcomeName(result.outcome));
}

const std::vector<ToolResult>& ResultsOf(const TurnBinding& binding) {
  if (binding.call_results != nullptr) return *binding.call_results;
  return std::get_if<ToolResultsEvent>(binding.event)->results;
}

int CallToolsDone(lua_State* L, int, lua_KContext) {
  const std::vector<ToolResult>& results = ResultsOf(BindingOf(L));
  lua_createtable(L, static_cast<int>(results.size()), 0);
  lua_Integer position = 0;
  for (const ToolResult& result : results) {
    lua_createtable(L, 0, 3);
    lua_pushlstring(L, result.call_id.data(), result.call_id.size());
    lua_setfield(L, -2, "call_id");
    PushOutcome(L, result);
    lua_setfield(L, -3, "outcome");
    lua_setfield(L, -2, "content");
    lua_rawseti(L, -2, ++position);
  }
  return 1;
}

// Adds what tables 2 and 3 say of call `i`: "ask" or "deny" (or nothing), and why.
void TakeVerdict(lua_State* L, lua_Integer i, CallToolsEffect* effect) {
  if (!lua_istable(L, 2) || !lua_istable(L, 3)) return;
  lua_rawgeti(L, 2, i);
  const std::string_view decision = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
  lua_pop(L, 1);
  if (decision != "ask" && decision != "deny") return;
  CallVerdict& verdict = effect->verdicts.emplace_back();
  verdict.call_id = effect->calls.back().id;
  verdict.deny = decision == "deny";
  lua_rawgeti(L, 3, i);
  TakeText(L, "baleen.call_tools", "why", &verdict.why);
}

}  // namespace

int CallTools(lua_State* L) {
  if (lua_type(L, 1) != LUA_TTABLE) {
    return Raise(L, "baleen.call_tools: expected a table, got %s", luaL_typename(L, 1));
  }
  lua_settop(L, 3);
  CheckYieldable(L, "baleen.call_tools");
  const lua_Integer count = static_cast<lua_Integer>(lua_rawlen(L, 1));
  if (count < 1 || count > kCallsMax) {
    return Raise(L, "baleen.call_tools: 1 to %I calls at once, got %I",
                 static_cast<LUAI_UACINT>(kCallsMax), static_cast<LUAI_UACINT>(count));
  }
  TurnBinding& binding = BindingOf(L);
  CallToolsEffect* effect = &binding.effect.emplace<CallToolsEffect>();
  for (lua_Integer i = 1; i <= count; ++i) {
    if (lua_rawgeti(L, 1, i) != LUA_TTABLE) {
      return Raise(L, "baleen.call_tools: call %I must be a table, got %s",
                   static_cast<LUAI_UACINT>(i), luaL_typename(L, -1));
    }
    effect->calls.emplace_back();
    TakeCall(L, lua_gettop(L), &binding, &effect->calls.back());
    lua_pop(L, 1);
    TakeVerdict(L, i, effect);
    for (size_t earlier = 0; earlier + 1 < effect->calls.size(); ++earlier) {
      if (effect->calls[earlier].id != effect->calls.back().id) continue;
      return Raise(L, "baleen.call_tools: two calls have the id '%s'",
                   effect->calls[earlier].id.c_str());
    }
  }
  binding.effect_ready = true;
  return lua_yieldk(L, 0, 0, CallToolsDone);
}

namespace {

int CallDone(lua_State* L, int, lua_KContext) {
  PushOutcome(L, ResultsOf(BindingOf(L))[0]);
  return 2;
}

int Call(lua_State* L) {
  if (lua_type(L, 1) != LUA_TSTRING) {
    return Raise(L, "baleen.call: expected the name of a tool, got %s", luaL_typename(L, 1));
  }
  if (!lua_isnoneornil(L, 2) && !lua_istable(L, 2)) {
    return Raise(L, "baleen.call: expected arguments as a table, got %s", luaL_typename(L, 2));
  }
  lua_settop(L, 2);
  CheckYieldable(L, "baleen.call");
  lua_createtable(L, 0, 2);
  lua_insert(L, 1);
  lua_setfield(L, 1, "arguments");
  lua_setfield(L, 1, "name");
  TurnBinding& binding = BindingOf(L);
  CallToolsEffect* effect = &binding.effect.emplace<CallToolsEffect>();
  effect->calls.emplace_back();
  TakeCall(L, 1, &binding, &effect->calls.back());
  binding.effect_ready = true;
  return lua_yieldk(L, 0, 0, CallDone);
}

int PublicCall(lua_State* L) { return CallThrough(L, "call", Call); }
int PublicCallTools(lua_State* L) {
  lua_settop(L, 1);  // the rest is api.lua's
  return CallThrough(L, "call_tools", CallTools);
}
int PublicGenerate(lua_State* L) { return CallThrough(L, "generate", Generate); }

}  // namespace

void PushUserMessage(lua_State* L) {
  const std::string& text = std::get_if<UserTurnEvent>(BindingOf(L).event)->text;
  lua_pushlstring(L, text.data(), text.size());
}

void SetFinishEffect(lua_State* L) {
  TurnBinding& binding = BindingOf(L);
  if (lua_type(L, -1) != LUA_TSTRING) {
    Raise(L, "the turn's function must return the final text (a string), got %s",
          luaL_typename(L, -1));
  }
  TakeText(L, "the turn's result", "text", &binding.effect.emplace<FinishEffect>().text);
  binding.effect_ready = true;
}

void OpenBaleen(lua_State* L) {
  constexpr LibraryFunction kFunctions[] = {{"call", PublicCall},
                                            {"call_tools", PublicCallTools},
                                            {"generate", PublicGenerate},
                                            {"random", Random},
                                            {nullptr, nullptr}};
  lua_newtable(L);
  SetFunctions(L, kFunctions);
  OpenJson(L);
  Freeze(L);
  lua_setfield(L, -2, "json");
  lua_newtable(L);
  lua_Integer position = 0;
  for (const ToolSpec& spec : BindingOf(L).tools) {
    lua_createtable(L, 0, 2);
    lua_pushlstring(L, spec.name.data(), spec.name.size());
    lua_setfield(L, -2, "name");
    lua_pushlstring(L, spec.description.data(), spec.description.size());
    lua_setfield(L, -2, "description");
    lua_rawseti(L, -2, ++position);
  }
  lua_setfield(L, -2, "tools");
}

}  // namespace baleen
