// Journal::Impl: the open database and the steps of one commit.
//
// Internal to runtime/store; shared by journal.cc (events and tokens), journal_sessions.cc
// (sessions and settings), journal_timelines.cc (fork, rewind, delete), journal_read.cc,
// journal_verify.cc and journal_backup.cc.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "runtime/store/journal.h"
#include "runtime/store/journal_anchor.h"
#include "runtime/store/sqlite.h"

namespace baleen {

/// A row of timelines; `session` (the owner's id) is filled in only where it is asked for.
struct TimelineRow : TimelineRecord {
  int64_t session_key = 0;  ///< 0: the session was deleted.
};

/// The rows of one timeline that belong to a history: its own up to where the next one branches
/// off.
struct TimelineSegment {
  int64_t timeline = 0;   ///< Key.
  int64_t after_seq = 0;  ///< Events in (after_seq, last_seq].
  int64_t last_seq = 0;
  int64_t begin = 0;  ///< Token positions [begin, end).
  int64_t end = 0;
};

/// What a session's row refers to.
struct SessionKeys {
  int64_t key = 0;  ///< Its own, and that of the session's first timeline.
  int64_t settings = 0;
  int64_t timeline = 0;
};

class Journal::Impl {
 public:
  explicit Impl(std::unique_ptr<Sqlite> opened) : database(std::move(opened)) {}
  /// A writer empties the log into the file; where that fails, the log stays for the next Open.
  ~Impl();

  /// The current timeline of a session as a commit sees it; written back once, at its end.
  using Touched = std::map<std::string, TimelineRow, std::less<>>;

  Status SetSynced(bool synced);
  Status Write(const JournalBatch& batch);
  Status Finish(Status written, Durability durability);
  Status Sync();
  /// The rest of Open, for writers.
  Status BeginWriting(const JournalOptions& options, uint64_t boot);
  /// Copies the log into the file and cuts it to nothing, unless others are in the way.
  Status EmptyLog();
  /// Copies what of it nobody reads any more, once it is long.
  void ShortenLog(int64_t frames);
  Status NoSession(std::string_view id) const;

  // journal.cc
  Result<TimelineRow*> Touch(Touched& touched, const std::string& id);
  Status AppendEvent(Touched& touched, const EventRecord& event);
  Status AppendTokens(Touched& touched, const TokenRun& run);
  /// Appends all of the run to the timeline's last row if it stays small; false: it wouldn't.
  /// Decode ticks append one id at a time, and a row each would cost 20x.
  Result<bool> GrowLastTokenRow(const TimelineRow& timeline, const TokenRun& run);
  /// In place of what is there.
  Status WriteTokenRow(int64_t timeline, int64_t begin, std::span<const int32_t> ids,
                       std::span<const uint64_t> hashes);
  Status WriteAnswers(const JournalBatch& batch);
  /// Writes the number of the commit under way where its rows are.
  Status Stamp();
  Status WriteBack(const Touched& touched);

  // journal_sessions.cc
  Result<SessionKeys> FindSession(std::string_view id);
  Status ImportSession(const JournalBatch::Import& import);
  Status CreateSession(const SessionRecord& session);
  Status UpdateSession(const SessionRecord& session);
  Status PinSession(const JournalBatch::Pin& pin);
  Status RequireAbsent(const std::string& id);
  /// The session and its first timeline.
  Status InsertSession(const SessionRecord& session, int64_t settings, TimelineRow timeline);
  Result<int64_t> InsertSettings(std::string_view text);
  /// Rewrites the row of a session, checksum included.
  Status StoreSession(int64_t key, const SessionRecord& session, const SessionKeys& keys);
  Status DropUnusedSettings(int64_t settings);

  // journal_timelines.cc
  Result<TimelineRow> TimelineByKey(int64_t key);
  /// `number` 0: the current one.
  Result<TimelineRow> FindTimeline(std::string_view session, int64_t number);
  /// The history that ends with `timeline`, oldest part first.
  Result<std::vector<TimelineSegment>> Segments(const TimelineRow& timeline);
  Status ForkSession(const JournalBatch::Fork& fork);
  Status RewindSession(const JournalBatch::Rewind& rewind);
  Status SelectTimeline(const JournalBatch::Select& select);
  Status DeleteSession(const std::string& id);
  /// The new timeline's row up to its key: based on the oldest timeline that has the whole point.
  Result<TimelineRow> BranchAt(const TimelinePoint& point);
  Result<int64_t> InsertTimeline(const TimelineRow& timeline);
  /// For a new one: higher than all that there are and were.
  Result<int64_t> NextTimelineKey();
  Status SetCurrentTimeline(const std::string& session, int64_t timeline);
  /// Removes what no living session's history needs of ownerless timelines.
  Status SweepOwnerless();
  Status TrimTimeline(TimelineRow timeline, int64_t seq, int64_t tokens);
  /// `newest`: of all; its key is remembered, never to be used again.
  Status DeleteTimeline(int64_t key, bool newest);

