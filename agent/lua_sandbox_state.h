// The plain state behind one sandbox: what its allocator, hook and C functions count.
//
// A POD, so that a Lua error may jump over any frame that uses it. Not for use outside agent/.
#pragma once

#include <atomic>
#include <cstdint>

struct lua_State;

namespace baleen {

struct TurnBinding;

/// Instructions between two looks at the budget. Small enough that a step overruns by microseconds.
inline constexpr int kHookInterval = 1000;
/// No single string or table part grows beyond this: one Lua instruction can copy or compare a
/// whole string, and the hook looks only between instructions.
inline constexpr int64_t kAllocationBytesMax = 16 << 20;
/// One instruction can copy all of Lua's stack (a call that passes `...` on), up to 16 MB: each
/// costs one more for each such part of it. 1,024 values.
inline constexpr int64_t kStackBytesPerCost = 16 << 10;
/// Of a limit in milliseconds: so that a replay ends where the first run did, it is counted in
/// instructions. On a slow machine; a fast one runs five times as many.
inline constexpr int64_t kInstructionsPerMs = 20'000;
/// Protected calls within each other.
inline constexpr int kProtectedDepthMax = 150;
/// Branches that may run at once (lua_branches.cc); each has a Lua thread of its own.
inline constexpr int kBranchesMax = 8;
/// Bytes of new memory that cost as much of the budget as one instruction.
inline constexpr int64_t kBytesPerInstruction = 64;

struct SandboxState {
  lua_State* running = nullptr;  ///< The Lua thread whose hook ends the step; null while building.
  int64_t memory_used = 0;       ///< Bytes.
  int64_t memory_max = 0;        ///< Bytes.
  int64_t instructions_left = 0;
  int64_t instructions_max = 0;
  // Stacks of the Lua threads, found by the order in which they are allocated and freed.
  const void* stacks[2 + kBranchesMax] = {};
  bool stack_is_next = false;
  int64_t stack_bytes = 0;          ///< Of the one that was resized last.
  const void* allocated = nullptr;  ///< The newest new block.
  int64_t allocated_bytes = 0;
  // A part of the script that has a limit of its own within the step's (lua_limit.cc).
  bool limited = false;
  int64_t limit_max = 0;   ///< Instructions.
  int64_t limit_left = 0;  ///< When instructions_left was `limit_mark`.
  int64_t limit_mark = 0;
  int protected_depth = 0;   ///< Calls of pcall and xpcall that have not ended.
  bool exhausted = false;    ///< Sticky: every further instruction raises.
  bool interrupted = false;  ///< `exhausted` because of `interrupt`.
  bool memory_refused = false;
  const std::atomic<bool>* interrupt = nullptr;
  uint64_t random[4] = {};  ///< xoshiro256** state.
  TurnBinding* binding = nullptr;
};

/// The state behind `L`; any thread of the sandbox.
SandboxState& StateOf(lua_State* L);

/// Takes `units` from the step's budget for work done inside one C function.
/// Errors: raises a Lua error once the budget is used up.
void Charge(lua_State* L, int64_t units);

/// What the part that has a limit of its own may still use. Requires: `limited`.
inline int64_t LimitLeft(const SandboxState& state) {
  return state.limit_left - (state.limit_mark - state.instructions_left);
}
inline bool IsOverLimit(const SandboxState& state) { return state.limited && LimitLeft(state) < 0; }
/// Errors: raises.
int RaiseOverLimit(lua_State* L);

/// Makes `L` the thread whose hook ends the step.
void RunUnderHook(lua_State* L);

/// Marks the step as over and makes every further instruction raise.
void Exhaust(SandboxState& state);

/// Starts the script's random sequence. Source: splitmix64 fills xoshiro256**.
void SeedRandom(SandboxState& state, uint64_t seed);
uint64_t NextRandom(SandboxState& state);

}  // namespace baleen
