// The JSON of what both a session's settings and the start of a turn say: sampling, constraint,
// budget. On-disk shapes; the rules are those of journal_json.h.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>

#include "runtime/session.h"
#include "runtime/sessions/json_members.h"
#include "tools_sdk/status.h"

namespace baleen {

// Readers leave alone what the parent, or its member, doesn't have.

nlohmann::ordered_json SamplingToJson(const SamplingSettings& sampling);
Status ReadSampling(JsonMembers& parent, SamplingSettings* sampling);

nlohmann::ordered_json ConstraintToJson(const ConstraintSettings& constraint);
Status ReadConstraint(JsonMembers& parent, std::optional<ConstraintSettings>* constraint);

nlohmann::ordered_json BudgetToJson(const BudgetSettings& budget);
Status ReadBudget(JsonMembers& parent, const char* name, BudgetSettings* budget);

}  // namespace baleen
