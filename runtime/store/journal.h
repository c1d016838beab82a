// Journal: the truth about sessions. SQLite in WAL mode.
//
// Sessions, their timelines, durable events (JSON text with a version per kind) and token ids
// (blobs). Knows nothing of agents or KV. Called by the control loop through the journal thread,
// and by the CLI for reading.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/store/journal_records.h"
#include "tools_sdk/status.h"

namespace baleen {

/// Threads: one at a time per object (the journal thread); separate objects may read concurrently.
class Journal {
 public:
  /// Creates the file if absent (not when read-only); its directory entry is power-safe after.
  /// Errors: FAILED_PRECONDITION (a newer schema version; locked by another process),
  /// DATA_LOSS (not a journal, or damaged; JOURNAL_BEHIND: acknowledged commits are gone, which
  /// accept_earlier_state puts up with), PERMISSION_DENIED, RESOURCE_EXHAUSTED (disk full),
  /// INVALID_ARGUMENT (a directory), NOT_FOUND (no parent directory; read-only and absent).
  static Result<std::unique_ptr<Journal>> Open(const JournalOptions& options);
  ~Journal();

  /// What Open found and mended, for whoever runs this.
  const std::vector<std::string>& notes() const;

  /// Writes the whole batch or nothing. kSynced makes every earlier commit power-safe too, also
  /// when the batch is empty. After any error nothing of the batch is visible, here or after
  /// reopening, and the journal stays usable, with one exception: once a sync has failed, the
  /// kernel may have dropped what earlier kKernel commits wrote, so every later Commit and Sync is
  /// refused until reopened. Errors: INVALID_ARGUMENT (ids, JSON, sizes), ALREADY_EXISTS (session,
  /// request), NOT_FOUND (session, timeline), OUT_OF_RANGE (a point that its timeline doesn't
  /// have), ABORTED (duplicate or gap in seq or token positions), RESOURCE_EXHAUSTED (disk full;
  /// kTimelineDepthMax), FAILED_PRECONDITION (locked; sync failed before), DATA_LOSS, INTERNAL
  /// (input/output error).
  /// Cost: one write of the touched pages; kSynced: and one fdatasync. A fork or rewind writes one
  /// row each of sessions and timelines, whatever the length of what it shares; a delete removes
  /// what it deletes in this one commit.
  Status Commit(const JournalBatch& batch, Durability durability);
  /// Makes everything committed so far power-safe, also what a killed process left behind.
  Status Sync();

  /// The reads below check every row's checksum: DATA_LOSS names the damaged row.
  /// A session that doesn't exist is NOT_FOUND. `timeline` is a number; 0: the current one.
  Result<SessionRecord> GetSession(std::string_view id);
  /// Ordered by created_ms then id, starting after `after_id` ("" = first).
  Result<std::vector<SessionRecord>> ListSessions(std::string_view after_id, int64_t limit);
  /// Of one session ("" = all, also those that outlived their session), by key, after `after_key`.
  Result<std::vector<TimelineRecord>> ListTimelines(std::string_view session, int64_t after_key,
                                                    int64_t limit);
  /// Bytes of the timeline's own payloads and token rows. Cost: reads them.
  Result<int64_t> TimelineBytes(int64_t timeline_key);
  /// Bytes of the timeline's own payloads with seq > after. Cost: reads them.
  Result<int64_t> EventBytes(int64_t timeline_key, int64_t after);
  /// The newest event that both timelines of the session have; 0: none.
  Result<int64_t> LastSharedSeq(std::string_view session, int64_t timeline, int64_t other);
  /// Events with seq > after, ascending.
  Result<std::vector<EventRecord>> ReadEvents(std::string_view session, int64_t after,
                                              int64_t limit, int64_t timeline = 0);
  /// Those of one kind.
  Result<std::vector<EventRecord>> ReadEventsOfKind(std::string_view session, std::string_view kind,
                                                    int64_t after, int64_t limit,
                                                    int64_t timeline = 0);
  /// How many events of kind `counted` the timeline has, and the newest one of kind `last`.
  Result<EventScan> ScanEvents(std::string_view session, std::string_view counted,
                               std::string_view last, int64_t timeline = 0);
  /// The same as ReadEvents of any timeline, by key; `session` of the events is empty.
  Result<std::vector<EventRecord>> ReadTimelineEvents(int64_t key, int64_t after, int64_t limit);
  /// The newest event of `kind` with seq <= up_to, or NOT_FOUND.
  Result<EventRecord> LastEvent(std::string_view session, std::string_view kind,
                                int64_t timeline = 0, int64_t up_to = INT64_MAX);
  /// The newest event that saw at most `tokens` token ids, or NOT_FOUND. Cost: O(log events).
  Result<EventRecord> EventAtTokens(std::string_view session, int64_t tokens, int64_t timeline = 0);
  /// Ids [begin, begin+count), fewer at the end.
  Result<TokenRun> ReadTokens(std::string_view session, int64_t begin, int64_t count,
                              int64_t timeline = 0);
  Result<TokenRun> ReadTimelineTokens(int64_t key, int64_t begin, int64_t count);
  /// NOT_FOUND if the request is new.
  Result<std::string> FindAnswer(std::string_view request_id, std::string_view method);

  /// Reads everything: SQLite's own check of all pages, seq without gaps, token runs contiguous,
  /// timelines based on what is there, checksums, JSON. Damage is reported in `problems` (at most
  /// 100), not as an error.
  Result<JournalReport> Verify(std::string_view session /* "" = all */);

  /// Writes a complete, synced copy of the journal as of now to the new file `path`, through
  /// SQLite's backup interface; others may write meanwhile.
  /// Errors: ALREADY_EXISTS (`path`), RESOURCE_EXHAUSTED (disk full), DATA_LOSS.
  Status Backup(const std::string& path);
  /// Empties the write-ahead log into the file, and rewrites the file if a quarter of it is free.
  /// Other connections may read meanwhile. Cost: up to two copies of the file.
  Status Compact();
  /// Size of the file and its log.
  Result<int64_t> BytesOnDisk();
  /// Another one once another connection has committed something.
  Result<int64_t> ChangeNumber();

  class Impl;  ///< Internal to runtime/store.

 private:
  explicit Journal(std::unique_ptr<Impl> impl);
  /// Verifies an earlier state before anything is changed. Errors: DATA_LOSS (it isn't whole).
  Status AcceptEarlierState(const Status& behind);
  std::unique_ptr<Impl> impl_;
};

}  // namespace baleen
