// Guarded files (tools_sdk/special_files.h) that a call of a built-in tool would write: such a call
// is asked about, whatever a rule or an earlier answer allows. Pure.
#pragma once

#include <string>
#include <vector>

#include "tools_sdk/message.h"

namespace baleen {

struct GuardedWrite {
  std::string path;  ///< Below the workspace.
  std::string what;  ///< Why it is guarded.
};

/// Whose workspace, and what script it runs.
struct GuardedPlace {
  std::string root;         ///< Where the calls' paths begin: the workspace, or a worktree of it.
  std::string workspace;    ///< Its own place.
  std::string script_name;  ///< Its file is guarded, too.
};

/// Of write and edit their path, of apply_diff the files of its diff, of bash those of redirects,
/// as far as the command's text says where they lie. Each once; empty: none.
/// Requires: the call is one of a built-in tool.
std::vector<GuardedWrite> GuardedWritesOf(const ToolCall& call, const GuardedPlace& place);

/// Why it is asked about.
std::string GuardReason(const std::vector<GuardedWrite>& writes);

}  // namespace baleen
