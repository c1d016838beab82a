// The journal's reads. Every row's checksum is verified before its contents are returned.
#include <algorithm>

#include "runtime/store/journal.h"
#include "runtime/store/journal_codec.h"
#include "runtime/store/journal_impl.h"
#include "runtime/store/journal_schema.h"

namespace baleen {
namespace {

Status Damaged(std::string_view session, const std::string& row) {
  return DataLossError("journal: " + row + " of session '" + std::string(session) +
                       "' does not match its checksum; restore the journal from a backup");
}

/// SQLite takes a partial index only where the query says that its rows are in it.
bool IsIndexed(std::string_view kind) {
  return std::find(kIndexedKinds.begin(), kIndexedKinds.end(), kind) != kIndexedKinds.end();
}

Status CheckRange(int64_t after, int64_t limit, int64_t limit_max) {
  if (after >= 0 && limit >= 0) return OkStatus();
  return InvalidArgumentError("read from " + std::to_string(after) + " with limit " +
                              std::to_string(limit) + ": expected both >= 0 (limit is cut to " +
                              std::to_string(limit_max) + ")");
}

}  // namespace

Result<SessionRecord> SessionFromRow(const Query& row) {
  SessionRecord session;
  session.id = row.Text(0);
  session.title = row.Text(1);
  session.settings = row.Text(2);
  session.created_ms = row.Int(3);
  session.updated_ms = row.Int(4);
  session.tokens = row.Int(5);
  session.last_seq = row.Int(6);
  session.pinned = row.Int(7) != 0;
  session.timeline = row.Int(8);
  session.parent = row.Text(9);
  const int64_t settings_key = row.Int(11);
  if (SessionChecksum(session, settings_key, row.Int(12)) != row.Int(10)) {
    return Damaged(session.id, "the record");
  }
  if (SettingsChecksum(settings_key, session.settings) != row.Int(13)) {
    return Damaged(session.id, "the settings");
  }
  return session;
}

Result<EventRecord> EventFromRow(const Query& row, std::string_view session, int64_t timeline) {
  EventRecord event;
  event.session = session;
  event.seq = row.Int(0);
  event.time_ms = row.Int(1);
  event.kind = row.Text(2);
  event.version = static_cast<int>(row.Int(3));
  event.payload = row.Text(4);
  event.tokens = row.Int(6);
  if (EventChecksum(timeline, event) != row.Int(5)) {
    return Damaged(session, "event " + std::to_string(event.seq));
  }
  return event;
}

Result<TokenRow> TokensFromRow(const Query& row, std::string_view session, int64_t timeline) {
  TokenRow tokens;
  tokens.begin = row.Int(0);
  const auto ids = row.Blob(1);
  const auto hashes = row.Blob(2);
  const std::string name = "token row " + std::to_string(tokens.begin);
  if (TokenRowChecksum(timeline, tokens.begin, ids, hashes) != row.Int(3)) {
    return Damaged(session, name);
  }
  ASSIGN_OR_RETURN(tokens.ids, DecodeTokenIds(ids));
  ASSIGN_OR_RETURN(tokens.hashes, DecodeLogitsHashes(hashes, tokens.ids.size()));
  return tokens;
}

Result<SessionRecord> Journal::Impl::ReadSession(std::string_view id) {
  ASSIGN_OR_RETURN(Query select, database->Prepare(BALEEN_SELECT_SESSION "AND s.id = ?1"));
  select.Bind(id);
  ASSIGN_OR_RETURN(const bool row, select.Step());
  if (!row) return NoSession(id);
  return SessionFromRow(select);
}

Result<SessionRecord> Journal::GetSession(std::string_view id) { return impl_->ReadSession(id); }

Result<std::vector<SessionRecord>> Journal::ListSessions(std::string_view after_id, int64_t limit) {
  RETURN_IF_ERROR(CheckRange(0, limit, kRowsPerReadMax));
  int64_t after_ms = INT64_MIN;
  if (!after_id.empty()) {
    ASSIGN_OR_RETURN(const SessionRecord after, GetSession(after_id));
    after_ms = after.created_ms;
  }
  ASSIGN_OR_RETURN(Query select, impl_->database->Prepare(BALEEN_SELECT_SESSION
                                                          "AND s.key IN (SELECT key FROM "
                                                          "sessions WHERE (created_ms, id) > "
                                                          "(?1, ?2) ORDER BY created_ms, id "
                                                          "LIMIT ?3) "
                                                          "ORDER BY s.created_ms, s.id"));
  select.Bind(after_ms).Bind(after_id).Bind(std::min(limit, kRowsPerReadMax));
  std::vector<SessionRecord> sessions;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, select.Step());
    if (!row) return sessions;
    ASSIGN_OR_RETURN(SessionRecord session, SessionFromRow(select));
    sessions.push_back(std::move(session));
  }
}

