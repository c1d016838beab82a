// Budgets: how much a turn, or all turns of a session, may spend before it pauses and asks.
//
// Public value types.
#pragma once

#include <cstdint>

namespace baleen {

/// Limits; 0: none. What reaches one pauses and asks for more; it is never cut off in silence.
struct BudgetSettings {
  int64_t tokens = 0;      ///< Prompt and sampled tokens.
  int64_t wall_ms = 0;     ///< Time that a turn works, waits for approvals apart.
  int64_t tool_calls = 0;  ///< Calls that the agent asks for.
  int64_t micro_usd = 0;   ///< Millionths of a dollar, by the session's prices.
};

/// Millionths of a dollar per million tokens. For models that cost something.
struct PriceSettings {
  int64_t prompt = 0;
  int64_t generated = 0;
};

/// What has been spent.
struct Spend {
  int64_t tokens = 0;
  int64_t wall_ms = 0;
  int64_t tool_calls = 0;
  int64_t micro_usd = 0;
};

}  // namespace baleen
