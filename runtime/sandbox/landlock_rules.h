// Landlock: what of the file system a process and its children may touch, and no TCP, no abstract
// sockets, no signals to others. Used where bubblewrap can't be.
#pragma once

#include <string>
#include <vector>

#include "tools_sdk/status.h"

namespace baleen {

/// Needed: version 6 of Landlock (Linux 6.12), which keeps signals inside.
inline constexpr int kLandlockVersionNeeded = 6;

/// 0: the kernel has none, or it is off.
int LandlockVersion();

struct LandlockPaths {
  std::vector<std::string> read_only;   ///< Files or folders: read and execute.
  std::vector<std::string> read_write;  ///< Files or folders.
};

/// A ruleset for landlock_restrict_self. Paths that aren't there are passed over.
/// Errors: UNAVAILABLE.
Result<int> MakeLandlockRules(const LandlockPaths& paths);

}  // namespace baleen
