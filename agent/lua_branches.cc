// Branches: items of an f:each or f:race, or bodies of tools, that run at once, each on a Lua
// thread of its own.
//
// Only the turns of forks run at the same time, and in a list that joins calls (of bodies) the
// calls that they make. Every other effect of a branch is the turn's, asked for and answered before
// another branch goes on; so the order of a turn's effects depends on nothing but their answers.
// Branches go on in the order of their items until all wait. Then the calls that are wanted are
// asked for as one effect, and all whose calls they are go on with its results; without such calls
// the forks are asked together, and whoever's fork ends first goes on while the others run. When
// the list ends before its items, by a race that is won or an error, what still runs is stopped.
#include <algorithm>
#include <iterator>
#include <lua5.4/lua.hpp>
#include <string>

#include "agent/lua_baleen.h"
#include "agent/lua_libraries.h"
#include "agent/lua_sandbox_state.h"

namespace baleen {
namespace {

const char kThreads = 0;  // Its address is a registry key.

// Arguments and places on the stack of RunBranches.
constexpr int kCount = 1, kAtOnce = 2, kBody = 3, kRace = 4, kJoins = 5, kResults = 6;
/// Of the yields for a branch's own effect, for the turns of forks, for stopping them, and for the
/// calls of several branches.
constexpr lua_KContext kOneEffect = 0, kForkTurns = 1, kStopped = 2, kCalls = 3;

// A thread is never given up once it exists: the allocator follows its stack (sandbox.cc).
lua_State* ThreadOf(lua_State* L, int number) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &kThreads) == LUA_TNIL) {
    lua_pop(L, 1);
    lua_createtable(L, kBranchesMax, 0);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &kThreads);
  }
  lua_rawgeti(L, -1, number);
  lua_State* thread = lua_tothread(L, -1);
  if (thread == nullptr) {
    thread = lua_newthread(L);
    lua_rawseti(L, -3, number);  // there is room: it can't fail
  }
  lua_pop(L, 2);
  // Of whatever was left in it by a list that ended early: what that has to close may ask for
  // nothing.
  BindingOf(L).asks_nothing = true;
  lua_resetthread(thread);
  BindingOf(L).asks_nothing = false;
  lua_settop(thread, 0);
  return thread;
}

/// The branch that `L` runs, or null.
Branch* BranchOf(lua_State* L) {
  for (Branch& branch : BindingOf(L).branches.branches) {
    if (branch.thread == L) return &branch;
  }
  return nullptr;
}

void Begin(lua_State* L) {
  const lua_Integer at_once = luaL_checkinteger(L, kAtOnce);
  BranchList& list = BindingOf(L).branches;
  // Whatever is in it belongs to a list that an error has ended.
  list.branches.clear();
  list.asked.clear();
  list.next = 1;
  list.winner = 0;
  list.failed = false;
  list.count = luaL_checkinteger(L, kCount);
  list.race = lua_toboolean(L, kRace) != 0;
  list.joins_calls = lua_toboolean(L, kJoins) != 0;
  luaL_checkstack(L, 8, "branches");
  for (int i = 1; i <= at_once && i <= kBranchesMax && i <= list.count; ++i) {
    lua_State* thread = ThreadOf(L, i);
    list.branches.emplace_back().thread = thread;
  }
}

int Continue(lua_State* L, int, lua_KContext context);

// Nothing of the list runs any more: its results and the winner, or its error.
int Leave(lua_State* L) {
  BranchList& list = BindingOf(L).branches;
  list.branches.clear();
  if (list.failed) return lua_error(L);  // the error is on top
  lua_pushinteger(L, list.winner);
  return 2;
}

// Stops what forks still do for the list, which is over.
int StopRest(lua_State* L) {
  TurnBinding& binding = BindingOf(L);
  // One that has used up its limits can't ask for anything; its turn ends, and they with it.
  if (StateOf(L).exhausted) return Leave(L);
  StopTurnsEffect& effect = binding.effect.emplace<StopTurnsEffect>();
  for (const Branch& branch : binding.branches.branches) {
    if (branch.runs) effect.sessions.push_back(branch.turn.session);
  }
  if (effect.sessions.empty()) return Leave(L);
  binding.effect_ready = true;
  return lua_yieldk(L, 0, kStopped, Continue);
}

// The list is done; `winner`: the item that won its race, or 0.
int End(lua_State* L, lua_Integer winner) {
  BindingOf(L).branches.winner = winner;
  lua_settop(L, kResults);
  return StopRest(L);
}

// Ends the list with what is on top of the branch's stack.
int Fail(lua_State* L, Branch& branch) {
  BindingOf(L).branches.failed = true;
  lua_settop(L, kResults);
  lua_xmove(branch.thread, L, 1);
  return StopRest(L);
}