Result<std::vector<EventRecord>> Journal::Impl::EventsOf(const TimelineRow& timeline,
                                                         std::string_view session, int64_t after,
                                                         int64_t limit) {
  RETURN_IF_ERROR(CheckRange(after, limit, kRowsPerReadMax));
  limit = std::min(limit, kRowsPerReadMax);
  ASSIGN_OR_RETURN(const std::vector<TimelineSegment> segments, Segments(timeline));
  std::vector<EventRecord> events;
  for (const TimelineSegment& segment : segments) {
    const auto missing = limit - static_cast<int64_t>(events.size());
    if (missing == 0 || segment.last_seq <= after) continue;
    ASSIGN_OR_RETURN(Query select,
                     database->Prepare(BALEEN_SELECT_EVENT "WHERE key > ?1 AND key <= ?2 "
                                                           "ORDER BY key LIMIT ?3"));
    select.Bind(RowKey(segment.timeline, std::max(after, segment.after_seq)))
        .Bind(RowKey(segment.timeline, segment.last_seq))
        .Bind(missing);
    while (true) {
      ASSIGN_OR_RETURN(const bool row, select.Step());
      if (!row) break;
      ASSIGN_OR_RETURN(EventRecord event, EventFromRow(select, session, segment.timeline));
      events.push_back(std::move(event));
    }
  }
  return events;
}

Result<std::vector<EventRecord>> Journal::ReadEvents(std::string_view session, int64_t after,
                                                     int64_t limit, int64_t timeline) {
  ASSIGN_OR_RETURN(const TimelineRow row, impl_->FindTimeline(session, timeline));
  return impl_->EventsOf(row, session, after, limit);
}

Result<std::vector<EventRecord>> Journal::ReadTimelineEvents(int64_t key, int64_t after,
                                                             int64_t limit) {
  ASSIGN_OR_RETURN(const TimelineRow row, impl_->TimelineByKey(key));
  return impl_->EventsOf(row, "", after, limit);
}

Result<std::vector<EventRecord>> Journal::ReadEventsOfKind(std::string_view session,
                                                           std::string_view kind, int64_t after,
                                                           int64_t limit, int64_t timeline) {
  RETURN_IF_ERROR(CheckRange(after, limit, kRowsPerReadMax));
  limit = std::min(limit, kRowsPerReadMax);
  ASSIGN_OR_RETURN(const TimelineRow row, impl_->FindTimeline(session, timeline));
  ASSIGN_OR_RETURN(const std::vector<TimelineSegment> segments, impl_->Segments(row));
  std::vector<EventRecord> events;
  for (const TimelineSegment& segment : segments) {
    const auto missing = limit - static_cast<int64_t>(events.size());
    if (missing == 0 || segment.last_seq <= after) continue;
    ASSIGN_OR_RETURN(
        Query select,
        impl_->database->Prepare(
            IsIndexed(kind) ? BALEEN_SELECT_EVENT
                "INDEXED BY events_of_approvals WHERE key > ?1 AND key <= ?2 AND kind = ?3 "
                "AND kind IN ('approval_requested', 'approval_resolved') ORDER BY key LIMIT ?4"
                            : BALEEN_SELECT_EVENT
                "WHERE key > ?1 AND key <= ?2 AND kind = ?3 ORDER BY key LIMIT ?4"));
    select.Bind(RowKey(segment.timeline, std::max(after, segment.after_seq)))
        .Bind(RowKey(segment.timeline, segment.last_seq))
        .Bind(kind)
        .Bind(missing);
    while (true) {
      ASSIGN_OR_RETURN(const bool found, select.Step());
      if (!found) break;
      ASSIGN_OR_RETURN(EventRecord event, EventFromRow(select, session, segment.timeline));
      // A damaged index may name any row.
      if (event.kind != kind) return Damaged(session, "the index of events");
      events.push_back(std::move(event));
    }
  }
  return events;
}

