// What a session changes in files: written down before it happens, and taken back.
//
// Only changes of tools that go through WorkspaceChanges (write, edit) are known; what commands do
// isn't. Called by tool calls and by rewinds, on the pool.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/session.h"
#include "runtime/store/file_history.h"
#include "runtime/workspace/workspace_editor.h"

namespace baleen {

/// A session's place in the history of files.
/// Borrows: history.
struct FileKeeper {
  FileHistory* history = nullptr;
  FileOwner owner;
  FilePlace place;
  std::shared_ptr<WorkspaceEditor> editor;  ///< Owners: the session, and who works with its files.
};

/// Writes each change down before the editor makes it; without a history, only makes it.
/// Borrows: keeper. Threads: one call at a time.
class RecordedChanges final : public WorkspaceChanges {
 public:
  explicit RecordedChanges(const FileKeeper& keeper) : keeper_(keeper) {}

  void NoteSeen(std::string_view path) override { keeper_.editor->NoteSeen(path); }
  Result<SeenFile> Load(std::string_view path) override { return keeper_.editor->Load(path); }
  /// Errors: also those of the history; nothing is changed then.
  Status Store(std::string_view path, std::string_view content,
               const std::string* replaced) override;

  /// What the session's model doesn't know of: it has to read the file again. `before` is what must
  /// be there; `content` unset: the file goes. `mode`: as WorkspaceEditor::Restore has it.
  /// Errors: as Store.
  Status Replace(const std::string& path, const PresentFile& before,
                 const std::optional<std::string>& content, uint32_t mode);

  const std::vector<ChangedFile>& files() const { return files_; }

 private:
  const FileKeeper& keeper_;
  std::vector<ChangedFile> files_;
};

/// What taking back all changes after `key` would do to each file, by path.
Result<std::vector<FileRestore>> PlanFiles(const FileKeeper& keeper, int64_t key);
/// Does it, file by file, each in one step; a file that somebody changes meanwhile is a conflict.
/// Broken off, the same call finishes it.
/// Errors: FAILED_PRECONDITION/FILES_NOT_RESTORED (some can't be written; the others are restored).
Result<std::vector<FileRestore>> RestoreFiles(const FileKeeper& keeper, int64_t key);

}  // namespace baleen