enum class StepEnd { kEnded, kWaits, kEffect, kFailed };

// Keeps what the branch asks for until all wait. False: it is asked for at once, and alone.
bool HoldBack(TurnBinding& binding, Branch& branch) {
  if (branch.undivided > 0) return false;
  if (auto* turns = std::get_if<ChildTurnsEffect>(&binding.effect)) {
    branch.turn = std::move(turns->turns[0]);
    branch.wait = Branch::Wait::kForkTurn;
    return true;
  }
  auto* calls = std::get_if<CallToolsEffect>(&binding.effect);
  if (calls == nullptr || !binding.branches.joins_calls) return false;
  branch.calls = std::move(*calls);
  branch.wait = Branch::Wait::kCalls;
  return true;
}

// Lets the branch go on until it ends, fails or asks for something.
StepEnd Step(lua_State* L, Branch& branch, bool first) {
  SandboxState& state = StateOf(L);
  TurnBinding& binding = BindingOf(L);
  if (first) {
    lua_pushvalue(L, kBody);
    lua_pushinteger(L, branch.item);
    lua_xmove(L, branch.thread, 2);
  }
  const int outer_depth = state.protected_depth;
  state.protected_depth = outer_depth + branch.protected_depth;
  binding.effect_ready = false;
  int results = 0;
  RunUnderHook(branch.thread);
  const int code = lua_resume(branch.thread, L, first ? 1 : 0, &results);
  binding.child_end = nullptr;
  binding.call_results = nullptr;
  RunUnderHook(L);
  branch.protected_depth = state.protected_depth - outer_depth;
  state.protected_depth = outer_depth;
  if (code == LUA_YIELD) {
    lua_pop(branch.thread, results);
    return HoldBack(binding, branch) ? StepEnd::kWaits : StepEnd::kEffect;
  }
  if (code != LUA_OK) return StepEnd::kFailed;
  lua_settop(branch.thread, 1);  // the first of what it gave
  lua_xmove(branch.thread, L, 1);
  return StepEnd::kEnded;
}

/// Whether the effect has room for the calls, whose ids it must not have.
bool FitsIn(const CallToolsEffect& effect, const std::vector<ToolCall>& calls) {
  if (effect.calls.size() + calls.size() > kCallsMax) return false;
  return std::none_of(calls.begin(), calls.end(), [&effect](const ToolCall& call) {
    return std::any_of(effect.calls.begin(), effect.calls.end(),
                       [&call](const ToolCall& other) { return other.id == call.id; });
  });
}

// Makes the effect of the calls that branches wait for, in the order of the branches; those that
// don't fit are of the next one. False: none does.
bool AskCalls(TurnBinding& binding) {
  BranchList& list = binding.branches;
  CallToolsEffect& effect = binding.effect.emplace<CallToolsEffect>();
  list.asked.clear();
  for (size_t i = 0; i < list.branches.size(); ++i) {
    Branch& branch = list.branches[i];
    if (branch.wait != Branch::Wait::kCalls || !FitsIn(effect, branch.calls.calls)) continue;
    list.asked.push_back(i);
    const CallToolsEffect& own = branch.calls;
    effect.calls.insert(effect.calls.end(), own.calls.begin(), own.calls.end());
    effect.verdicts.insert(effect.verdicts.end(), own.verdicts.begin(), own.verdicts.end());
  }
  binding.effect_ready = !list.asked.empty();
  return binding.effect_ready;
}

// Gives each branch the results of its own calls.
void TakeResults(TurnBinding& binding) {
  BranchList& list = binding.branches;
  auto next = std::get_if<ToolResultsEvent>(binding.event)->results.begin();
  for (const size_t i : list.asked) {
    Branch& branch = list.branches[i];
    const auto end = std::next(next, static_cast<ptrdiff_t>(branch.calls.calls.size()));
    branch.results.assign(next, end);
    branch.calls = {};
    branch.wait = Branch::Wait::kNone;
    next = end;
  }
  list.asked.clear();
}

// Makes the effect of the turns of forks that branches wait for; a fork that two wait for runs one
// turn at a time.
void AskForks(TurnBinding& binding) {
  BranchList& list = binding.branches;
  ChildTurnsEffect& effect = binding.effect.emplace<ChildTurnsEffect>();
  list.asked.clear();
  const auto runs = [&list](const std::string& session) {
    for (const Branch& branch : list.branches) {
      if (branch.runs && branch.turn.session == session) return true;
    }
    return false;
  };
  for (size_t i = 0; i < list.branches.size(); ++i) {
    Branch& branch = list.branches[i];
    if (branch.item == 0 || branch.wait != Branch::Wait::kForkTurn) continue;
    if (!branch.runs && runs(branch.turn.session)) continue;
    list.asked.push_back(i);
    ChildTurn& turn = effect.turns.emplace_back();
    if (branch.runs) {
      turn.session = branch.turn.session;
      turn.runs = true;
    } else {
      turn = branch.turn;
    }
    branch.runs = true;
  }
  binding.effect_ready = true;
}

