// The keys that endpoints are asked with: where they are read, and where they must not go.
//
// Called by whatever asks an endpoint elsewhere.
#pragma once

#include <string>

#include "tools_sdk/status.h"

namespace baleen {

/// Where a key is: at most one of a value (of `variable`, where one was named) and a file.
struct KeyPlace {
  std::string value;
  /// The environment variable that `value` is of; unset, it fails where the key is needed.
  std::string variable;
  std::string file;  ///< Read each time, so that a key can be changed.

  bool empty() const { return value.empty() && variable.empty() && file.empty(); }
};

/// Errors: INVALID_ARGUMENT: two places; a value that isn't fit for a header.
Status CheckKeyPlace(const KeyPlace& place);

/// The key as it is now; empty where the place is. Errors: UNAVAILABLE naming variable or file.
Result<std::string> ReadKey(const KeyPlace& place);

/// http to another machine: whoever is between could read what is sent.
bool GoesInClear(const std::string& url);

}  // namespace baleen
