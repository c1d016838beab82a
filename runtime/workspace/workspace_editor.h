// Changes to the files of one session's workspace, and what the session has seen of each.
//
// A file is replaced by renaming a finished one over it, in a directory that was opened without any
// symbolic link on the way; what was there is compared after the exchange and put back if it isn't
// what the session knew, so that somebody else's edit is never lost. Memory of what was seen ends
// with the process: the model reads again. Called by the built-in tools through WorkspaceChanges.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/workspace/workspace.h"
#include "tools_sdk/tool.h"

namespace baleen {

/// A path that may be changed, without what means nothing in it. Errors: as WorkspaceEditor::Store.
Result<std::string> PlainPath(std::string_view path);

/// What lies under a path.
struct PresentFile {
  std::optional<std::string> content;  ///< Unset: nothing.
  uint32_t mode = 0;                   ///< Permission bits.

  bool executable() const { return (mode & 0100) != 0; }
};

/// Threads: any.
class WorkspaceEditor final : public WorkspaceChanges {
 public:
  explicit WorkspaceEditor(std::shared_ptr<const Workspace> workspace)
      : workspace_(std::move(workspace)) {}

  void NoteSeen(std::string_view path) override;
  Result<SeenFile> Load(std::string_view path) override;
  /// A file that is replaced keeps its permission bits; a hard link to it elsewhere keeps the old
  /// content.
  /// Errors: also INVALID_ARGUMENT (a path that names no file; more than kFoldersMax folders),
  /// PERMISSION_DENIED (a secret file).
  Status Store(std::string_view path, std::string_view content,
               const std::string* replaced) override;

  /// The file as a change would find it, through no link. Errors: as Store; FAILED_PRECONDITION
  /// (not a regular file), RESOURCE_EXHAUSTED (larger than kChangeBytesMax).
  Result<PresentFile> Present(std::string_view path) const;
  /// As Store, for what the session's model doesn't know of: it has to read the file again.
  /// `content` unset: the file is removed, in one step; folders stay. `mode`: permission bits that
  /// it gets; 0: those that it has, or those of any new one.
  Status Restore(std::string_view path, const std::optional<std::string>& content,
                 const std::optional<std::string>& replaced, uint32_t mode);

  /// As Workspace::CheckSecret. For changes that come from a model: Present and Restore take any.
  Status CheckSecret(std::string_view path) const { return workspace_->CheckSecret(path); }

  static constexpr int kFoldersMax = 64;

 private:
  /// The whole file if it may be changed at all.
  Result<std::string> ReadWhole(std::string_view path) const;
  void Remember(const std::string& name, std::string digest);
  /// `content` null: removes the file.
  Status Place(const std::vector<std::string>& names, std::string_view path,
               const std::string_view* content, const std::string* replaced, uint32_t mode);

  const std::shared_ptr<const Workspace> workspace_;  ///< Owners: the session, and this.
  std::mutex mutex_;
  std::map<std::string, std::string> seen_;  ///< Plain path -> digest of the content. Under mutex_.
};

}  // namespace baleen
