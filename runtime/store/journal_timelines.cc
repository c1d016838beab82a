// The journal's timelines: fork, rewind, delete, and the walk from a timeline to what it is based
// on. Nothing that timelines share is ever copied.
#include <algorithm>

#include "runtime/store/journal_codec.h"
#include "runtime/store/journal_impl.h"

namespace baleen {
namespace {

Status NoSuchPoint(const TimelinePoint& point, const TimelineRow& timeline) {
  return OutOfRangeError(
      "session '" + point.session + "' has no point at event " + std::to_string(point.seq) +
          " and token " + std::to_string(point.tokens) + ": its timeline " +
          std::to_string(timeline.number) + " has " + std::to_string(timeline.last_seq) +
          " events and " + std::to_string(timeline.tokens) + " tokens",
      "POINT_UNKNOWN");
}

}  // namespace

Result<TimelineRow> TimelineFromRow(const Query& row) {
  TimelineRow timeline;
  timeline.key = row.Int(0);
  timeline.session_key = row.Int(1);
  timeline.number = row.Int(2);
  timeline.base = row.Int(3);
  timeline.base_seq = row.Int(4);
  timeline.base_tokens = row.Int(5);
  timeline.previous = row.Int(6);
  timeline.created_ms = row.Int(7);
  timeline.updated_ms = row.Int(8);
  timeline.tokens = row.Int(9);
  timeline.last_seq = row.Int(10);
  const bool sane = timeline.base >= 0 && timeline.base < timeline.key && timeline.base_seq >= 0 &&
                    timeline.base_tokens >= 0;
  if (!sane || TimelineChecksum(timeline) != row.Int(11)) {
    return DataLossError("journal: timeline " + std::to_string(timeline.key) +
                         " does not match its checksum; restore the journal from a backup");
  }
  return timeline;
}

Result<TimelineRow> Journal::Impl::TimelineByKey(int64_t key) {
  ASSIGN_OR_RETURN(Query select, database->Prepare(BALEEN_SELECT_TIMELINE "WHERE t.key = ?1"));
  select.Bind(key);
  ASSIGN_OR_RETURN(const bool row, select.Step());
  if (!row) {
    return NotFoundError("timeline " + std::to_string(key) + " is not in journal '" +
                         database->path() + "'");
  }
  return TimelineFromRow(select);
}

Result<TimelineRow> Journal::Impl::FindTimeline(std::string_view session, int64_t number) {
  ASSIGN_OR_RETURN(const SessionKeys keys, FindSession(session));
  {
    ASSIGN_OR_RETURN(Query select,
                     database->Prepare(BALEEN_SELECT_TIMELINE
                                       "WHERE t.session = ?1 AND t.session != 0 AND "
                                       "((?2 = 0 AND t.key = ?3) OR (?2 != 0 AND t.number = ?2))"));
    select.Bind(keys.key).Bind(number).Bind(keys.timeline);
    ASSIGN_OR_RETURN(const bool row, select.Step());
    if (row) return TimelineFromRow(select);
  }
  if (number == 0) {
    return DataLossError("journal: session '" + std::string(session) + "' has lost its timeline " +
                         std::to_string(keys.timeline) + "; restore the journal from a backup");
  }
  return NotFoundError("session '" + std::string(session) + "' has no timeline " +
                           std::to_string(number) + "; list its timelines to see which it has",
                       "POINT_UNKNOWN");
}

Result<std::vector<Segment>> Journal::Impl::Segments(const TimelineRow& timeline) {
  std::vector<Segment> segments;
  TimelineRow at = timeline;
  int64_t last_seq = at.last_seq;
  int64_t end = at.tokens;
  while (true) {
    segments.push_back(
        {at.key, std::min(at.base_seq, last_seq), last_seq, std::min(at.base_tokens, end), end});
    if (at.base == 0) break;
    if (static_cast<int64_t>(segments.size()) > kTimelineDepthMax) {
      return DataLossError("journal: timeline " + std::to_string(timeline.key) +
                           " is based on more than " + std::to_string(kTimelineDepthMax) +
                           " others; restore the journal from a backup");
    }
    last_seq = std::min(last_seq, at.base_seq);
    end = std::min(end, at.base_tokens);
    auto base = TimelineByKey(at.base);
    if (base.status().code() == StatusCode::kNotFound ||
        (base.ok() && (base->last_seq < last_seq || base->tokens < end))) {
      return DataLossError("journal: timeline " + std::to_string(at.base) + ", on which timeline " +
                           std::to_string(at.key) +
                           " is based, is missing or cut; restore the journal from a backup");
    }
    RETURN_IF_ERROR(base.status());
    at = *base;
  }
  std::reverse(segments.begin(), segments.end());
  return segments;
}

Result<TimelineRow> Journal::Impl::BranchAt(const TimelinePoint& point) {
  ASSIGN_OR_RETURN(TimelineRow base, FindTimeline(point.session, point.timeline));
  if (point.seq < 0 || point.tokens < 0 || point.seq > base.last_seq ||
      point.tokens > base.tokens) {
    return NoSuchPoint(point, base);
  }
  if (point.seq > 0) {
    ASSIGN_OR_RETURN(const std::vector<EventRecord> newest,
                     EventsOf(base, point.session, point.seq - 1, 1));
    if (newest.empty() || newest[0].tokens > point.tokens) return NoSuchPoint(point, base);
  }
  // The oldest timeline that has the point: chains grow with content, not with rewinds.
  while (base.base != 0 && point.seq <= base.base_seq && point.tokens <= base.base_tokens) {
    ASSIGN_OR_RETURN(base, TimelineByKey(base.base));
  }
  ASSIGN_OR_RETURN(const std::vector<Segment> depth, Segments(base));
  if (static_cast<int64_t>(depth.size()) >= kTimelineDepthMax) {
    return ResourceExhaustedError("session '" + point.session + "' is based on " +
                                      std::to_string(depth.size()) +
                                      " timelines in a row, no more are allowed; export it and "
                                      "import it as one",
                                  "QUOTA");
  }
  TimelineRow branch;
  branch.base = base.key;
  branch.base_seq = branch.last_seq = point.seq;
  branch.base_tokens = branch.tokens = point.tokens;
  return branch;
}

Result<int64_t> Journal::Impl::InsertTimeline(const TimelineRow& timeline) {
  TimelineRow stored = timeline;
  {
    ASSIGN_OR_RETURN(
        Query insert,
        database->Prepare("INSERT INTO timelines(session, number, base, base_seq, base_tokens, "
                          "previous, created_ms, updated_ms, tokens, last_seq, checksum) "
                          "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 0)"));
    RETURN_IF_ERROR(insert.Bind(stored.session_key)
                        .Bind(stored.number)
                        .Bind(stored.base)
                        .Bind(stored.base_seq)
                        .Bind(stored.base_tokens)
                        .Bind(stored.previous)
                        .Bind(stored.created_ms)
                        .Bind(stored.updated_ms)
                        .Bind(stored.tokens)
                        .Bind(stored.last_seq)
                        .Run());
    stored.key = sqlite3_last_insert_rowid(database->handle());
  }
  ASSIGN_OR_RETURN(Query seal,
                   database->Prepare("UPDATE timelines SET checksum = ?2 WHERE key = ?1"));
  RETURN_IF_ERROR(seal.Bind(stored.key).Bind(TimelineChecksum(stored)).Run());
  return stored.key;
}

Status Journal::Impl::ForkSession(const JournalBatch::Fork& fork) {
  RETURN_IF_ERROR(RequireAbsent(fork.session.id));
  ASSIGN_OR_RETURN(const SessionKeys origin, FindSession(fork.from.session));
  ASSIGN_OR_RETURN(const TimelineRow timeline, BranchAt(fork.from));
  return InsertSession(fork.session, origin.settings, timeline);
}

Status Journal::Impl::RewindSession(const JournalBatch::Rewind& rewind) {
  ASSIGN_OR_RETURN(const TimelineRow before, FindTimeline(rewind.to.session, 0));
  ASSIGN_OR_RETURN(TimelineRow timeline, BranchAt(rewind.to));
  timeline.session_key = before.session_key;
  timeline.previous = before.number;
  timeline.created_ms = timeline.updated_ms = std::max(rewind.time_ms, before.updated_ms);
  {
    ASSIGN_OR_RETURN(Query newest, database->Prepare("SELECT max(number) FROM timelines WHERE "
                                                     "session = ?1 AND session != 0"));
    newest.Bind(before.session_key);
    RETURN_IF_ERROR(newest.Step().status());
    timeline.number = newest.Int(0) + 1;
  }
  ASSIGN_OR_RETURN(const int64_t key, InsertTimeline(timeline));
  return SetCurrentTimeline(rewind.to.session, key);
}

Status Journal::Impl::SelectTimeline(const JournalBatch::Select& select) {
  ASSIGN_OR_RETURN(const TimelineRow timeline, FindTimeline(select.session, select.timeline));
  return SetCurrentTimeline(select.session, timeline.key);
}

Status Journal::Impl::SetCurrentTimeline(const std::string& session, int64_t timeline) {
  ASSIGN_OR_RETURN(SessionKeys keys, FindSession(session));
  ASSIGN_OR_RETURN(const SessionRecord record, ReadSession(session));
  keys.timeline = timeline;
  return StoreSession(keys.key, record, keys);
}

Status Journal::Impl::DeleteSession(const std::string& id) {
  ASSIGN_OR_RETURN(const SessionKeys keys, FindSession(id));
  {
    ASSIGN_OR_RETURN(Query disown,
                     database->Prepare("UPDATE timelines SET session = 0 WHERE session = ?1"));
    RETURN_IF_ERROR(disown.Bind(keys.key).Run());
  }
  {
    ASSIGN_OR_RETURN(Query remove, database->Prepare("DELETE FROM sessions WHERE key = ?1"));
    RETURN_IF_ERROR(remove.Bind(keys.key).Run());
  }
  RETURN_IF_ERROR(DropUnusedSettings(keys.settings));
  return SweepOwnerless();
}

Status Journal::Impl::SweepOwnerless() {
  // Newest first: a base is older than what is based on it, so one pass reaches everything.
  int64_t below = INT64_MAX;
  while (true) {
    TimelineRow timeline;
    int64_t seq = 0;
    int64_t tokens = 0;
    int64_t dependents = 0;
    {
      ASSIGN_OR_RETURN(Query select,
                       database->Prepare(BALEEN_SELECT_TIMELINE "WHERE t.session = 0 AND "
                                                                "t.key < ?1 ORDER BY t.key DESC "
                                                                "LIMIT 1"));
      select.Bind(below);
      ASSIGN_OR_RETURN(const bool row, select.Step());
      if (!row) return OkStatus();
      ASSIGN_OR_RETURN(timeline, TimelineFromRow(select));
    }
    below = timeline.key;
    {
      ASSIGN_OR_RETURN(Query needed, database->Prepare("SELECT count(*), max(base_seq), "
                                                       "max(base_tokens) FROM timelines "
                                                       "WHERE base = ?1 AND base != 0"));
      needed.Bind(timeline.key);
      RETURN_IF_ERROR(needed.Step().status());
      dependents = needed.Int(0);
      seq = needed.Int(1);
      tokens = needed.Int(2);
    }
    RETURN_IF_ERROR(dependents == 0 ? DeleteTimeline(timeline.key)
                                    : TrimTimeline(timeline, seq, tokens));
  }
}

Status Journal::Impl::TrimTimeline(TimelineRow timeline, int64_t seq, int64_t tokens) {
  timeline.last_seq = std::min(timeline.last_seq, std::max(seq, timeline.base_seq));
  const int64_t end = std::min(timeline.tokens, std::max(tokens, timeline.base_tokens));
  if (end < timeline.tokens) {
    TokenRow cut;
    int64_t row_key = 0;
    {
      ASSIGN_OR_RETURN(Query select,
                       database->Prepare(BALEEN_SELECT_TOKENS "WHERE timeline = ?1 AND begin < ?2 "
                                                              "ORDER BY begin DESC LIMIT 1"));
      select.Bind(timeline.key).Bind(end);
      ASSIGN_OR_RETURN(const bool row, select.Step());
      if (row) {
        ASSIGN_OR_RETURN(cut, TokensFromRow(select, "", timeline.key));
        row_key = select.Int(4);
      }
    }
    if (row_key != 0 && cut.begin + static_cast<int64_t>(cut.ids.size()) > end) {
      cut.ids.resize(static_cast<size_t>(end - cut.begin));
      if (!cut.hashes.empty()) cut.hashes.resize(cut.ids.size());
      RETURN_IF_ERROR(WriteTokenRow(timeline.key, cut.begin, cut.ids, cut.hashes, row_key));
    }
    ASSIGN_OR_RETURN(Query drop, database->Prepare("DELETE FROM token_runs WHERE timeline = ?1 "
                                                   "AND begin >= ?2"));
    RETURN_IF_ERROR(drop.Bind(timeline.key).Bind(end).Run());
    timeline.tokens = end;
  }
  ASSIGN_OR_RETURN(Query drop,
                   database->Prepare("DELETE FROM events WHERE timeline = ?1 AND seq > ?2"));
  RETURN_IF_ERROR(drop.Bind(timeline.key).Bind(timeline.last_seq).Run());
  return WriteBack({{"", timeline}});
}

Status Journal::Impl::DeleteTimeline(int64_t key) {
  for (const char* sql :
       {"DELETE FROM token_runs WHERE timeline = ?1", "DELETE FROM events WHERE timeline = ?1",
        "DELETE FROM timelines WHERE key = ?1"}) {
    ASSIGN_OR_RETURN(Query remove, database->Prepare(sql));
    RETURN_IF_ERROR(remove.Bind(key).Run());
  }
  return OkStatus();
}

Result<int64_t> Journal::LastSharedSeq(std::string_view session, int64_t timeline, int64_t other) {
  ASSIGN_OR_RETURN(const TimelineRow one, impl_->FindTimeline(session, timeline));
  ASSIGN_OR_RETURN(const TimelineRow two, impl_->FindTimeline(session, other));
  ASSIGN_OR_RETURN(const std::vector<Segment> first, impl_->Segments(one));
  ASSIGN_OR_RETURN(const std::vector<Segment> second, impl_->Segments(two));
  int64_t shared = 0;
  for (size_t i = 0; i < std::min(first.size(), second.size()); ++i) {
    if (first[i].timeline != second[i].timeline) break;
    shared = std::min(first[i].last_seq, second[i].last_seq);
    if (first[i].last_seq != second[i].last_seq) break;
  }
  return shared;
}

Result<std::vector<TimelineRecord>> Journal::ListTimelines(std::string_view session,
                                                           int64_t after_key, int64_t limit) {
  if (limit < 0) return InvalidArgumentError("limit is negative; expected 0 or more");
  int64_t owner = 0;
  if (!session.empty()) {
    ASSIGN_OR_RETURN(const SessionKeys keys, impl_->FindSession(session));
    owner = keys.key;
  }
#define BALEEN_LISTED_TIMELINE                                                           \
  "SELECT t.key, t.session, t.number, t.base, t.base_seq, t.base_tokens, t.previous, "   \
  "t.created_ms, t.updated_ms, t.tokens, t.last_seq, t.checksum, s.id FROM timelines t " \
  "LEFT JOIN sessions s ON s.key = t.session WHERE t.key > ?1 AND "
  ASSIGN_OR_RETURN(Query select,
                   impl_->database->Prepare(
                       session.empty() ? BALEEN_LISTED_TIMELINE "?2 = 0 ORDER BY t.key LIMIT ?3"
                                       : BALEEN_LISTED_TIMELINE
                           "t.session = ?2 AND t.session != 0 ORDER BY t.key LIMIT ?3"));
#undef BALEEN_LISTED_TIMELINE
  select.Bind(after_key).Bind(owner).Bind(std::min(limit, kRowsPerReadMax));
  std::vector<TimelineRecord> timelines;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, select.Step());
    if (!row) return timelines;
    ASSIGN_OR_RETURN(TimelineRow timeline, TimelineFromRow(select));
    timeline.session = select.Text(12);
    timelines.push_back(std::move(timeline));
  }
}

}  // namespace baleen
