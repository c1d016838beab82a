#include "runtime/sessions/note_book.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <utility>

namespace baleen {
namespace {

constexpr int64_t kHitsLookedAt = 200;
constexpr size_t kWordBytesMin = 4;  ///< Shorter ones stand everywhere.
constexpr int kWordsTried = 3;

/// As it stands if it can't be resolved: then nobody else's is the same.
std::string RealPath(const std::string& folder) {
  std::error_code gone;
  const auto path = std::filesystem::canonical(folder, gone);
  return gone ? folder : path.string();
}

/// The query, then its longest words: the search of sessions finds words as they stand.
std::vector<std::string> Wordings(const std::string& query) {
  std::vector<std::string> words;
  for (size_t begin = 0; begin < query.size();) {
    const size_t end = std::min(query.find_first_of(" \t\r\n,.;:?!\"'()", begin), query.size());
    if (end - begin >= kWordBytesMin) words.push_back(query.substr(begin, end - begin));
    begin = end + 1;
  }
  std::sort(words.begin(), words.end(), [](const std::string& one, const std::string& other) {
    return one.size() != other.size() ? one.size() > other.size() : one < other;
  });
  if (words.size() > kWordsTried) words.resize(kWordsTried);
  words.insert(words.begin(), query);
  return words;
}

}  // namespace

NoteBook::NoteBook(std::string path, const Clock* clock, Search search, WorkspaceOf workspace_of)
    : store_(std::move(path)),
      clock_(clock),
      search_(std::move(search)),
      workspace_of_(std::move(workspace_of)) {}

Result<std::string> NoteBook::Remember(StoredNote note) {
  note.workspace = RealPath(note.workspace);
  note.time_ms = clock_->WallMs();
  ASSIGN_OR_RETURN(const int64_t key, store_.Add(note));
  return "n" + std::to_string(key);
}

Status NoteBook::AddSaid(const std::string& workspace, const std::string& own,
                         const std::string& words, int64_t hits_max,
                         std::vector<RecalledText>* found) {
  SearchRequest request;
  request.words = words;
  request.hits_max = kHitsLookedAt;
  request.left_timelines = true;
  ASSIGN_OR_RETURN(const std::vector<SearchHit> hits, search_(request));
  std::map<std::string, bool> same;
  for (const SearchHit& hit : hits) {
    if (std::ssize(*found) >= hits_max) break;
    // What its own timeline says is in the context, or was compacted away on purpose.
    const bool in_context = hit.session == own && hit.timeline == 0;
    if (in_context || hit.turn.empty()) continue;
    if (!same.contains(hit.session)) {
      const std::string folder = workspace_of_(hit.session);
      same[hit.session] = !folder.empty() && RealPath(folder) == workspace;
    }
    if (!same[hit.session]) continue;
    std::string source = "session " + hit.session + ", " + hit.turn;
    if (hit.timeline != 0)
      source += " of timeline " + std::to_string(hit.timeline) + ", left since";
    source += hit.kind == "turn_started" ? ", the user" : ", the model";
    const bool known = std::any_of(found->begin(), found->end(), [&](const RecalledText& text) {
      return text.source == source && text.time_ms == hit.time_ms;
    });
    if (!known) found->push_back({source, hit.time_ms, hit.snippet});
  }
  return OkStatus();
}

Result<std::vector<RecalledText>> NoteBook::Recall(const std::string& workspace,
                                                   const std::string& own, const std::string& query,
                                                   int64_t hits_max) {
  const std::string folder = RealPath(workspace);
  ASSIGN_OR_RETURN(const std::vector<StoredNote> notes, store_.Find(folder, query, hits_max));
  std::vector<RecalledText> found;
  for (const StoredNote& note : notes) {
    found.push_back({"note n" + std::to_string(note.key) + " of session " + note.session,
                     note.time_ms, note.text});
  }
  for (const std::string& words : Wordings(query)) {
    if (std::ssize(found) >= hits_max) break;
    RETURN_IF_ERROR(AddSaid(folder, own, words, hits_max, &found));
  }
  return found;
}

Result<std::string> SessionNotes::Remember(const std::string& text) {
  if (book_ == nullptr) return UnavailableError("notes are not kept here");
  StoredNote note;
  note.workspace = workspace_;
  note.session = session_;
  note.call = call_;
  note.text = text;
  return book_->Remember(std::move(note));
}

Result<std::vector<RecalledText>> SessionNotes::Recall(const std::string& query, int64_t hits_max) {
  if (book_ == nullptr) return UnavailableError("notes are not kept here");
  return book_->Recall(workspace_, session_, query, hits_max);
}

}  // namespace baleen
