// The journal's reads. Every row's checksum is verified before its contents are returned.
#include <algorithm>

#include "runtime/store/journal.h"
#include "runtime/store/journal_codec.h"
#include "runtime/store/journal_impl.h"

namespace baleen {
namespace {

Status Damaged(std::string_view session, const std::string& row) {
  return DataLossError("journal: " + row + " of session '" + std::string(session) +
                       "' does not match its checksum; restore the journal from a backup");
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
  if (SessionChecksum(session) != row.Int(7)) return Damaged(session.id, "the record");
  return session;
}

Result<EventRecord> EventFromRow(const Query& row, std::string_view session, int64_t session_key) {
  EventRecord event;
  event.session = session;
  event.seq = row.Int(0);
  event.time_ms = row.Int(1);
  event.kind = row.Text(2);
  event.version = static_cast<int>(row.Int(3));
  event.payload = row.Text(4);
  if (EventChecksum(session_key, event) != row.Int(5)) {
    return Damaged(session, "event " + std::to_string(event.seq));
  }
  return event;
}

Result<TokenRow> TokensFromRow(const Query& row, std::string_view session, int64_t session_key) {
  TokenRow tokens;
  tokens.begin = row.Int(0);
  const auto ids = row.Blob(1);
  const auto hashes = row.Blob(2);
  const std::string name = "token row " + std::to_string(tokens.begin);
  if (TokenRowChecksum(session_key, tokens.begin, ids, hashes) != row.Int(3)) {
    return Damaged(session, name);
  }
  ASSIGN_OR_RETURN(tokens.ids, DecodeTokenIds(ids));
  ASSIGN_OR_RETURN(tokens.hashes, DecodeLogitsHashes(hashes, tokens.ids.size()));
  return tokens;
}

Result<int64_t> Journal::Impl::SessionKey(std::string_view id) {
  ASSIGN_OR_RETURN(Query select, database->Prepare("SELECT key FROM sessions WHERE id = ?1"));
  select.Bind(id);
  ASSIGN_OR_RETURN(const bool row, select.Step());
  if (!row) return NoSession(id);
  return select.Int(0);
}

Result<SessionRecord> Journal::GetSession(std::string_view id) {
  ASSIGN_OR_RETURN(Query select, impl_->database->Prepare(kSelectSession));
  select.Bind(id);
  ASSIGN_OR_RETURN(const bool row, select.Step());
  if (!row) return impl_->NoSession(id);
  return SessionFromRow(select);
}

Result<std::vector<SessionRecord>> Journal::ListSessions(std::string_view after_id, int64_t limit) {
  RETURN_IF_ERROR(CheckRange(0, limit, kRowsPerReadMax));
  int64_t after_ms = INT64_MIN;
  if (!after_id.empty()) {
    ASSIGN_OR_RETURN(const SessionRecord after, GetSession(after_id));
    after_ms = after.created_ms;
  }
  ASSIGN_OR_RETURN(Query select,
                   impl_->database->Prepare(
                       "SELECT id, title, settings, created_ms, updated_ms, tokens, last_seq, "
                       "checksum FROM sessions WHERE (created_ms, id) > (?1, ?2) "
                       "ORDER BY created_ms, id LIMIT ?3"));
  select.Bind(after_ms).Bind(after_id).Bind(std::min(limit, kRowsPerReadMax));
  std::vector<SessionRecord> sessions;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, select.Step());
    if (!row) return sessions;
    ASSIGN_OR_RETURN(SessionRecord session, SessionFromRow(select));
    sessions.push_back(std::move(session));
  }
}

