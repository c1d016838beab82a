// How many processes a command has, and how much memory they hold. Read from /proc, from outside.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace baleen {

struct TreeUse {
  int64_t processes = 0;
  int64_t memory_bytes = 0;  ///< Resident; what they share counts for each.
};

/// `root` and what descends from it. Stops counting at `processes_max`.
TreeUse UseOfDescendants(pid_t root, int64_t processes_max);

/// The members of a process group that haven't ended. Stops counting at `processes_max`.
TreeUse UseOfGroup(pid_t group, int64_t processes_max);

}  // namespace baleen
