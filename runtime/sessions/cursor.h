// Cursors: opaque positions in a session's durable events, "v1:<session>:<seq>", and
// "v1:<session>:<timeline>.<seq>" on the second timeline and later ones.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/store/journal_records.h"
#include "tools_sdk/status.h"

namespace baleen {

struct CursorPoint {
  int64_t timeline = 1;  ///< Number within the session.
  int64_t seq = 0;       ///< 0: before the first event.
};

std::string MakeCursor(std::string_view session, const CursorPoint& point);

/// Of the newest event of the current timeline.
std::string HeadCursor(const SessionRecord& record);

/// Errors: INVALID_ARGUMENT: not a cursor, or one of another session.
Result<CursorPoint> ParseCursor(std::string_view cursor, std::string_view session);

/// Errors: INVALID_ARGUMENT unless `id` is [a-z0-9][a-z0-9-]{0,62}.
Status ValidateSessionId(std::string_view id);

}  // namespace baleen
