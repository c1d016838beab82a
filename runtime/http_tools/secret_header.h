// SecretHeader: a secret on its way into a request.
#pragma once

#include <string>

#include "runtime/http/bearer_key.h"
#include "tools_sdk/status.h"

namespace baleen {

/// The header line that has the secret `name`, as it is now, as its value: of `header`, or
/// Authorization, as a bearer token, where that is empty. Errors, in words for a model: it can't be
/// read, is empty, or is too short to be told from other text.
Result<std::string> SecretHeader(const std::string& name, const KeyPlace& place,
                                 const std::string& header);

}  // namespace baleen