Result<int64_t> Journal::TimelineBytes(int64_t timeline_key) {
  int64_t bytes = 0;
  // A text's length is in characters, unless it is a blob.
  for (const char* sum :
       {"SELECT coalesce(sum(length(CAST(payload AS BLOB))), 0) FROM events WHERE key >= ?1 AND "
        "key < ?2",
        "SELECT coalesce(sum(length(ids) + coalesce(length(logits_hashes), 0)), 0) FROM token_runs "
        "WHERE key >= ?1 AND key < ?2"}) {
    ASSIGN_OR_RETURN(Query select, impl_->database->Prepare(sum));
    select.Bind(RowKey(timeline_key, 0)).Bind(RowKey(timeline_key + 1, 0));
    RETURN_IF_ERROR(select.Step().status());
    bytes += select.Int(0);
  }
  return bytes;
}

Result<int64_t> Journal::EventBytes(int64_t timeline_key, int64_t after) {
  ASSIGN_OR_RETURN(Query select,
                   impl_->database->Prepare("SELECT coalesce(sum(length(CAST(payload AS BLOB))), "
                                            "0) FROM events WHERE key > ?1 AND key < ?2"));
  select.Bind(RowKey(timeline_key, after)).Bind(RowKey(timeline_key + 1, 0));
  RETURN_IF_ERROR(select.Step().status());
  return select.Int(0);
}

Result<EventScan> Journal::ScanEvents(std::string_view session, std::string_view counted,
                                      std::string_view last, int64_t timeline) {
  ASSIGN_OR_RETURN(const TimelineRow row, impl_->FindTimeline(session, timeline));
  ASSIGN_OR_RETURN(const std::vector<TimelineSegment> segments, impl_->Segments(row));
  EventScan scan;
  int64_t last_timeline = 0;
  int64_t last_seq = 0;
  for (const TimelineSegment& segment : segments) {
    ASSIGN_OR_RETURN(Query select,
                     impl_->database->Prepare("SELECT coalesce(sum(kind = ?3), 0), "
                                              "coalesce(max(CASE WHEN kind = ?4 THEN key END), 0) "
                                              "FROM events WHERE key > ?1 AND key <= ?2"));
    select.Bind(RowKey(segment.timeline, segment.after_seq))
        .Bind(RowKey(segment.timeline, segment.last_seq))
        .Bind(counted)
        .Bind(last);
    RETURN_IF_ERROR(select.Step().status());
    scan.count += select.Int(0);
    if (select.Int(1) == 0) continue;
    last_timeline = segment.timeline;
    last_seq = select.Int(1) - RowKey(segment.timeline, 0);
  }
  if (last_seq > 0) {
    ASSIGN_OR_RETURN(scan.last, impl_->EventIn(last_timeline, last_seq, session));
  }
  return scan;
}

