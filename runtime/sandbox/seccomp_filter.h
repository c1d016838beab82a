// The system calls that a sandboxed command does not get: a BPF program for the kernel.
//
// A list of what is denied on top of namespaces or Landlock, not a list of what is allowed:
// compilers and interpreters need most calls. Another architecture's calls, x32's among them, end
// the process. Called by the launcher.
#pragma once

#include <linux/filter.h>

#include <vector>

namespace baleen {

enum class SocketRule {
  kLocalFamilies,  ///< Unix, IPv4, IPv6 and netlink: a network namespace has nothing behind them.
  kNone,           ///< No socket at all, and no leaving of the process group.
};

/// Empty where the architecture isn't known here.
std::vector<sock_filter> MakeSeccompFilter(SocketRule sockets);

}  // namespace baleen
