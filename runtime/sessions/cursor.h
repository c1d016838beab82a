// Cursors: opaque positions in a session's durable events, "v1:<session>:<seq>".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tools_sdk/status.h"

namespace baleen {

std::string MakeCursor(std::string_view session, int64_t seq);

/// The sequence number in `cursor`; 0 for an empty cursor (before the first event).
/// Errors: INVALID_ARGUMENT: not a cursor, or one of another session.
Result<int64_t> ParseCursor(std::string_view cursor, std::string_view session);

/// Errors: INVALID_ARGUMENT unless `id` is [a-z0-9][a-z0-9-]{0,62}.
Status ValidateSessionId(std::string_view id);

}  // namespace baleen
