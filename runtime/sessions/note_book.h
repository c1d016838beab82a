// NoteBook: what models remember for later sessions of the same workspace, and what such sessions
// said. Behind the tools remember and recall.
//
// A workspace is its real path: whoever may open it as one reads its notes. Called on the pool.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/clock.h"
#include "runtime/session.h"
#include "runtime/store/note_store.h"
#include "tools_sdk/tool.h"

namespace baleen {

/// Threads: any.
class NoteBook {
 public:
  /// Searches all sessions.
  using Search = std::function<Result<std::vector<SearchHit>>(const SearchRequest& request)>;
  /// The workspace of a session, as its settings have it; "": none.
  using WorkspaceOf = std::function<std::string(const std::string& session)>;

  NoteBook(std::string path, const Clock* clock, Search search, WorkspaceOf workspace_of);

  NoteStore& store() { return store_; }
  Result<std::string> Remember(StoredNote note);
  /// Notes first, then what other sessions said, and `own` on timelines that it has left.
  Result<std::vector<RecalledText>> Recall(const std::string& workspace, const std::string& own,
                                           const std::string& query, int64_t hits_max);

 private:
  Status AddSaid(const std::string& workspace, const std::string& own, const std::string& words,
                 int64_t hits_max, std::vector<RecalledText>* found);

  NoteStore store_;
  const Clock* clock_;
  const Search search_;
  const WorkspaceOf workspace_of_;
};

/// The notes as one call of a session has them. Borrows: book, which may be null.
class SessionNotes final : public WorkspaceNotes {
 public:
  SessionNotes(NoteBook* book, std::string workspace, std::string session, std::string call)
      : book_(book),
        workspace_(std::move(workspace)),
        session_(std::move(session)),
        call_(std::move(call)) {}

  Result<std::string> Remember(const std::string& text) override;
  Result<std::vector<RecalledText>> Recall(const std::string& query, int64_t hits_max) override;

 private:
  NoteBook* book_;
  std::string workspace_, session_, call_;
};

}  // namespace baleen
