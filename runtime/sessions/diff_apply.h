// apply_diff: a unified diff applied to a session's workspace, all of it or nothing.
//
// Through the layer that write and edit use: confined, recorded in the history of files, each file
// in one step. A tool that scripts call (s:apply) and models are not told of. Called on the pool.
#pragma once

#include "runtime/sessions/file_changes.h"
#include "runtime/sessions/path_audit.h"
#include "tools_sdk/tool.h"
#include "tools_sdk/tool_set.h"

namespace baleen {

inline constexpr char kApplyDiff[] = "apply_diff";

/// The tool alone.
const ToolSet& ApplyDiffTools();

/// Each file is compared with what the diff says it was and becomes, by digest where the diff has
/// them, else by its lines, and by whether it can be executed: what is so already stays, so that a
/// call that was broken off is finished by running it again. A file that fits neither refuses the
/// whole diff.
ToolResult ApplyDiff(const FileKeeper& keeper, const ToolCall& call,
                     const std::atomic<bool>* cancelled, PathAudit* audit);

}  // namespace baleen