Result<std::vector<EventRecord>> Journal::ReadEvents(std::string_view session, int64_t after,
                                                     int64_t limit) {
  RETURN_IF_ERROR(CheckRange(after, limit, kRowsPerReadMax));
  ASSIGN_OR_RETURN(const int64_t key, impl_->SessionKey(session));
  ASSIGN_OR_RETURN(
      Query select,
      impl_->database->Prepare("SELECT seq, time_ms, kind, version, payload, checksum FROM events "
                               "WHERE session = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3"));
  select.Bind(key).Bind(after).Bind(std::min(limit, kRowsPerReadMax));
  std::vector<EventRecord> events;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, select.Step());
    if (!row) return events;
    ASSIGN_OR_RETURN(EventRecord event, EventFromRow(select, session, key));
    events.push_back(std::move(event));
  }
}

Result<EventRecord> Journal::LastEvent(std::string_view session, std::string_view kind) {
  ASSIGN_OR_RETURN(const int64_t key, impl_->SessionKey(session));
  ASSIGN_OR_RETURN(
      Query select,
      impl_->database->Prepare("SELECT seq, time_ms, kind, version, payload, checksum FROM events "
                               "WHERE session = ?1 AND kind = ?2 ORDER BY seq DESC LIMIT 1"));
  select.Bind(key).Bind(kind);
  ASSIGN_OR_RETURN(const bool row, select.Step());
  if (!row) {
    return NotFoundError("session '" + std::string(session) + "' has no event '" +
                         std::string(kind) + "'");
  }
  return EventFromRow(select, session, key);
}

Result<TokenRun> Journal::ReadTokens(std::string_view session, int64_t begin, int64_t count) {
  RETURN_IF_ERROR(CheckRange(begin, count, kTokensPerReadMax));
  count = std::min(count, kTokensPerReadMax);
  ASSIGN_OR_RETURN(const int64_t key, impl_->SessionKey(session));
  TokenRun run;
  run.session = session;
  run.begin = begin;
  if (count == 0 || begin > INT64_MAX - count) return run;
  ASSIGN_OR_RETURN(
      Query select,
      impl_->database->Prepare("SELECT begin, ids, logits_hashes, checksum FROM token_runs "
                               "WHERE session = ?1 AND begin >= ?2 AND begin < ?3 ORDER BY begin"));
  int64_t expected = begin / kTokenRowIds * kTokenRowIds;
  select.Bind(key).Bind(expected).Bind(begin + count);
  while (true) {
    ASSIGN_OR_RETURN(const bool found, select.Step());
    if (!found) break;
    ASSIGN_OR_RETURN(const TokenRow row, TokensFromRow(select, session, key));
    if (row.begin != expected) {
      return DataLossError("journal: tokens of session '" + std::string(session) + "' from " +
                           std::to_string(expected) + " to " + std::to_string(row.begin) +
                           " are missing; restore the journal from a backup");
    }
    const auto held = static_cast<int64_t>(row.ids.size());
    const int64_t first = std::min(std::max<int64_t>(begin - row.begin, 0), held);
    const int64_t last = std::max(first, std::min(held, begin + count - row.begin));
    const size_t before = run.ids.size();
    run.ids.insert(run.ids.end(), row.ids.begin() + first, row.ids.begin() + last);
    if (!row.hashes.empty()) {
      run.logits_hashes.resize(before, 0);
      run.logits_hashes.insert(run.logits_hashes.end(), row.hashes.begin() + first,
                               row.hashes.begin() + last);
    }
    expected = row.begin + held;
  }
  if (!run.logits_hashes.empty()) run.logits_hashes.resize(run.ids.size(), 0);
  return run;
}

Result<std::string> Journal::FindAnswer(std::string_view request_id, std::string_view method) {
  ASSIGN_OR_RETURN(
      Query select,
      impl_->database->Prepare("SELECT answer FROM answers WHERE request_id = ?1 AND method = ?2"));
  select.Bind(request_id).Bind(method);
  ASSIGN_OR_RETURN(const bool row, select.Step());
  if (!row) {
    return NotFoundError("request '" + std::string(request_id) + "' (" + std::string(method) +
                         ") has not been answered");
  }
  return select.Text(0);
}

}  // namespace baleen
