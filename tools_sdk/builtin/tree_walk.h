// The files below a path of the workspace, without those that ignore files leave out.
//
// ripgrep's rules: .rgignore before .ignore before .gitignore before .git/info/exclude, inner
// folders before outer ones, nothing below an ignored folder; the path that was asked for is always
// looked into. Hidden files are met, '.git' is not, links only if they are asked for. Called by
// grep, and for copies of workspaces.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tools_sdk/builtin/ignore_rules.h"
#include "tools_sdk/status.h"
#include "tools_sdk/tool.h"

namespace baleen {

/// What a walk meets besides files.
struct TreeWalkScope {
  bool all_kinds = false;  ///< Folders too, before what is in them, and links and devices.
  bool ignored = false;    ///< What a rule leaves out, too.
};

/// Threads: one walk, one thread.
class TreeWalk {
 public:
  /// False: enough.
  using Visit = std::function<bool(const FileEntry& file)>;

  explicit TreeWalk(const CallContext& context, TreeWalkScope scope = {})
      : context_(context), scope_(scope) {}

  /// Visits the files in bytewise order of their folders. A path that is a file: only that.
  /// Errors: those of the first path; what cannot be read deeper down is counted.
  Status Walk(std::string_view path, const Visit& visit);

  int64_t ignored() const { return ignored_; }        ///< Files and folders left out by a rule.
  int64_t unreadable() const { return unreadable_; }  ///< Folders that could not be read.
  /// It ended after kEntriesMax entries.
  bool cut() const { return cut_; }

  static constexpr int64_t kEntriesMax = 100'000;
  static constexpr int kDepthMax = 40;

 private:
  static constexpr size_t kSources = 4;
  struct Folder {
    std::string prefix;  ///< "", or the folder's path and '/'.
    std::array<IgnoreRules, kSources> rules;
  };
  void Enter(std::string prefix);
  bool Ignored(const FileEntry& entry, bool is_directory) const;
  bool WalkEntries(const std::vector<FileEntry>& entries, int depth, const Visit& visit);

  const CallContext& context_;
  const TreeWalkScope scope_;
  std::vector<Folder> folders_;  ///< From the root inwards.
  int64_t entries_ = 0, ignored_ = 0, unreadable_ = 0;
  bool cut_ = false;
};

}  // namespace baleen
