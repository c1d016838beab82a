// The keys that endpoints are asked with: where they are read, and where they must not go.
//
// Called by runtime/remote and runtime/mcp.
#pragma once

#include <string>

#include "tools_sdk/status.h"

namespace baleen {

/// http to another machine: whoever is between could read what is sent.
bool GoesInClear(const std::string& url);

/// Fit for a header. Errors: INVALID_ARGUMENT.
Status CheckBearerKey(const std::string& key);

/// What a key file holds, without white space around it. It must be this user's or root's, and
/// nobody else's to read. Errors: UNAVAILABLE naming the file.
Result<std::string> ReadKeyFile(const std::string& path);

}  // namespace baleen
