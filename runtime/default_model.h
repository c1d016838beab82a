// The model that is used where none is named: Krill, which comes with Baleen.
//
// Called when a runtime opens, and by commands that need weights alone.
#pragma once

#include <string>

#include "tools_sdk/status.h"

namespace baleen {

/// A checkpoint folder: ../share/baleen/models/krill beside the folder of the program or library
/// that holds this code, as `cmake --install` lays it out; else model/krill of the source tree that
/// it was built in. Errors: NOT_FOUND naming the places that were looked at.
Result<std::string> DefaultModelPath();

}  // namespace baleen
