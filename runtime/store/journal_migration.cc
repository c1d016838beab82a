// Migration of journals from version 1: each session's rows become its first timeline's.
#include <nlohmann/json.hpp>

#include "runtime/store/journal_codec.h"
#include "runtime/store/journal_impl.h"
#include "runtime/store/journal_schema.h"

namespace baleen {
namespace {

// Indexes keep their names when their table gets another: the new ones need the names.
constexpr const char* kSetAside = R"sql(
ALTER TABLE sessions RENAME TO sessions_v1;
ALTER TABLE events RENAME TO events_v1;
ALTER TABLE token_runs RENAME TO token_runs_v1;
ALTER TABLE answers RENAME TO answers_v1;
DROP INDEX sessions_by_creation;
DROP INDEX events_by_seq;
DROP INDEX events_by_kind;
DROP INDEX token_runs_by_begin;
DROP INDEX answers_by_time;
)sql";

// A session's key becomes its timeline's, so that token rows and their checksums stay as they are.
constexpr const char* kCopy = R"sql(
INSERT INTO settings(key, text, checksum) SELECT key, settings, 0 FROM sessions_v1;
INSERT INTO sessions(key, id, title, settings, created_ms, pinned, timeline, checksum)
  SELECT key, id, title, key, created_ms, 0, key, checksum FROM sessions_v1;
INSERT INTO timelines(key, session, number, base, base_seq, base_tokens, previous, created_ms,
                      updated_ms, tokens, last_seq, checksum)
  SELECT key, key, 1, 0, 0, 0, 0, created_ms, updated_ms, tokens, last_seq, 0 FROM sessions_v1;
INSERT INTO events(key, timeline, seq, time_ms, kind, version, tokens, checksum, payload)
  SELECT key, session, seq, time_ms, kind, version, 0, checksum, payload FROM events_v1
  ORDER BY key;
INSERT INTO token_runs(key, timeline, begin, ids, logits_hashes, checksum)
  SELECT key, session, begin, ids, logits_hashes, checksum FROM token_runs_v1 ORDER BY key;
INSERT INTO answers(request_id, method, answer, time_ms)
  SELECT request_id, method, answer, time_ms FROM answers_v1;
DROP TABLE sessions_v1;
DROP TABLE events_v1;
DROP TABLE token_runs_v1;
DROP TABLE answers_v1;
)sql";

/// Gives session rows, their settings and timelines the checksums of version 2. A session whose
/// old checksum doesn't match keeps it, which makes it as damaged as it was.
Status SealSessions(Sqlite& database) {
  ASSIGN_OR_RETURN(Query select,
                   database.Prepare("SELECT s.id, s.title, x.text, s.created_ms, s.checksum, s.key "
                                    "FROM sessions s JOIN settings x ON x.key = s.settings"));
  while (true) {
    ASSIGN_OR_RETURN(const bool row, select.Step());
    if (!row) return OkStatus();
    SessionRecord session;
    session.id = select.Text(0);
    session.title = select.Text(1);
    session.settings = select.Text(2);
    session.created_ms = select.Int(3);
    const int64_t key = select.Int(5);
    const bool intact = SessionChecksumV1(session) == select.Int(4);
    TimelineRecord timeline;
    timeline.key = key;
    timeline.created_ms = session.created_ms;
    {
      ASSIGN_OR_RETURN(Query seal, database.Prepare("UPDATE timelines SET checksum = ?2 "
                                                    "WHERE key = ?1"));
      RETURN_IF_ERROR(seal.Bind(key).Bind(TimelineChecksum(timeline)).Run());
    }
    if (!intact) continue;
    {
      ASSIGN_OR_RETURN(Query seal,
                       database.Prepare("UPDATE settings SET checksum = ?2 WHERE key = ?1"));
      RETURN_IF_ERROR(seal.Bind(key).Bind(SettingsChecksum(key, session.settings)).Run());
    }
    ASSIGN_OR_RETURN(Query seal,
                     database.Prepare("UPDATE sessions SET checksum = ?2 WHERE key = ?1"));
    RETURN_IF_ERROR(seal.Bind(key).Bind(SessionChecksum(session, key, key)).Run());
  }
}

/// The context's length after an event of version 1, given that before it.
int64_t TokensAfter(const EventRecord& event, int64_t before) {
  if (event.kind != "generate" && event.kind != "generated") return before;
  const auto json = nlohmann::json::parse(event.payload, nullptr, false);
  if (!json.is_object()) return before;
  if (event.kind == "generate") {
    const auto end = json.find("prompt_end");
    return end != json.end() && end->is_number_unsigned() ? end->get<int64_t>() : before;
  }
  const auto answer = json.find("event");
  if (answer == json.end() || !answer->is_object()) return before;
  const auto tokens = answer->find("tokens");
  return tokens != answer->end() && tokens->is_number_unsigned() ? before + tokens->get<int64_t>()
                                                                 : before;
}

/// Gives events the context length that they saw, and with it their checksums.
Status SealEvents(Sqlite& database) {
  // Updates of other columns don't disturb a walk along events_by_seq.
  ASSIGN_OR_RETURN(Query select,
                   database.Prepare("SELECT timeline, seq, time_ms, kind, version, payload, "
                                    "checksum, key FROM events ORDER BY timeline, seq"));
  int64_t timeline = 0;
  int64_t tokens = 0;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, select.Step());
    if (!row) return OkStatus();
    if (select.Int(0) != timeline) tokens = 0;
    timeline = select.Int(0);
    EventRecord event;
    event.seq = select.Int(1);
    event.time_ms = select.Int(2);
    event.kind = select.Text(3);
    event.version = static_cast<int>(select.Int(4));
    event.payload = select.Text(5);
    const bool intact = EventChecksumV1(timeline, event) == select.Int(6);
    if (intact) tokens = TokensAfter(event, tokens);
    event.tokens = tokens;
    ASSIGN_OR_RETURN(Query seal, database.Prepare("UPDATE events SET tokens = ?2, checksum = ?3 "
                                                  "WHERE key = ?1"));
    RETURN_IF_ERROR(seal.Bind(select.Int(7))
                        .Bind(tokens)
                        .Bind(intact ? EventChecksum(timeline, event) : select.Int(6))
                        .Run());
  }
}

}  // namespace

Status MigrateFrom1(Sqlite& database) {
  RETURN_IF_ERROR(database.Exec(kSetAside));
  RETURN_IF_ERROR(database.Exec(JournalSchema()));
  RETURN_IF_ERROR(database.Exec(kCopy));
  RETURN_IF_ERROR(SealSessions(database));
  return SealEvents(database);
}

}  // namespace baleen
