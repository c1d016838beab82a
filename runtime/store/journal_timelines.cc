// The journal's timelines: fork, rewind, delete, and the walk from a timeline to what it is based
// on. Nothing that timelines share is ever copied.
#include <algorithm>
#include <unordered_map>
#include <vector>

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
  if (number == 0) {
    // What nearly every read begins with.
    ASSIGN_OR_RETURN(Query select,
                     database->Prepare(BALEEN_SELECT_TIMELINE
                                       "JOIN timelines s ON s.current = t.key AND s.key = "
                                       "t.session WHERE s.id = ?1"));
    select.Bind(session);
    ASSIGN_OR_RETURN(const bool row, select.Step());
    if (row) return TimelineFromRow(select);
  }
  ASSIGN_OR_RETURN(const SessionKeys keys, FindSession(session));
  if (number == 0) {
    return DataLossError("journal: session '" + std::string(session) + "' has lost its timeline " +
                         std::to_string(keys.timeline) + "; restore the journal from a backup");
  }
  ASSIGN_OR_RETURN(
      Query select,
      number > 1
          ? database->Prepare(BALEEN_SELECT_TIMELINE "WHERE t.session = ?1 AND t.number = ?2 AND "
                                                     "t.number > 1 AND t.session != 0")
          : database->Prepare(BALEEN_SELECT_TIMELINE "WHERE t.session = ?1 AND t.key = ?2"));
  select.Bind(keys.key).Bind(number > 1 ? number : keys.key);
  ASSIGN_OR_RETURN(const bool row, select.Step());
  if (row) return TimelineFromRow(select);
  return NotFoundError("session '" + std::string(session) + "' has no timeline " +
                           std::to_string(number) + "; list its timelines to see which it has",
                       "POINT_UNKNOWN");
}

