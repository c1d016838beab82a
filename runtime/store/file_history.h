// FileHistory: what sessions changed in files, and what was there before. SQLite, in a file of its
// own beside the journal, so that contents of files make no session's history longer.
//
// A log in the order in which things happened, over all timelines of a session: each change is
// written down before it is made, with the content that it replaces, kept once by its SHA-256. Also
// notes where a session stood when it moved to another timeline. Knows nothing of workspaces. Made
// by the first change; damage to it costs rewinds of files, never a session.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools_sdk/status.h"

namespace baleen {

/// Whose changes: the time tells a session from an earlier one of that name.
struct FileOwner {
  std::string session;
  int64_t created_ms = 0;
};

/// Where in its history a session stood.
struct FilePlace {
  int64_t timeline = 0;  ///< Number.
  int64_t seq = 0;       ///< Of its newest event.
};

struct FileChange {
  int64_t key = 0;            ///< Ascending in the order of time. Set by the history.
  std::string path;           ///< Below the workspace.
  std::string before, after;  ///< SHA-256 in hex; empty: no file.
  uint32_t mode = 0;          ///< Permission bits of what was there; 0: not known.
  uint32_t new_mode = 0;      ///< Those that a file which stays gets; 0: it keeps its own.
  /// Known to have happened. Else the process ended in between, and only the file can tell.
  bool settled = false;
};

struct FileHistoryReport {
  int64_t changes = 0;
  int64_t contents = 0;
  int64_t content_bytes = 0;
  std::vector<std::string> problems;
};

/// SHA-256 in hex.
std::string FileDigest(std::string_view content);

/// Threads: any.
class FileHistory {
 public:
  /// `bytes_max`: of kept contents together; the oldest go first, and one that is larger alone is
  /// not kept. Opens nothing yet. A file that is no sound history is moved aside when it is opened,
  /// to `path`.damaged, and noted.
  FileHistory(std::string path, int64_t bytes_max);
  ~FileHistory();

  /// Writes down that `change` is about to be made; `before` is the content that it replaces.
  /// Power-safe when it returns its key. `restore`: 0: a tool's change; else one of a restore,
  /// which is named by the key of its first (kNewRestore for that one). Errors: RESOURCE_EXHAUSTED
  /// (disk full), DATA_LOSS, INTERNAL.
  Result<int64_t> Begin(const FileOwner& owner, const FilePlace& place, const FileChange& change,
                        std::string_view before, int64_t restore);
  static constexpr int64_t kNewRestore = -1;
  /// The change has happened; or certainly hasn't, and is forgotten.
  Status Settle(int64_t key, bool happened);
  /// The session stands there from now on.
  Status Mark(const FileOwner& owner, const FilePlace& place);

  /// The newest change or mark that lies at one of `places` or before it on the same timeline; 0:
  /// none. Restores lie nowhere: they come after what they took back.
  Result<int64_t> KeyAt(const FileOwner& owner, const std::vector<FilePlace>& places);
  /// The key before the newest restore's first. Errors: NOT_FOUND (there is none).
  Result<int64_t> KeyBeforeRestore(const FileOwner& owner);
  /// Those with a higher key, the oldest first. Errors: RESOURCE_EXHAUSTED (more than kChangesMax).
  Result<std::vector<FileChange>> ChangesAfter(const FileOwner& owner, int64_t key);
  static constexpr int64_t kChangesMax = 100'000;
  Result<bool> Keeps(const std::string& digest);
  /// Errors: NOT_FOUND (not kept, or not any more), DATA_LOSS (it isn't what it was).
  Result<std::string> Content(const std::string& digest);

  Result<std::vector<FileOwner>> Owners();
  /// Forgets the owner's changes, and the contents that nobody else needs.
  Status Forget(const FileOwner& owner);
  /// Reads everything. Damage is reported, not an error.
  Result<FileHistoryReport> Verify();
  /// A complete, synced copy in the new file `path`; none if there is no history yet.
  Status Backup(const std::string& path);
  std::vector<std::string> Notes();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace baleen
