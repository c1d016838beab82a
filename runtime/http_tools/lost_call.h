// LostCall: what a call comes to whose request no server answered.
#pragma once

#include <cstdint>

#include "runtime/http_tools/fetch.h"
#include "tools_sdk/tool.h"

namespace baleen {

inline constexpr char kInspectFirst[] =
    " Its effect may or may not have happened: inspect before repeating it.";

/// Requires: `reply.status` isn't OK. `late`: its time was over when it came back. What may have
/// been read by a server and isn't pure is UNKNOWN, or TIMEOUT.
ToolResult LostCall(const FetchReply& reply, EffectClass effect, int64_t whole_ms, bool late);

}  // namespace baleen
