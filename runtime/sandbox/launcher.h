// Starts one process: its own session, no terminal, three files, and the kernel's restrictions.
//
// Called by the sandbox, and for servers of tools. Memory isn't copied: a daemon with a model of
// many gigabytes starts a command as fast as a small program.
#pragma once

#include <linux/filter.h>
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tools_sdk/status.h"

namespace baleen {

/// One of the kernel's, hard and soft; where a lower one holds already, that stays.
struct ProcessLimit {
  int resource = 0;  ///< RLIMIT_CORE, ...
  int64_t most = 0;
};

struct Launch {
  std::vector<std::string> arguments;    ///< [0] is the program's absolute path.
  std::vector<std::string> environment;  ///< NAME=VALUE: nothing else is inherited.
  std::string folder = "/";              ///< Where it starts.
  int input = -1;                        ///< Standard input; negative: nothing to read.
  int output = -1;                       ///< Standard output.
  int errors = -1;                       ///< Standard error; negative: as output.
  bool dies_with_thread = false;         ///< Killed when the thread that starts it ends.
  /// Becomes file 3, 4, ...; everything else is closed.
  std::vector<int> files;
  std::vector<ProcessLimit> limits;
  int landlock = -1;                ///< Ruleset to keep to; negative: none.
  std::vector<sock_filter> filter;  ///< Empty: none. With bubblewrap the filter goes to it instead.
};

/// Its session and process group have its own number.
/// Errors: UNAVAILABLE saying which step failed.
Result<pid_t> StartProcess(const Launch& launch);

}  // namespace baleen
