#include "runtime/sessions/retention.h"

#include <algorithm>
#include <cstdio>
#include <tuple>

namespace baleen {
namespace {

std::string Days(int64_t ms) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", static_cast<double>(ms) / (24.0 * 3600 * 1000));
  return text;
}

}  // namespace

RetentionPlan PlanRetention(std::vector<RetentionCandidate> candidates,
                            const RetentionLimits& limits, int64_t now_ms) {
  std::sort(candidates.begin(), candidates.end(), [](const auto& a, const auto& b) {
    return std::tie(a.used_ms, a.session) < std::tie(b.used_ms, b.session);
  });
  RetentionPlan plan;
  for (const RetentionCandidate& candidate : candidates) plan.bytes_before += candidate.bytes;
  plan.bytes_after = plan.bytes_before;
  const auto take = [&plan](const RetentionCandidate& candidate, std::string reason) {
    plan.bytes_after -= candidate.bytes;
    plan.gone.push_back(candidate);
    plan.reasons.push_back(std::move(reason));
  };
  // Oldest first: those beyond the age stand before all that may go for their bytes.
  for (const RetentionCandidate& candidate : candidates) {
    if (candidate.kept) continue;
    const int64_t unused_ms = now_ms - candidate.used_ms;
    if (limits.unused_ms_max > 0 && unused_ms > limits.unused_ms_max) {
      take(candidate,
           "not used for " + Days(unused_ms) + " days; the limit is " + Days(limits.unused_ms_max));
    } else if (limits.bytes_max > 0 && plan.bytes_after > limits.bytes_max) {
      take(candidate, "the least recently used of sessions that hold " +
                          std::to_string(plan.bytes_after) + " bytes; the limit is " +
                          std::to_string(limits.bytes_max));
    }
  }
  return plan;
}

Status CheckRetention(const RetentionLimits& limits) {
  if (limits.unused_ms_max >= 0 && limits.bytes_max >= 0) return OkStatus();
  return InvalidArgumentError(
      "retention: " + std::to_string(std::min(limits.unused_ms_max, limits.bytes_max)) +
          ": expected 0 (no limit) or more",
      "BAD_FIELD");
}

}  // namespace baleen
