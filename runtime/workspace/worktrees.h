// Worktrees: copies of workspaces in which forks of a session work, each with the copy that it
// began as, for the diff.
//
// One folder per fork, named by its session: NAME/base, NAME/tree and NAME/note. A copy is made
// beside its name and takes it when it is whole, so that what has the name is whole; the rest is
// swept. Called by the control loop's work on the pool, and by the upkeep.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "tools_sdk/status.h"

namespace baleen {

struct Worktree {
  std::string path;  ///< The folder to work in.
  std::string note;  ///< What was copied, and what was left out.
};

/// Threads: any.
class Worktrees {
 public:
  /// `root` is made when it is needed; its parent is ours alone.
  explicit Worktrees(std::string root) : root_(std::move(root)) {}

  /// From now on, until Settle, no sweep takes what has the name or is on its way to it.
  void Hold(const std::string& name);
  void Settle(const std::string& name);
  /// The worktree of that name, made of `workspace` if there is none yet. Requires: Hold.
  /// `ignored`: as of CopyTree. `readable_secrets`: as Workspace::Open's; other secret files are
  /// left out.
  /// Errors: as CopyTree; RESOURCE_EXHAUSTED (kWorktreesMax are there); those of opening it.
  Result<Worktree> Make(const std::string& name, const std::string& workspace, bool ignored,
                        const std::atomic<bool>* cancelled,
                        const std::vector<std::string>& readable_secrets = {});
  /// What was changed in it, without secret files. Errors: as DiffTrees; NOT_FOUND.
  Result<std::string> Diff(const std::string& name, const std::atomic<bool>* cancelled,
                           const std::vector<std::string>& readable_secrets = {}) const;
  /// Does nothing if there is none.
  Status Remove(const std::string& name);
  /// Removes those that are not held and whose name `is_used` doesn't know, and what a crash left.
  Status Sweep(const std::function<bool(const std::string& name)>& is_used);

  static constexpr int64_t kWorktreesMax = 64;

 private:
  std::string PathOf(const std::string& name) const { return root_ + "/" + name; }
  /// Takes the name away at once, the files afterwards.
  Status RemoveNamed(const std::string& name);

  const std::string root_;
  std::mutex mutex_;
  std::multiset<std::string> held_;  ///< Under mutex_.
  uint64_t removed_ = 0;             ///< Numbers what goes. Under mutex_.
};

}  // namespace baleen
