// Retention: which sessions may go by themselves, by age and by size. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/session.h"
#include "tools_sdk/status.h"

namespace baleen {

struct RetentionCandidate {
  std::string session;
  std::string head;     ///< Cursor: what has moved since isn't the session that was judged.
  int64_t used_ms = 0;  ///< Unix, of the newest event of any of its timelines.
  int64_t bytes = 0;
  bool kept = false;  ///< Pinned, or in use.
};

struct RetentionPlan {
  std::vector<RetentionCandidate> gone;  ///< In the order in which they go.
  std::vector<std::string> reasons;      ///< One for each, for people.
  int64_t bytes_before = 0;
  int64_t bytes_after = 0;
};

/// Those beyond the age first, then the least recently used until the others' bytes fit. Ties: by
/// id. What is kept counts, and stays.
RetentionPlan PlanRetention(std::vector<RetentionCandidate> candidates,
                            const RetentionLimits& limits, int64_t now_ms);
/// Errors: INVALID_ARGUMENT/BAD_FIELD.
Status CheckRetention(const RetentionLimits& limits);

}  // namespace baleen
