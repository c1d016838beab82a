// The JSON of a session's settings, as the journal keeps it.
//
// On-disk shapes; the rules are those of journal_json.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/session.h"
#include "tools_sdk/status.h"

namespace baleen {

/// "PURE", "IDEMPOTENT", "EFFECT".
const char* EffectClassName(EffectClass effect);

/// What the journal knows of a session's settings beside them. Forks have it in common.
struct SettingsMarks {
  std::string tenant;
  /// Not empty: its workspace is a worktree, a copy of this one.
  std::string worktree_of;
  int64_t revision = 0;  ///< How often they were updated.
  /// The update that set it last. What a compaction or a grant of before it says of goal, notes or
  /// budget holds no more: those name the revision that they knew.
  int64_t goal_revision = 0;
  int64_t notes_revision = 0;
  int64_t budget_revision = 0;
};

std::string SettingsToJson(const SessionSettings& settings, const SettingsMarks& marks = {});
Result<SessionSettings> SettingsFromJson(std::string_view json, SettingsMarks* marks = nullptr);

/// Payload of session_updated: {"mask", "settings": what they name, as it is now}.
std::string SettingsUpdateToJson(const std::vector<std::string>& mask,
                                 const SessionSettings& settings);

}  // namespace baleen
