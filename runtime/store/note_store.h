// NoteStore: what models remembered for others that work in the same folder. SQLite with FTS5, in a
// file of its own beside the journal, made by the first note.
//
// The notes are here alone: nothing else has them. Knows nothing of sessions but their names.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tools_sdk/status.h"

namespace baleen {

struct StoredNote {
  int64_t key = 0;        ///< Ascending, never used twice. Set by the store.
  std::string workspace;  ///< Real path.
  std::string session;
  std::string call;  ///< That remembered it; a repeat changes nothing.
  int64_t time_ms = 0;
  std::string text;
};

/// Threads: any.
class NoteStore {
 public:
  /// Opens nothing yet.
  explicit NoteStore(std::string path);
  ~NoteStore();

  /// Power-safe when it returns the note's key; that of the earlier one if the call is a repeat.
  /// Errors: RESOURCE_EXHAUSTED (kNotesMax in the workspace; disk full), DATA_LOSS, INTERNAL.
  Result<int64_t> Add(const StoredNote& note);
  static constexpr int64_t kNotesMax = 10'000;
  /// Those of the workspace with any word of `query`, the best first. `query` is text, no language.
  Result<std::vector<StoredNote>> Find(const std::string& workspace, std::string_view query,
                                       int64_t limit);
  /// Of one workspace ("": of all), by key, after `after`.
  Result<std::vector<StoredNote>> List(const std::string& workspace, int64_t after, int64_t limit);
  /// Removes the note for good, and answers it. Errors: NOT_FOUND/ITEM_UNKNOWN.
  Result<StoredNote> Forget(int64_t key);
  /// What is wrong with the file; empty: nothing.
  Result<std::vector<std::string>> Verify();
  /// A complete, synced copy in the new file `path`; none if there are no notes yet.
  Status Backup(const std::string& path);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace baleen
