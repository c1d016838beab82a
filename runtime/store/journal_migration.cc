// Migrations of journals: from version 1, where each session's rows become its first timeline's;
// from version 2, whose rows get keys that they are found by; from version 3, which gets room for
// the numbers of commits; from version 4, whose approvals get an index.
#include <nlohmann/json.hpp>

#include "runtime/store/journal_codec.h"
#include "runtime/store/journal_impl.h"
#include "runtime/store/journal_schema.h"

namespace baleen {
namespace {

// What version 2 was. Never change: MigrateFrom1 writes it, MigrateFrom2 reads it.
constexpr const char* kSchema2 = R"sql(
CREATE TABLE settings(
  key INTEGER PRIMARY KEY,
  text TEXT NOT NULL,
  checksum INTEGER NOT NULL
) STRICT;
CREATE TABLE sessions(
  key INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  title TEXT NOT NULL,
  settings INTEGER NOT NULL,
  created_ms INTEGER NOT NULL,
  pinned INTEGER NOT NULL,
  timeline INTEGER NOT NULL,
  checksum INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_by_creation ON sessions(created_ms, id);
CREATE TABLE timelines(
  key INTEGER PRIMARY KEY AUTOINCREMENT,
  session INTEGER NOT NULL,
  number INTEGER NOT NULL,
  base INTEGER NOT NULL,
  base_seq INTEGER NOT NULL,
  base_tokens INTEGER NOT NULL,
  previous INTEGER NOT NULL,
  created_ms INTEGER NOT NULL,
  updated_ms INTEGER NOT NULL,
  tokens INTEGER NOT NULL,
  last_seq INTEGER NOT NULL,
  checksum INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX timelines_by_session ON timelines(session, number) WHERE session != 0;
CREATE INDEX timelines_without_session ON timelines(key) WHERE session = 0;
CREATE INDEX timelines_by_base ON timelines(base) WHERE base != 0;
CREATE TABLE events(
  key INTEGER PRIMARY KEY,
  timeline INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  time_ms INTEGER NOT NULL,
  kind TEXT NOT NULL,
  version INTEGER NOT NULL,
  tokens INTEGER NOT NULL,
  checksum INTEGER NOT NULL,
  payload TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX events_by_seq ON events(timeline, seq);
CREATE INDEX events_by_kind ON events(timeline, kind, seq);
CREATE TABLE token_runs(
  key INTEGER PRIMARY KEY,
  timeline INTEGER NOT NULL,
  begin INTEGER NOT NULL,
  ids BLOB NOT NULL,
  logits_hashes BLOB,
  checksum INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX token_runs_by_begin ON token_runs(timeline, begin);
CREATE TABLE answers(
  request_id TEXT NOT NULL,
  method TEXT NOT NULL,
  answer TEXT NOT NULL,
  time_ms INTEGER NOT NULL,
  PRIMARY KEY(request_id, method)
) STRICT, WITHOUT ROWID;
CREATE INDEX answers_by_time ON answers(time_ms);
PRAGMA application_id = 1111575630;
PRAGMA user_version = 2;
)sql";

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

// What version 3 was. Never change: MigrateFrom2 writes it.
constexpr const char* kSchema3 = R"sql(
CREATE TABLE settings(
  key INTEGER PRIMARY KEY,
  text TEXT NOT NULL,
  checksum INTEGER NOT NULL
) STRICT;
CREATE TABLE timelines(
  key INTEGER PRIMARY KEY,
  session INTEGER NOT NULL,
  number INTEGER NOT NULL,
  base INTEGER NOT NULL,
  base_seq INTEGER NOT NULL,
  base_tokens INTEGER NOT NULL,
  previous INTEGER NOT NULL,
  created_ms INTEGER NOT NULL,
  updated_ms INTEGER NOT NULL,
  tokens INTEGER NOT NULL,
  last_seq INTEGER NOT NULL,
  checksum INTEGER NOT NULL,
  id TEXT,
  title TEXT,
  settings INTEGER,
  pinned INTEGER,
  current INTEGER,
  session_checksum INTEGER
) STRICT;
CREATE UNIQUE INDEX timelines_by_id ON timelines(id) WHERE id IS NOT NULL;
CREATE UNIQUE INDEX timelines_of_rewinds ON timelines(session, number)
  WHERE number > 1 AND session != 0;
CREATE VIEW sessions AS
  SELECT key, id, title, settings, created_ms, pinned, current, session_checksum
  FROM timelines WHERE id IS NOT NULL;
CREATE TABLE spent_timelines(key INTEGER PRIMARY KEY) STRICT;
CREATE TABLE events(
  key INTEGER PRIMARY KEY,
  kind TEXT NOT NULL,
  time_ms INTEGER NOT NULL,
  version INTEGER NOT NULL,
  tokens INTEGER NOT NULL,
  checksum INTEGER NOT NULL,
  payload TEXT NOT NULL,
  timeline INTEGER AS (key >> 32) VIRTUAL,
  seq INTEGER AS (key & 4294967295) VIRTUAL
) STRICT;
CREATE TABLE token_runs(
  key INTEGER PRIMARY KEY,
  checksum INTEGER NOT NULL,
  ids BLOB NOT NULL,
  logits_hashes BLOB,
  timeline INTEGER AS (key >> 32) VIRTUAL,
  begin INTEGER AS (key & 4294967295) VIRTUAL
) STRICT;
CREATE TABLE answers(
  key INTEGER PRIMARY KEY,
  hash INTEGER NOT NULL,
  time_ms INTEGER NOT NULL,
  request_id TEXT NOT NULL,
  method TEXT NOT NULL,
  answer TEXT NOT NULL
) STRICT;
PRAGMA application_id = 1111575630;
PRAGMA user_version = 3;
)sql";

constexpr const char* kSetAside2 = R"sql(
ALTER TABLE settings RENAME TO settings_v2;
ALTER TABLE sessions RENAME TO sessions_v2;
ALTER TABLE timelines RENAME TO timelines_v2;
ALTER TABLE events RENAME TO events_v2;
ALTER TABLE token_runs RENAME TO token_runs_v2;
ALTER TABLE answers RENAME TO answers_v2;
CREATE TABLE session_keys(old INTEGER PRIMARY KEY, new INTEGER NOT NULL) STRICT;
)sql";

// Timelines keep their keys, and with them all checksums hold. A session gets that of its first
// timeline; one that has lost it gets a row whose checksum says so. What names a session that isn't
// there goes on naming none; rows whose numbers no reader could have asked for stay in the backup.
constexpr const char* kCopy2 = R"sql(
INSERT INTO session_keys(old, new)
  SELECT session, key FROM timelines_v2 WHERE number = 1 AND session IN (SELECT key FROM sessions_v2);
INSERT INTO session_keys(old, new)
  SELECT key, key + coalesce((SELECT max(seq) FROM sqlite_sequence), 0) FROM sessions_v2
  WHERE key NOT IN (SELECT old FROM session_keys);
INSERT INTO settings(key, text, checksum) SELECT key, text, checksum FROM settings_v2;
INSERT INTO timelines(key, session, number, base, base_seq, base_tokens, previous, created_ms,
                      updated_ms, tokens, last_seq, checksum)
  SELECT t.key, coalesce(k.new, -t.session), t.number, t.base, t.base_seq, t.base_tokens,
         t.previous, t.created_ms, t.updated_ms, t.tokens, t.last_seq, t.checksum
  FROM timelines_v2 t LEFT JOIN session_keys k ON k.old = t.session ORDER BY t.key;
INSERT INTO timelines(key, session, number, base, base_seq, base_tokens, previous, created_ms,
                      updated_ms, tokens, last_seq, checksum)
  SELECT new, new, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0 FROM session_keys
  WHERE new NOT IN (SELECT key FROM timelines_v2);
UPDATE timelines SET (created_ms, id, title, settings, pinned, current, session_checksum) =
  (SELECT s.created_ms, s.id, s.title, s.settings, s.pinned, s.timeline, s.checksum
   FROM session_keys k JOIN sessions_v2 s ON s.key = k.old WHERE k.new = timelines.key)
  WHERE key IN (SELECT new FROM session_keys);
INSERT INTO spent_timelines(key) SELECT max(key) FROM
  (SELECT seq AS key FROM sqlite_sequence UNION SELECT key FROM timelines) HAVING max(key) > 0;
INSERT INTO events(key, kind, time_ms, version, tokens, checksum, payload)
  SELECT timeline << 32 | seq, kind, time_ms, version, tokens, checksum, payload FROM events_v2
  WHERE timeline BETWEEN 1 AND 2147483647 AND seq BETWEEN 1 AND 4294967295
  ORDER BY timeline, seq;
INSERT INTO token_runs(key, checksum, ids, logits_hashes)
  SELECT timeline << 32 | begin, checksum, ids, logits_hashes FROM token_runs_v2
  WHERE timeline BETWEEN 1 AND 2147483647 AND begin BETWEEN 0 AND 4294967295
  ORDER BY timeline, begin;
DROP TABLE session_keys;
DROP TABLE settings_v2;
DROP TABLE sessions_v2;
DROP TABLE timelines_v2;
DROP TABLE events_v2;
DROP TABLE token_runs_v2;
DROP TABLE answers_v2;
)sql";

Status CopyAnswers(Sqlite& database) {
  ASSIGN_OR_RETURN(Query select, database.Prepare("SELECT request_id, method, answer, time_ms "
                                                  "FROM answers_v2 ORDER BY time_ms"));
  while (true) {
    ASSIGN_OR_RETURN(const bool row, select.Step());
    if (!row) return OkStatus();
    const std::string request = select.Text(0);
    const std::string method = select.Text(1);
    const std::string answer = select.Text(2);
    ASSIGN_OR_RETURN(Query insert,
                     database.Prepare("INSERT INTO answers(hash, time_ms, request_id, method, "
                                      "answer) VALUES(?1, ?2, ?3, ?4, ?5)"));
    RETURN_IF_ERROR(insert.Bind(AnswerHash(request, method))
                        .Bind(select.Int(3))
                        .Bind(request)
                        .Bind(method)
                        .Bind(answer)
                        .Run());
  }
}

}  // namespace

Status MigrateFrom1(Sqlite& database) {
  RETURN_IF_ERROR(database.Exec(kSetAside));
  RETURN_IF_ERROR(database.Exec(kSchema2));
  RETURN_IF_ERROR(database.Exec(kCopy));
  RETURN_IF_ERROR(SealSessions(database));
  return SealEvents(database);
}

Status MigrateFrom2(Sqlite& database) {
  RETURN_IF_ERROR(database.Exec(kSetAside2));
  RETURN_IF_ERROR(database.Exec(kSchema3));
  RETURN_IF_ERROR(CopyAnswers(database));
  return database.Exec(kCopy2);
}

Status MigrateFrom3(Sqlite& database) {
  return database.Exec(
      "ALTER TABLE timelines ADD COLUMN commit_number INTEGER;"
      "CREATE TABLE commits(key INTEGER PRIMARY KEY, number INTEGER NOT NULL) STRICT;");
}

Status MigrateFrom4(Sqlite& database) {
  return database.Exec(
      "CREATE INDEX events_of_approvals ON events(kind)\n"
      "  WHERE kind IN ('approval_requested', 'approval_resolved');");
}

}  // namespace baleen
