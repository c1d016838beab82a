#include "runtime/sessions/search.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <utility>

#include "runtime/sessions/journal_json.h"
#include "tools_sdk/utf8.h"

namespace baleen {

/// Which sessions have events of a timeline on their current one, and up to which.
struct TimelineReader {
  std::string session;
  int64_t last_seq = 0;
};

namespace {

constexpr size_t kWordsBytesMax = 1000;
constexpr int64_t kHitsMax = 1000;
/// Bytes of a snippet before and after what was found.
constexpr size_t kSnippetBytes = 60;

std::string Folded(std::string_view text) {
  std::string folded(text);
  for (char& c : folded) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return folded;
}

/// The part of `text` around `words`, on one line.
std::string Snippet(const std::string& text, std::string_view words) {
  size_t at = Folded(text).find(Folded(words));
  if (at == std::string::npos) at = 0;  // letters that are alike beyond ASCII
  size_t begin = at > kSnippetBytes ? at - kSnippetBytes : 0;
  while (begin < at && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) ++begin;
  std::string snippet(
      Utf8Prefix(std::string_view(text).substr(begin), at - begin + words.size() + kSnippetBytes));
  for (char& c : snippet) c = static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  return snippet;
}

/// What a reader would call the text of an event; empty: it has none.
std::string TextOf(const EventRecord& event) {
  if (event.kind == event_kind::kTurnStarted) {
    const auto start = TurnStartFromJson(event.payload);
    return start.ok() ? start->input : "";
  }
  if (event.kind == event_kind::kGenerated) {
    const auto answer = StepAnswerFromJson(event.payload);
    const auto* generated = answer.ok() ? std::get_if<GeneratedEvent>(&answer->event) : nullptr;
    return generated != nullptr ? generated->message.content : "";
  }
  return "";
}

Result<std::map<int64_t, TimelineRecord>> AllTimelines(Journal& journal) {
  std::map<int64_t, TimelineRecord> timelines;
  int64_t after = 0;
  while (true) {
    ASSIGN_OR_RETURN(const auto page, journal.ListTimelines("", after, kRowsPerReadMax));
    if (page.empty()) return timelines;
    for (const TimelineRecord& timeline : page) timelines[after = timeline.key] = timeline;
  }
}

Result<std::vector<SessionRecord>> AllSessions(Journal& journal) {
  std::vector<SessionRecord> sessions;
  while (true) {
    ASSIGN_OR_RETURN(
        auto page, journal.ListSessions(sessions.empty() ? "" : sessions.back().id, kJournalPage));
    if (page.empty()) return sessions;
    for (SessionRecord& session : page) sessions.push_back(std::move(session));
  }
}

/// Indexes the own events of `timeline` from `known` on.
Status IndexTimeline(Journal& journal, SearchIndex& index, const TimelineRecord& timeline,
                     IndexedTimeline known) {
  known.created_ms = timeline.created_ms;
  known.seq = std::max(known.seq, timeline.base_seq);
  while (known.seq < timeline.last_seq) {
    ASSIGN_OR_RETURN(const auto events,
                     journal.ReadTimelineEvents(timeline.key, known.seq, kJournalPage));
    if (events.empty()) break;  // deleted meanwhile
    std::vector<IndexedText> texts;
    for (const EventRecord& event : events) {
      known.seq = event.seq;
      if (std::string text = TextOf(event); !text.empty()) {
        texts.push_back({0, timeline.key, event.seq, std::move(text), event.kind,
                         TurnOf(event.payload), event.time_ms});
      }
    }
    RETURN_IF_ERROR(index.Add(timeline.key, known, texts));
  }
  return OkStatus();
}

Status IndexAll(Journal& journal, SearchIndex& index,
                const std::map<int64_t, TimelineRecord>& timelines) {
  ASSIGN_OR_RETURN(auto indexed, index.Timelines());
  for (const auto& [key, known] : indexed) {
    const auto timeline = timelines.find(key);
    const bool same =
        timeline != timelines.end() && timeline->second.created_ms == known.created_ms;
    if (!same) {
      RETURN_IF_ERROR(index.Forget(key, 0));
    } else if (timeline->second.last_seq < known.seq) {
      RETURN_IF_ERROR(index.Forget(key, timeline->second.last_seq));
    }
  }
  ASSIGN_OR_RETURN(indexed, index.Timelines());
  for (const auto& [key, timeline] : timelines) {
    const auto known = indexed.find(key);
    RETURN_IF_ERROR(IndexTimeline(journal, index, timeline,
                                  known == indexed.end() ? IndexedTimeline() : known->second));
  }
  return OkStatus();
}

using Readers = std::map<int64_t, std::vector<TimelineReader>>;

Readers ReadersOf(const std::vector<SessionRecord>& sessions,
                  const std::map<int64_t, TimelineRecord>& timelines) {
  std::map<std::pair<std::string, int64_t>, int64_t> current;
  for (const auto& [key, timeline] : timelines) {
    if (!timeline.session.empty()) current[{timeline.session, timeline.number}] = key;
  }
  Readers readers;
  for (const SessionRecord& session : sessions) {
    const auto head = current.find({session.id, session.timeline});
    if (head == current.end()) continue;
    int64_t last_seq = INT64_MAX;
    for (auto at = timelines.find(head->second); at != timelines.end();
         at = timelines.find(at->second.base)) {
      readers[at->first].push_back({session.id, last_seq});
      last_seq = std::min(last_seq, at->second.base_seq);
    }
  }
  return readers;
}

Status CheckRequest(const SearchRequest& request) {
  const auto bad = [](const std::string& what) { return InvalidArgumentError(what, "BAD_FIELD"); };
  if (request.words.empty()) return bad("words: expected some text to look for");
  if (request.words.size() > kWordsBytesMax) {
    return bad("words: expected at most " + std::to_string(kWordsBytesMax) + " bytes, got " +
               std::to_string(request.words.size()));
  }
  if (Utf8ValidPrefix(request.words) != request.words.size() ||
      request.words.find('\0') != std::string::npos) {
    return bad("words: expected UTF-8 text without zero bytes");
  }
  if (request.hits_max < 1 || request.hits_max > kHitsMax) {
    return bad("hits_max: expected 1 to " + std::to_string(kHitsMax) + ", got " +
               std::to_string(request.hits_max));
  }
  return OkStatus();
}

}  // namespace

/// Where a text stands: the first session that has it, and how many do.
struct SessionSearch::Place {
  std::string session;
  int64_t sessions = 0;
  int64_t timeline = 0;  ///< As SearchHit::timeline.
};

struct SessionSearch::Known {
  int64_t change_number = 0;
  std::vector<SessionRecord> sessions;
  std::string titles;               ///< Folded, each with a zero byte behind it.
  std::vector<size_t> title_begin;  ///< In `titles`, beside `sessions`.
  std::map<int64_t, std::vector<TimelineReader>> readers;  ///< By timeline.
  std::map<int64_t, TimelineRecord> timelines;

