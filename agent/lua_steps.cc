// Steps of scripts besides generations and calls: the time, approvals, budgets, forks and their
// turns.
#include <cstdint>
#include <lua5.4/lua.hpp>
#include <string>

#include "agent/lua_baleen.h"
#include "agent/lua_libraries.h"
#include "agent/lua_sandbox_state.h"

namespace baleen {
namespace {

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

constexpr LibraryFunction kSteps[] = {{"approve", Approve},
                                      {"child_turn", RunChildTurn},
                                      {"close_account", CloseAccount},
                                      {"compact", Compact},
                                      {"fork", Fork},
                                      {"open_account", OpenAccount},
                                      {"sleep", Sleep},
                                      {"worktree", Worktree},
                                      {nullptr, nullptr}};

}  // namespace

void AddSteps(lua_State* L) { SetFunctions(L, kSteps); }

}  // namespace baleen