Result<std::vector<TimelineSegment>> Journal::Impl::Segments(const TimelineRow& timeline) {
  std::vector<TimelineSegment> segments;
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
  ASSIGN_OR_RETURN(const std::vector<TimelineSegment> depth, Segments(base));
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

Result<int64_t> Journal::Impl::NextTimelineKey() {
  ASSIGN_OR_RETURN(const int64_t key,
                   database->IntOf("SELECT 1 + max(coalesce((SELECT max(key) FROM timelines), 0), "
                                   "coalesce((SELECT max(key) FROM spent_timelines), 0))"));
  if (key <= kTimelineKeyMax) return key;
  return ResourceExhaustedError("journal '" + database->path() + "' has had all the " +
                                    std::to_string(kTimelineKeyMax) +
                                    " timelines it can have; begin another data directory",
                                "QUOTA");
}

Result<int64_t> Journal::Impl::InsertTimeline(const TimelineRow& timeline) {
  TimelineRow stored = timeline;
  ASSIGN_OR_RETURN(stored.key, NextTimelineKey());
  ASSIGN_OR_RETURN(
      Query insert,
      database->Prepare("INSERT INTO timelines(key, session, number, base, base_seq, base_tokens, "
                        "previous, created_ms, updated_ms, tokens, last_seq, checksum) "
                        "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"));
  RETURN_IF_ERROR(insert.Bind(stored.key)
                      .Bind(stored.session_key)
                      .Bind(stored.number)
                      .Bind(stored.base)
                      .Bind(stored.base_seq)
                      .Bind(stored.base_tokens)
                      .Bind(stored.previous)
                      .Bind(stored.created_ms)
                      .Bind(stored.updated_ms)
                      .Bind(stored.tokens)
                      .Bind(stored.last_seq)
                      .Bind(TimelineChecksum(stored))
                      .Run());
  written_timeline = stored.key;
  return stored.key;
}

Status Journal::Impl::ForkSession(const JournalBatch::Fork& fork) {
  RETURN_IF_ERROR(RequireAbsent(fork.session.id));
  ASSIGN_OR_RETURN(const SessionKeys origin, FindSession(fork.from.session));
  ASSIGN_OR_RETURN(const TimelineRow timeline, BranchAt(fork.from));
  int64_t settings = origin.settings;
  if (!fork.settings.empty()) {
    ASSIGN_OR_RETURN(settings, InsertSettings(fork.settings));
  }
  return InsertSession(fork.session, settings, timeline);
}

Status Journal::Impl::RewindSession(const JournalBatch::Rewind& rewind) {
  ASSIGN_OR_RETURN(const TimelineRow before, FindTimeline(rewind.to.session, 0));
  ASSIGN_OR_RETURN(TimelineRow timeline, BranchAt(rewind.to));
  timeline.session_key = before.session_key;
  timeline.previous = before.number;
  timeline.created_ms = timeline.updated_ms = std::max(rewind.time_ms, before.updated_ms);
  {
    ASSIGN_OR_RETURN(Query newest, database->Prepare("SELECT max(number) FROM timelines WHERE "
                                                     "session = ?1 AND number > 1 AND "
                                                     "session != 0"));
    newest.Bind(before.session_key);
    RETURN_IF_ERROR(newest.Step().status());
    timeline.number = std::max<int64_t>(newest.Int(0), 1) + 1;
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
  for (const char* sql :
       {"UPDATE timelines SET session = 0, id = NULL, title = NULL, settings = NULL, "
        "pinned = NULL, current = NULL, session_checksum = NULL WHERE key = ?1",
        "UPDATE timelines SET session = 0 WHERE session = ?1 AND number > 1 AND session != 0"}) {
    ASSIGN_OR_RETURN(Query disown, database->Prepare(sql));
    RETURN_IF_ERROR(disown.Bind(keys.key).Run());
  }
  RETURN_IF_ERROR(DropUnusedSettings(keys.settings));
  return SweepOwnerless();
}

Status Journal::Impl::SweepOwnerless() {
  struct Timeline {
    int64_t key = 0;
    bool owned = false;
    int64_t base = 0;
    int64_t base_seq = 0;
    int64_t base_tokens = 0;
  };
  std::vector<Timeline> timelines;
  {
    ASSIGN_OR_RETURN(Query select,
                     database->Prepare("SELECT key, session, base, base_seq, base_tokens FROM "
                                       "timelines ORDER BY key DESC"));
    while (true) {
      ASSIGN_OR_RETURN(const bool row, select.Step());
      if (!row) break;
      timelines.push_back(
          {select.Int(0), select.Int(1) != 0, select.Int(2), select.Int(3), select.Int(4)});
    }
  }
  // What those that stay need of their bases. Newest first: a base is older than what is based on
  // it, so one pass reaches everything.
  std::unordered_map<int64_t, Timeline> needs;
  for (const Timeline& timeline : timelines) {
    const auto need = needs.find(timeline.key);
    if (!timeline.owned && need == needs.end()) {
      RETURN_IF_ERROR(DeleteTimeline(timeline.key, timeline.key == timelines.front().key));
      continue;
    }
    if (!timeline.owned) {
      ASSIGN_OR_RETURN(const TimelineRow row, TimelineByKey(timeline.key));
      RETURN_IF_ERROR(TrimTimeline(row, need->second.base_seq, need->second.base_tokens));
    }
    if (timeline.base == 0) continue;
    Timeline& base = needs[timeline.base];
    base.base_seq = std::max(base.base_seq, timeline.base_seq);
    base.base_tokens = std::max(base.base_tokens, timeline.base_tokens);
  }
  return OkStatus();
}

Status Journal::Impl::TrimTimeline(TimelineRow timeline, int64_t seq, int64_t tokens) {
  timeline.last_seq = std::min(timeline.last_seq, std::max(seq, timeline.base_seq));
  const int64_t end = std::min(timeline.tokens, std::max(tokens, timeline.base_tokens));
  if (end < timeline.tokens) {
    TokenRow cut;
    {
      ASSIGN_OR_RETURN(Query select,
                       database->Prepare(BALEEN_SELECT_TOKENS "WHERE key >= ?1 AND key < ?2 "
                                                              "ORDER BY key DESC LIMIT 1"));
      select.Bind(RowKey(timeline.key, 0)).Bind(RowKey(timeline.key, end));
      ASSIGN_OR_RETURN(const bool row, select.Step());
      if (row) {
        ASSIGN_OR_RETURN(cut, TokensFromRow(select, "", timeline.key));
      }
    }
    if (!cut.ids.empty() && cut.begin + static_cast<int64_t>(cut.ids.size()) > end) {
      cut.ids.resize(static_cast<size_t>(end - cut.begin));
      if (!cut.hashes.empty()) cut.hashes.resize(cut.ids.size());
      RETURN_IF_ERROR(WriteTokenRow(timeline.key, cut.begin, cut.ids, cut.hashes));
    }
    ASSIGN_OR_RETURN(Query drop, database->Prepare("DELETE FROM token_runs WHERE key >= ?1 AND "
                                                   "key <= ?2"));
    RETURN_IF_ERROR(
        drop.Bind(RowKey(timeline.key, end)).Bind(RowKey(timeline.key, kRowNumberMax)).Run());
    timeline.tokens = end;
  }
  ASSIGN_OR_RETURN(Query drop,
                   database->Prepare("DELETE FROM events WHERE key > ?1 AND key <= ?2"));
  RETURN_IF_ERROR(drop.Bind(RowKey(timeline.key, timeline.last_seq))
                      .Bind(RowKey(timeline.key, kRowNumberMax))
                      .Run());
  return WriteBack({{"", timeline}});
}

Status Journal::Impl::DeleteTimeline(int64_t key, bool newest) {
  for (const char* sql : {"DELETE FROM token_runs WHERE key >= ?1 AND key <= ?2",
                          "DELETE FROM events WHERE key >= ?1 AND key <= ?2"}) {
    ASSIGN_OR_RETURN(Query remove, database->Prepare(sql));
    RETURN_IF_ERROR(remove.Bind(RowKey(key, 0)).Bind(RowKey(key, kRowNumberMax)).Run());
  }
  {
    ASSIGN_OR_RETURN(Query remove, database->Prepare("DELETE FROM timelines WHERE key = ?1"));
    RETURN_IF_ERROR(remove.Bind(key).Run());
  }
  if (!newest) return OkStatus();
  RETURN_IF_ERROR(database->Exec("DELETE FROM spent_timelines"));
  ASSIGN_OR_RETURN(Query insert, database->Prepare("INSERT INTO spent_timelines(key) VALUES(?1)"));
  return insert.Bind(key).Run();
}

Result<int64_t> Journal::LastSharedSeq(std::string_view session, int64_t timeline, int64_t other) {
  ASSIGN_OR_RETURN(const TimelineRow one, impl_->FindTimeline(session, timeline));
  ASSIGN_OR_RETURN(const TimelineRow two, impl_->FindTimeline(session, other));
  ASSIGN_OR_RETURN(const std::vector<TimelineSegment> first, impl_->Segments(one));
  ASSIGN_OR_RETURN(const std::vector<TimelineSegment> second, impl_->Segments(two));
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
  SessionKeys owner;
  if (!session.empty()) {
    ASSIGN_OR_RETURN(owner, impl_->FindSession(session));
  }
#define BALEEN_LISTED_TIMELINE                                                           \
  "SELECT t.key, t.session, t.number, t.base, t.base_seq, t.base_tokens, t.previous, "   \
  "t.created_ms, t.updated_ms, t.tokens, t.last_seq, t.checksum, s.id FROM timelines t " \
  "LEFT JOIN timelines s ON s.key = t.session WHERE t.key > ?1 "
  ASSIGN_OR_RETURN(
      Query select,
      impl_->database->Prepare(
          session.empty() ? BALEEN_LISTED_TIMELINE "ORDER BY t.key LIMIT ?2"
                          : BALEEN_LISTED_TIMELINE
              "AND (t.key = ?3 OR (t.session = ?3 AND t.number > 1 AND t.session != 0)) "
              "ORDER BY t.key LIMIT ?2"));
#undef BALEEN_LISTED_TIMELINE
  select.Bind(after_key).Bind(std::min(limit, kRowsPerReadMax));
  if (!session.empty()) select.Bind(owner.key);
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
