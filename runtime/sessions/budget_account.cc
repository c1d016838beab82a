#include "runtime/sessions/budget_account.h"

#include <algorithm>
#include <array>
#include <limits>

namespace baleen {
namespace {

constexpr int64_t kEndless = std::numeric_limits<int64_t>::max();
/// So that no product of tokens and prices leaves 63 bits.
constexpr int64_t kPriceMax = 100'000'000'000;
constexpr int64_t kPerMillion = 1'000'000;

}  // namespace

std::optional<BudgetShortage> FindShortage(const std::vector<BudgetAccount>& accounts,
                                           const BudgetNeed& need) {
  for (const BudgetAccount& account : accounts) {
    struct Line {
      const char* resource;
      int64_t limit;
      int64_t spent;
      int64_t needed;
    };
    const std::array lines = {
        Line{"tokens", account.limit.tokens, account.spent.tokens, need.tokens},
        // Time flows while a step is performed: some of it must be left.
        Line{"wall_ms", account.limit.wall_ms, account.spent.wall_ms, 1},
        Line{"tool_calls", account.limit.tool_calls, account.spent.tool_calls, need.tool_calls},
        Line{"micro_usd", account.limit.micro_usd, account.spent.micro_usd, need.micro_usd}};
    for (const Line& line : lines) {
      if (line.limit == 0 || line.needed == 0 || line.needed <= line.limit - line.spent) continue;
      return BudgetShortage{account.owner, line.resource, line.limit, line.spent, line.needed};
    }
  }
  return std::nullopt;
}

BudgetNeed PromptNeed(const PriceSettings& prices, int64_t prompt_tokens) {
  BudgetNeed need;
  need.tokens = prompt_tokens + 1;
  need.micro_usd = std::max(need.micro_usd, CostMicroUsd(prices, prompt_tokens, 1));
  return need;
}

int64_t SampledTokensLeft(const std::vector<BudgetAccount>& accounts, const PriceSettings& prices) {
  int64_t left = kEndless;
  for (const BudgetAccount& account : accounts) {
    if (account.limit.tokens > 0) {
      left = std::min(left, account.limit.tokens - account.spent.tokens);
    }
    if (account.limit.micro_usd > 0 && prices.generated > 0) {
      const int64_t money = account.limit.micro_usd - account.spent.micro_usd;
      // At least one: a token may cost less than the smallest coin.
      left = std::min(left, std::max<int64_t>(1, money > kEndless / kPerMillion
                                                     ? kEndless
                                                     : money * kPerMillion / prices.generated));
    }
  }
  return std::max<int64_t>(0, left);
}

int64_t WallMsLeft(const std::vector<BudgetAccount>& accounts) {
  int64_t left = kEndless;
  for (const BudgetAccount& account : accounts) {
    if (account.limit.wall_ms == 0) continue;
    left = std::min(left, std::max<int64_t>(0, account.limit.wall_ms - account.spent.wall_ms));
  }
  return left;
}

int64_t CostMicroUsd(const PriceSettings& prices, int64_t prompt_tokens, int64_t generated_tokens) {
  return (prompt_tokens * prices.prompt + generated_tokens * prices.generated) / kPerMillion;
}

void AddSpend(const Spend& spend, Spend* sum) {
  sum->tokens += spend.tokens;
  sum->wall_ms += spend.wall_ms;
  sum->tool_calls += spend.tool_calls;
  sum->micro_usd += spend.micro_usd;
}

Spend Since(const Spend& before, const Spend& now) {
  return {now.tokens - before.tokens, now.wall_ms - before.wall_ms,
          now.tool_calls - before.tool_calls, now.micro_usd - before.micro_usd};
}

int64_t* LimitOf(BudgetSettings* budget, std::string_view resource) {
  if (resource == "tokens") return &budget->tokens;
  if (resource == "wall_ms") return &budget->wall_ms;
  if (resource == "tool_calls") return &budget->tool_calls;
  if (resource == "micro_usd") return &budget->micro_usd;
  return nullptr;
}

Status CheckBudget(const BudgetSettings& budget) {
  for (const int64_t limit : {budget.tokens, budget.wall_ms, budget.tool_calls, budget.micro_usd}) {
    if (limit >= 0 && limit <= kEndless / 4) continue;
    return InvalidArgumentError(
        "budget: a limit is " + std::to_string(limit) + ": expected 0 (none) or more, below 2^61",
        "BAD_FIELD");
  }
  return OkStatus();
}

Status CheckPrices(const PriceSettings& prices) {
  for (const int64_t price : {prices.prompt, prices.generated}) {
    if (price >= 0 && price <= kPriceMax) continue;
    return InvalidArgumentError("prices: " + std::to_string(price) + ": expected 0 to " +
                                    std::to_string(kPriceMax) +
                                    " millionths of a dollar per million tokens",
                                "BAD_FIELD");
  }
  return OkStatus();
}

}  // namespace baleen