Result<EventRecord> Journal::LastEvent(std::string_view session, std::string_view kind,
                                       int64_t timeline, int64_t up_to) {
  ASSIGN_OR_RETURN(const TimelineRow row, impl_->FindTimeline(session, timeline));
  ASSIGN_OR_RETURN(const std::vector<TimelineSegment> segments, impl_->Segments(row));
  for (auto segment = segments.rbegin(); segment != segments.rend(); ++segment) {
    ASSIGN_OR_RETURN(Query select, impl_->database->Prepare(BALEEN_SELECT_EVENT
                                                            "WHERE key > ?1 AND key <= ?2 AND "
                                                            "kind = ?3 ORDER BY key DESC LIMIT 1"));
    select.Bind(RowKey(segment->timeline, segment->after_seq))
        .Bind(RowKey(segment->timeline, std::clamp(up_to, int64_t{0}, segment->last_seq)))
        .Bind(kind);
    ASSIGN_OR_RETURN(const bool found, select.Step());
    if (found) return EventFromRow(select, session, segment->timeline);
  }
  return NotFoundError("session '" + std::string(session) + "' has no event '" + std::string(kind) +
                       "'");
}

Result<EventRecord> Journal::Impl::EventIn(int64_t timeline, int64_t seq,
                                           std::string_view session) {
  ASSIGN_OR_RETURN(Query select, database->Prepare(BALEEN_SELECT_EVENT "WHERE key = ?1"));
  select.Bind(RowKey(timeline, seq));
  ASSIGN_OR_RETURN(const bool row, select.Step());
  if (!row) {
    return DataLossError("journal: event " + std::to_string(seq) + " of session '" +
                         std::string(session) + "' is missing; restore the journal from a backup");
  }
  return EventFromRow(select, session, timeline);
}

Result<EventRecord> Journal::EventAtTokens(std::string_view session, int64_t tokens,
                                           int64_t timeline) {
  ASSIGN_OR_RETURN(const TimelineRow row, impl_->FindTimeline(session, timeline));
  ASSIGN_OR_RETURN(const std::vector<TimelineSegment> segments, impl_->Segments(row));
  for (auto segment = segments.rbegin(); segment != segments.rend(); ++segment) {
    // Contexts only grow along a timeline: a binary search for the last event that fits.
    int64_t low = segment->after_seq;  // fits, or lies in an older segment
    int64_t high = segment->last_seq + 1;
    EventRecord found;
    while (low + 1 < high) {
      const int64_t middle = low + (high - low) / 2;
      ASSIGN_OR_RETURN(EventRecord event, impl_->EventIn(segment->timeline, middle, session));
      if (event.tokens <= tokens) {
        low = middle;
        found = std::move(event);
      } else {
        high = middle;
      }
    }
    if (low > segment->after_seq) return found;
  }
  return NotFoundError("session '" + std::string(session) + "' has no event that saw at most " +
                       std::to_string(tokens) + " tokens");
}

Result<TokenRun> Journal::Impl::TokensOf(const TimelineRow& timeline, std::string_view session,
                                         int64_t begin, int64_t count) {
  RETURN_IF_ERROR(CheckRange(begin, count, kTokensPerReadMax));
  count = std::min(count, kTokensPerReadMax);
  TokenRun run;
  run.session = session;
  run.begin = begin;
  if (count == 0 || begin >= timeline.tokens) return run;
  const int64_t end = std::min(timeline.tokens, begin + std::min(count, timeline.tokens - begin));
  run.ids.reserve(static_cast<size_t>(end - begin));
  ASSIGN_OR_RETURN(const std::vector<TimelineSegment> segments, Segments(timeline));
  for (const TimelineSegment& segment : segments) {
    const int64_t to = std::min(end, segment.end);
    const int64_t from = std::max(begin, segment.begin);
    if (from < to) RETURN_IF_ERROR(AppendSegment(segment.timeline, from, to, &run));
  }
  if (!run.logits_hashes.empty()) run.logits_hashes.resize(run.ids.size(), 0);
  return run;
}

