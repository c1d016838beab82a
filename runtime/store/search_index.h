// SearchIndex: finds texts of events by what they contain. SQLite's FTS5 over trigrams, in a file
// of its own beside the journal.
//
// A cache: filled from the journal when somebody searches, so that nobody else pays for it, and
// begun anew when its file is lost or damaged. Knows nothing of sessions; an event is a timeline's
// key and a sequence number, with what a hit tells of it beside, so that it need not be read again.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tools_sdk/status.h"

namespace baleen {

/// A place in the journal with its text.
struct IndexedText {
  int64_t key = 0;  ///< Within the index, ascending. Set by the index.
  int64_t timeline = 0;
  int64_t seq = 0;
  std::string text;
  std::string kind;
  std::string turn;
  int64_t time_ms = 0;
};

/// Up to where a timeline's own events have been indexed.
struct IndexedTimeline {
  int64_t created_ms = 0;  ///< Tells a timeline from another one that had the same key.
  int64_t seq = 0;
};

/// Threads: one at a time per object.
class SearchIndex {
 public:
  /// Opens or creates the file (mode 0600); one that isn't a sound index of this version is
  /// replaced by an empty one. Errors: PERMISSION_DENIED, RESOURCE_EXHAUSTED, INTERNAL.
  static Result<std::unique_ptr<SearchIndex>> Open(const std::string& path);
  /// Deletes the files of an index that nobody has open.
  static Status Remove(const std::string& path);
  ~SearchIndex();

  Result<std::map<int64_t, IndexedTimeline>> Timelines();
  /// Adds texts of one timeline, and that it is indexed up to `upto`; all or nothing.
  Status Add(int64_t timeline, const IndexedTimeline& upto, const std::vector<IndexedText>& texts);
  /// Forgets a timeline's events after `seq`; with seq 0 the timeline.
  Status Forget(int64_t timeline, int64_t seq);
  /// Texts that contain `words`, letters of either case alike, newest first; those with key <
  /// before. `words` is text, never a query language. One of fewer than three characters is looked
  /// for in every text. Errors: DATA_LOSS (remove the file and begin anew).
  Result<std::vector<IndexedText>> Find(std::string_view words, int64_t before, int64_t limit);

 private:
  class Impl;
  explicit SearchIndex(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace baleen