  // journal_read.cc
  /// Brings answer_keys up to what is committed.
  Status LearnAnswers();
  Result<std::string> ReadAnswer(std::string_view request_id, std::string_view method);
  Result<SessionRecord> ReadSession(std::string_view id);
  Result<EventRecord> EventIn(int64_t timeline, int64_t seq, std::string_view session);
  Result<std::vector<EventRecord>> EventsOf(const TimelineRow& timeline, std::string_view session,
                                            int64_t after, int64_t limit);
  Result<TokenRun> TokensOf(const TimelineRow& timeline, std::string_view session, int64_t begin,
                            int64_t count);
  /// Reads the timeline's own ids [from, to), all of which it must have.
  Status AppendSegment(int64_t timeline, int64_t from, int64_t to, TokenRun* run);

  std::unique_ptr<Sqlite> database;
  std::unique_ptr<JournalAnchor> anchor;  ///< Null: read-only.
  std::vector<std::string> notes;
  /// Hash -> key of the answers up to `answers_known`: a tree on the disk for them would cost each
  /// commit with an answer a page and a half. About 40 bytes for each request of a day.
  std::unordered_multimap<int64_t, int64_t> answer_keys;
  int64_t answers_known = 0;
  int64_t answers_swept_ms = INT64_MIN;  ///< When answers that are too old were last looked for.
  int64_t commit_number = 0;  ///< Of the newest commit: higher than any in the file or its anchor.
  /// The newest timeline row that the batch under way wrote; 0: none. Its commit's number goes
  /// there.
  int64_t written_timeline = 0;
  int64_t log_frames_max = 0;  ///< The log is copied into the file when it has these.
  bool synced = true;          ///< PRAGMA synchronous is FULL (SQLite's default), not NORMAL.
  Status broken;               ///< Not OK once a sync failed.
};

/// Columns that SessionFromRow reads, in order, with their tables.
#define BALEEN_SELECT_SESSION                                                                  \
  "SELECT s.id, s.title, x.text, s.created_ms, t.updated_ms, t.tokens, t.last_seq, s.pinned, " \
  "t.number, p.id, s.session_checksum, s.settings, s.current, x.checksum, s.key "              \
  "FROM timelines s LEFT JOIN settings x ON x.key = s.settings "                               \
  "LEFT JOIN timelines t ON t.key = s.current "                                                \
  "LEFT JOIN timelines b ON b.key = s.base LEFT JOIN timelines p ON p.key = b.session "        \
  "WHERE s.id IS NOT NULL "
/// Reads a row selected by it and checks the checksums of the session and its settings.
Result<SessionRecord> SessionFromRow(const Query& row);

/// Columns that TimelineFromRow reads, in order.
#define BALEEN_SELECT_TIMELINE                                                         \
  "SELECT t.key, t.session, t.number, t.base, t.base_seq, t.base_tokens, t.previous, " \
  "t.created_ms, t.updated_ms, t.tokens, t.last_seq, t.checksum FROM timelines t "
Result<TimelineRow> TimelineFromRow(const Query& row);

/// Columns that EventFromRow reads, in order.
#define BALEEN_SELECT_EVENT \
  "SELECT seq, time_ms, kind, version, payload, checksum, tokens FROM events "
Result<EventRecord> EventFromRow(const Query& row, std::string_view session, int64_t timeline);

/// One row of token_runs, decoded.
struct TokenRow {
  int64_t begin = 0;
  std::vector<int32_t> ids;
  std::vector<uint64_t> hashes;  ///< Empty: none stored.
};
/// Columns that TokensFromRow reads, in order.
#define BALEEN_SELECT_TOKENS "SELECT begin, ids, logits_hashes, checksum FROM token_runs "
Result<TokenRow> TokensFromRow(const Query& row, std::string_view session, int64_t timeline);

}  // namespace baleen