  /// Null: on a timeline that was left, and `left` isn't wanted; or of a deleted session.
  std::optional<Place> PlaceOf(const IndexedText& text, bool left) const {
    const auto all = readers.find(text.timeline);
    if (all != readers.end()) {
      const auto sees = [&](const TimelineReader& one) { return text.seq <= one.last_seq; };
      const auto first = std::find_if(all->second.begin(), all->second.end(), sees);
      if (first != all->second.end()) {
        return Place{first->session, std::count_if(first, all->second.end(), sees), 0};
      }
    }
    const auto timeline = timelines.find(text.timeline);
    if (!left || timeline == timelines.end() || timeline->second.session.empty()) return {};
    return Place{timeline->second.session, 1, timeline->second.number};
  }

  void AddTitle(std::string_view title) {
    title_begin.push_back(titles.size());
    titles += Folded(title);
    titles += '\0';
  }
  /// The first `count` whose title has `folded` in it, which has no zero byte.
  std::vector<size_t> TitlesWith(std::string_view folded, int64_t count) const {
    std::vector<size_t> found;
    size_t at = 0;
    while (std::ssize(found) < count) {
      // Not find(): that stops at each letter that is the first one of `folded`.
      const void* place =
          memmem(titles.data() + at, titles.size() - at, folded.data(), folded.size());
      if (place == nullptr) break;
      at = static_cast<size_t>(static_cast<const char*>(place) - titles.data());
      const auto next = std::upper_bound(title_begin.begin(), title_begin.end(), at);
      found.push_back(static_cast<size_t>(next - title_begin.begin()) - 1);
      if (next == title_begin.end()) break;
      at = *next;
    }
    return found;
  }
};

SessionSearch::SessionSearch(std::unique_ptr<Journal> journal) : journal_(std::move(journal)) {}

SessionSearch::~SessionSearch() = default;

Status SessionSearch::BringUpToDate(SearchIndex& index) {
  // Asked first: what is committed while the rows are read is read again next time.
  ASSIGN_OR_RETURN(const int64_t change_number, journal_->ChangeNumber());
  if (known_ != nullptr && known_->change_number == change_number) return OkStatus();
  known_ = nullptr;
  auto known = std::make_unique<Known>();
  known->change_number = change_number;
  ASSIGN_OR_RETURN(auto timelines, AllTimelines(*journal_));
  ASSIGN_OR_RETURN(known->sessions, AllSessions(*journal_));
  RETURN_IF_ERROR(IndexAll(*journal_, index, timelines));
  known->readers = ReadersOf(known->sessions, timelines);
  known->timelines = std::move(timelines);
  for (SessionRecord& session : known->sessions) {
    known->AddTitle(session.title);
    session.settings.clear();  // may be long, and isn't searched
  }
  known_ = std::move(known);
  return OkStatus();
}

Result<std::vector<SearchHit>> SessionSearch::Find(SearchIndex& index,
                                                   const SearchRequest& request) {
  RETURN_IF_ERROR(CheckRequest(request));
  RETURN_IF_ERROR(BringUpToDate(index));
  std::vector<SearchHit> hits;
  const auto full = [&] { return static_cast<int64_t>(hits.size()) >= request.hits_max; };
  const std::string folded = Folded(request.words);
  for (const size_t i : known_->TitlesWith(folded, request.hits_max)) {
    const SessionRecord& session = known_->sessions[i];
    hits.push_back({session.id, "", "title", 0, session.updated_ms, session.title, 1});
  }
  int64_t before = INT64_MAX;
  while (!full()) {
    const int64_t page = std::min(kJournalPage, request.hits_max - std::ssize(hits));
    ASSIGN_OR_RETURN(const auto found, index.Find(request.words, before, page));
    if (found.empty()) break;
    for (const IndexedText& text : found) {
      before = text.key;
      if (full()) break;
      const auto place = known_->PlaceOf(text, request.left_timelines);
      if (!place.has_value()) continue;
      hits.push_back({place->session, text.turn, text.kind, text.seq, text.time_ms,
                      Snippet(text.text, request.words), place->sessions, place->timeline});
    }
  }
  return hits;
}

Result<std::vector<StepReuse>> ExplainSession(Journal& journal, const std::string& session,
                                              const std::string& turn) {
  std::vector<StepReuse> steps;
  int64_t after = 0;
  while (true) {
    auto events = journal.ReadEventsOfKind(session, event_kind::kGenerated, after, kJournalPage);
    if (events.status().code() == StatusCode::kNotFound) {
      return NotFoundError("session '" + session.substr(0, 80) + "' does not exist",
                           "SESSION_UNKNOWN");
    }
    RETURN_IF_ERROR(events.status());
    if (events->empty()) break;
    for (const EventRecord& event : *events) {
      after = event.seq;
      ASSIGN_OR_RETURN(const StepAnswer answer, StepAnswerFromJson(event.payload));
      if (!turn.empty() && answer.turn != turn) continue;
      const auto* generated = std::get_if<GeneratedEvent>(&answer.event);
      StepReuse step;
      step.turn = answer.turn;
      step.step = answer.step;
      step.context_tokens = event.tokens;
      step.reused_ram = answer.reuse.reused_ram;
      step.reused_disk = answer.reuse.reused_disk;
      step.recomputed = answer.reuse.recomputed;
      step.prefilled = answer.reuse.prefilled;
      step.generated = generated != nullptr ? generated->tokens : 0;
      step.bytes_read = answer.reuse.bytes_read;
      step.restore_ms = answer.reuse.restore_ms;
      step.prefill_ms = answer.reuse.prefill_ms;
      step.reasons = answer.reuse.reasons;
      steps.push_back(std::move(step));
    }
  }
  if (steps.empty() && !turn.empty()) {
    return NotFoundError(
        "session '" + session + "' has no generation in a turn '" + turn.substr(0, 80) + "'",
        "ITEM_UNKNOWN");
  }
  return steps;
}

}  // namespace baleen