void TakeEnds(TurnBinding& binding) {
  BranchList& list = binding.branches;
  const ChildTurnsEvent& event = *std::get_if<ChildTurnsEvent>(binding.event);
  for (size_t i = 0; i < list.asked.size(); ++i) {
    Branch& branch = list.branches[list.asked[i]];
    if (!event.ends[i].has_value()) continue;
    branch.end = *event.ends[i];
    branch.wait = Branch::Wait::kNone;
    branch.runs = false;
  }
  list.asked.clear();
}

// Gives item `branch.item` the value on top. True: that ends the race.
bool TakeResult(lua_State* L, Branch& branch) {
  const bool wins = BindingOf(L).branches.race && lua_toboolean(L, -1) != 0;
  lua_rawseti(L, kResults, branch.item);
  if (!wins) branch.item = 0;
  return wins;
}

// Steps branch `i`; true: `result` is what RunBranches returns, or yields.
bool Advance(lua_State* L, size_t i, bool first, int* result) {
  TurnBinding& binding = BindingOf(L);
  Branch& branch = binding.branches.branches[i];
  switch (Step(L, branch, first)) {
    case StepEnd::kEnded:
      if (!TakeResult(L, branch)) return false;
      *result = End(L, branch.item);
      return true;
    case StepEnd::kWaits: return false;
    case StepEnd::kFailed: *result = Fail(L, branch); return true;
    case StepEnd::kEffect:
      binding.branches.stepping = i;
      *result = lua_yieldk(L, 0, kOneEffect, Continue);
      return true;
  }
  return false;
}

// The first branch that has no item while there are some, or that can go on. False: all wait, or
// are done.
bool FindReady(BranchList& list, size_t* found, bool* first) {
  for (size_t i = 0; i < list.branches.size(); ++i) {
    Branch& branch = list.branches[i];
    if (branch.item != 0 && branch.wait != Branch::Wait::kNone) continue;
    if (branch.item == 0 && list.next > list.count) continue;
    *found = i;
    *first = branch.item == 0;
    return true;
  }
  return false;
}

int RunOn(lua_State* L) {
  TurnBinding& binding = BindingOf(L);
  BranchList& list = binding.branches;
  size_t i = 0;
  bool first = false;
  while (FindReady(list, &i, &first)) {
    Branch& branch = list.branches[i];
    if (first) {
      branch.item = list.next++;
      branch.protected_depth = 0;
      branch.runs = false;
      branch.undivided = 0;
    } else {
      binding.child_end = &branch.end;
      binding.call_results = &branch.results;
    }
    int result = 0;
    if (Advance(L, i, first, &result)) return result;
  }
  if (AskCalls(binding)) return lua_yieldk(L, 0, kCalls, Continue);
  AskForks(binding);
  if (list.asked.empty()) return End(L, 0);
  return lua_yieldk(L, 0, kForkTurns, Continue);
}

int Continue(lua_State* L, int, lua_KContext context) {
  TurnBinding& binding = BindingOf(L);
  if (context == kStopped) return Leave(L);
  if (context == kForkTurns) {
    TakeEnds(binding);
    return RunOn(L);
  }
  if (context == kCalls) {
    TakeResults(binding);
    return RunOn(L);
  }
  int result = 0;
  if (Advance(L, binding.branches.stepping, false, &result)) return result;
  return RunOn(L);
}

}  // namespace

// (count, at once, body, race, whether calls are joined): results, the winner or 0
int RunBranches(lua_State* L) {
  CheckYieldable(L, "items that run at once");
  if (BranchOf(L) != nullptr) return Raise(L, "items that run at once can't be branches of others");
  lua_settop(L, kJoins);
  lua_newtable(L);
  Begin(L);
  return RunOn(L);
}

int InBranch(lua_State* L) {  // (): the item that the branch is of, or false
  if (const Branch* branch = BranchOf(L)) {
    lua_pushinteger(L, branch->item);
  } else {
    lua_pushboolean(L, 0);
  }
  return 1;
}

int Undivided(lua_State* L) {  // (1 where it begins, -1 where it ends); outside of branches nothing
  const lua_Integer change = luaL_checkinteger(L, 1);
  if (Branch* branch = BranchOf(L)) branch->undivided += change;
  return 0;
}

}  // namespace baleen