Status Journal::Impl::AppendSegment(int64_t timeline, int64_t from, int64_t to, TokenRun* run) {
  ASSIGN_OR_RETURN(
      Query select,
      database->Prepare(BALEEN_SELECT_TOKENS "WHERE key < ?3 AND key >= coalesce((SELECT max(key) "
                                             "FROM token_runs WHERE key >= ?1 AND key <= ?2), ?2) "
                                             "ORDER BY key"));
  select.Bind(RowKey(timeline, 0)).Bind(RowKey(timeline, from)).Bind(RowKey(timeline, to));
  int64_t expected = from;
  while (expected < to) {
    ASSIGN_OR_RETURN(const bool found, select.Step());
    TokenRow row;
    if (found) {
      ASSIGN_OR_RETURN(row, TokensFromRow(select, run->session, timeline));
    }
    const int64_t row_end = row.begin + static_cast<int64_t>(row.ids.size());
    if (!found || row.begin > expected || row_end <= expected) {
      return DataLossError("journal: tokens of session '" + run->session + "' from " +
                           std::to_string(expected) + " to " +
                           std::to_string(found ? std::max(row.begin, expected + 1) : to) +
                           " are missing; restore the journal from a backup");
    }
    const int64_t first = expected - row.begin;
    const int64_t last = std::min(to, row_end) - row.begin;
    const size_t before = run->ids.size();
    run->ids.insert(run->ids.end(), row.ids.begin() + first, row.ids.begin() + last);
    if (!row.hashes.empty()) {
      run->logits_hashes.resize(before, 0);
      run->logits_hashes.insert(run->logits_hashes.end(), row.hashes.begin() + first,
                                row.hashes.begin() + last);
    }
    expected = row.begin + last;
  }
  return OkStatus();
}

Result<TokenRun> Journal::ReadTokens(std::string_view session, int64_t begin, int64_t count,
                                     int64_t timeline) {
  ASSIGN_OR_RETURN(const TimelineRow row, impl_->FindTimeline(session, timeline));
  return impl_->TokensOf(row, session, begin, count);
}

Result<TokenRun> Journal::ReadTimelineTokens(int64_t key, int64_t begin, int64_t count) {
  ASSIGN_OR_RETURN(const TimelineRow row, impl_->TimelineByKey(key));
  return impl_->TokensOf(row, "", begin, count);
}

Status Journal::Impl::LearnAnswers() {
  ASSIGN_OR_RETURN(const int64_t oldest,
                   database->IntOf("SELECT coalesce(min(key), 0) FROM answers"));
  const auto held = static_cast<size_t>(std::max<int64_t>(answers_known - oldest, 0)) + 1;
  if (answer_keys.size() > 2 * held + 1024) {
    answer_keys.clear();  // most of it is of answers that were forgotten since
    answers_known = 0;
  }
  ASSIGN_OR_RETURN(Query select, database->Prepare("SELECT key, hash FROM answers WHERE key > ?1 "
                                                   "ORDER BY key"));
  select.Bind(answers_known);
  while (true) {
    ASSIGN_OR_RETURN(const bool row, select.Step());
    if (!row) return OkStatus();
    answers_known = select.Int(0);
    answer_keys.emplace(select.Int(1), answers_known);
  }
}

Result<std::string> Journal::Impl::ReadAnswer(std::string_view request_id,
                                              std::string_view method) {
  RETURN_IF_ERROR(LearnAnswers());
  const auto [first, last] = answer_keys.equal_range(AnswerHash(request_id, method));
  for (auto at = first; at != last; ++at) {
    ASSIGN_OR_RETURN(Query select,
                     database->Prepare("SELECT answer FROM answers WHERE key = ?1 AND "
                                       "request_id = ?2 AND method = ?3"));
    select.Bind(at->second).Bind(request_id).Bind(method);
    ASSIGN_OR_RETURN(const bool row, select.Step());
    if (row) return select.Text(0);
  }
  return NotFoundError("request '" + std::string(request_id) + "' (" + std::string(method) +
                       ") has not been answered");
}

Result<std::string> Journal::FindAnswer(std::string_view request_id, std::string_view method) {
  return impl_->ReadAnswer(request_id, method);
}

}  // namespace baleen
