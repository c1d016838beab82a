// Budget accounts: limits beside what was spent, and which of them is short. Pure arithmetic.
//
// A turn is charged to a chain of accounts, its own, its session's and those that its script has
// opened; all of them must have enough.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/budget.h"
#include "tools_sdk/status.h"

namespace baleen {

struct BudgetAccount {
  std::string owner;  ///< As BudgetAsk::owner.
  BudgetSettings limit;
  Spend spent;
};

/// What some step needs at least.
struct BudgetNeed {
  int64_t tokens = 0;
  int64_t tool_calls = 0;
  int64_t micro_usd = 1;  ///< Money flows while a step is performed: some of it must be left.
};

/// A limit that a step would pass.
struct BudgetShortage {
  std::string owner;
  std::string resource;  ///< "tokens", "wall_ms", "tool_calls" or "micro_usd".
  int64_t limit = 0;
  int64_t spent = 0;
  int64_t needed = 0;  ///< More than is left.
};

std::optional<BudgetShortage> FindShortage(const std::vector<BudgetAccount>& accounts,
                                           const BudgetNeed& need);
/// What a prompt of so many tokens needs, and one token more: that the model says something.
BudgetNeed PromptNeed(const PriceSettings& prices, int64_t prompt_tokens);
/// How many tokens may be sampled before some account is spent; INT64_MAX: any number.
int64_t SampledTokensLeft(const std::vector<BudgetAccount>& accounts, const PriceSettings& prices);
/// Until some account is spent; INT64_MAX: for ever.
int64_t WallMsLeft(const std::vector<BudgetAccount>& accounts);

int64_t CostMicroUsd(const PriceSettings& prices, int64_t prompt_tokens, int64_t generated_tokens);
void AddSpend(const Spend& spend, Spend* sum);
/// What `now` has more than `before`.
Spend Since(const Spend& before, const Spend& now);
/// The limit of `resource`; null: there is no such resource.
int64_t* LimitOf(BudgetSettings* budget, std::string_view resource);

/// Errors: INVALID_ARGUMENT/BAD_FIELD.
Status CheckBudget(const BudgetSettings& budget);
Status CheckPrices(const PriceSettings& prices);

}  // namespace baleen
