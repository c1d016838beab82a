// The end of a child and of its process group: brought about, reaped, and put into words.
//
// Called by whoever has started one: the plugins' host, servers of tools.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

namespace baleen {

/// "exited with status 1", "was ended by signal 11 (Segmentation fault)".
std::string HowItEnded(int wait_status);

struct GroupEnd {
  bool known = false;   ///< `status` is the child's.
  bool itself = false;  ///< It had ended before this.
  int status = 0;
};

/// Kills the process group that `leader`, a child of this process, leads, and reaps the leader.
/// A host that ignores SIGCHLD has nothing to reap, and then the number may be somebody else's: its
/// group is left alone. `before_reaping` runs while the number is still its own; may be empty.
GroupEnd EndProcessGroup(pid_t leader, const std::function<void()>& before_reaping = {});

/// A signal for the group that `leader` leads, under the same care.
void SignalProcessGroup(pid_t leader, int signal_number);

}  // namespace baleen
