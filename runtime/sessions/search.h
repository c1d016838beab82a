// Search over what was said in sessions, and the account of where a turn's context came from.
//
// Reads the journal by a connection of its own, beside live sessions; called on hosts' threads.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/session.h"
#include "runtime/store/journal.h"
#include "runtime/store/search_index.h"
#include "tools_sdk/status.h"

namespace baleen {

/// Searches a journal, and remembers what sessions and timelines it has until it changes.
/// Threads: one at a time.
class SessionSearch {
 public:
  /// `journal`: a reading connection of its own.
  explicit SessionSearch(std::unique_ptr<Journal> journal);
  ~SessionSearch();

  /// Brings `index` up to date, then looks for `request.words` in what users and models wrote on
  /// the current timelines (on those that were left, too, if it is asked for), and in titles.
  /// Errors: INVALID_ARGUMENT; DATA_LOSS (of the index: remove it, and begin anew with both).
  /// Cost: as the hits, while nobody writes; else all sessions' rows are read again.
  Result<std::vector<SearchHit>> Find(SearchIndex& index, const SearchRequest& request);

 private:
  struct Place;
  struct Known;

  Status BringUpToDate(SearchIndex& index);

  const std::unique_ptr<Journal> journal_;
  std::unique_ptr<Known> known_;  ///< Null: nothing yet.
};

/// Every generation of the session's current timeline (of one turn, if `turn` isn't empty).
/// Errors: NOT_FOUND/SESSION_UNKNOWN, NOT_FOUND/ITEM_UNKNOWN (turn).
Result<std::vector<StepReuse>> ExplainSession(Journal& journal, const std::string& session,
                                              const std::string& turn);

}  // namespace baleen
