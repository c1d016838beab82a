// A copy of a workspace's files, and what two trees of files differ in.
//
// What ignore rules leave out is left out, as grep does; links stay links, devices, FIFOs and
// sockets are skipped and counted. Both sides are read below their roots and through no link, so
// that neither a tree that changes meanwhile nor one made to deceive leads outside. Called by
// Worktrees.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "runtime/workspace/workspace.h"

namespace baleen {

struct TreeCopyReport {
  int64_t files = 0;
  int64_t bytes = 0;
  int64_t links = 0;
  int64_t ignored = 0;     ///< Files and folders that a rule left out.
  int64_t secret = 0;      ///< Files, and links of such names, that `from` doesn't let be read.
  int64_t special = 0;     ///< Devices, FIFOs and sockets.
  int64_t unreadable = 0;  ///< Files and folders.
};

/// Copies the tree into the empty folder `to`, which nobody else writes to. Files keep their
/// permission bits and times. `ignored`: also what rules leave out; '.git' never.
/// Errors: RESOURCE_EXHAUSTED (more than kCopyBytesMax, more than TreeWalk::kEntriesMax entries, or
/// the disk is full), CANCELLED, and those of writing.
/// Cost: by reflink where the file system has it, else by copies inside of the kernel.
Result<TreeCopyReport> CopyTree(const Workspace& from, const std::string& to, bool ignored,
                                const std::atomic<bool>* cancelled);

inline constexpr int64_t kCopyBytesMax = int64_t{512} << 20;

/// A unified diff of all files that `before`'s and `after`'s rules don't leave out, by bytewise
/// order of their paths; empty: there is no difference. What is no text or larger than
/// WorkspaceChanges::kChangeBytesMax is named, not shown; secret files aren't in it.
/// Errors: RESOURCE_EXHAUSTED (more than kDiffBytesMax bytes; says how many; or too many entries),
/// PERMISSION_DENIED (a file can't be read), CANCELLED.
Result<std::string> DiffTrees(const Workspace& before, const Workspace& after,
                              const std::atomic<bool>* cancelled);

}  // namespace baleen
