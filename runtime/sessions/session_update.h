// What of a session's settings may change once it is made.
//
// Called by the control loop (session_update.cc has its verb, too).
#pragma once

#include "runtime/session.h"
#include "runtime/sessions/settings_json.h"
#include "tools_sdk/status.h"

namespace baleen {

/// Takes over what the request's mask names, and counts the revision.
/// Errors: INVALID_ARGUMENT/BAD_FIELD: no path, one that is no setting, or one that is fixed.
Status ApplyUpdate(const UpdateSessionRequest& request, SessionSettings* settings,
                   SettingsMarks* marks);

}  // namespace baleen
