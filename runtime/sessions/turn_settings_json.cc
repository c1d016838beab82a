#include "runtime/sessions/turn_settings_json.h"

#include <utility>

namespace baleen {

namespace {

using Json = nlohmann::ordered_json;

}  // namespace

Json SamplingToJson(const SamplingSettings& sampling) {
  return {{"temperature", sampling.temperature},
          {"top_p", sampling.top_p},
          {"min_p", sampling.min_p},
          {"top_k", sampling.top_k},
          {"seed", sampling.seed}};
}

Status ReadSampling(JsonMembers& parent, SamplingSettings* sampling) {
  const Json* json = parent.Find("sampling");
  if (json == nullptr) return OkStatus();
  JsonMembers reader(*json, "sampling");
  reader.Get("temperature", &sampling->temperature);
  reader.Get("top_p", &sampling->top_p);
  reader.Get("min_p", &sampling->min_p);
  reader.Get("top_k", &sampling->top_k);
  reader.Get("seed", &sampling->seed);
  return reader.status();
}

Json ConstraintToJson(const ConstraintSettings& constraint) {
  return {{"tool_choice", constraint.tool_choice},
          {"answer_schema", constraint.answer_schema},
          {"thinking_tokens", constraint.thinking_tokens}};
}

Status ReadConstraint(JsonMembers& parent, std::optional<ConstraintSettings>* constraint) {
  const Json* json = parent.Find("constraint");
  if (json == nullptr) return OkStatus();
  ConstraintSettings settings;
  JsonMembers reader(*json, "constraint");
  reader.Get("tool_choice", &settings.tool_choice);
  reader.Get("answer_schema", &settings.answer_schema);
  reader.Get("thinking_tokens", &settings.thinking_tokens);
  *constraint = std::move(settings);
  return reader.status();
}

Json BudgetToJson(const BudgetSettings& budget) {
  return {{"tokens", budget.tokens},
          {"wall_ms", budget.wall_ms},
          {"tool_calls", budget.tool_calls},
          {"micro_usd", budget.micro_usd}};
}

Status ReadBudget(JsonMembers& parent, const char* name, BudgetSettings* budget) {
  const Json* json = parent.Find(name);
  if (json == nullptr) return OkStatus();
  JsonMembers reader(*json, name);
  reader.Get("tokens", &budget->tokens);
  reader.Get("wall_ms", &budget->wall_ms);
  reader.Get("tool_calls", &budget->tool_calls);
  reader.Get("micro_usd", &budget->micro_usd);
  return reader.status();
}

}  // namespace baleen
