// Journal: the truth about sessions. SQLite in WAL mode.
//
// Sessions, durable events (JSON text with a version per kind) and token ids (blobs). Knows nothing
// of agents or KV. Called by the control loop through the journal thread, and by the CLI for
// reading.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tools_sdk/status.h"

namespace baleen {

/// kKernel: handed to the kernel (survives a process kill). kSynced: on the disk (survives power
/// loss).
enum class Durability { kKernel, kSynced };

struct SessionRecord {
  std::string id;  ///< [a-z0-9][a-z0-9-]{0,62}
  std::string title;
  std::string
      settings;  ///< JSON object text: workspace, script, system prompt, sampling ... (runtime's).
  int64_t created_ms = 0;  ///< Unix milliseconds.
  int64_t updated_ms = 0;
  int64_t tokens = 0;    ///< Token ids journalled.
  int64_t last_seq = 0;  ///< Sequence number of the newest event; 0: none.
};

/// One durable entry of a session.
struct EventRecord {
  std::string session;
  int64_t seq = 0;  ///< 1, 2, 3 ... without gaps within a session.
  int64_t time_ms = 0;
  std::string kind;     ///< "turn_started", ... (runtime/event_kinds.h)
  int version = 1;      ///< Of the payload's shape.
  std::string payload;  ///< JSON object text, at most kEventBytesMax.
};

/// Consecutive token ids of a session, with an optional hash of the logits that each was drawn
/// from.
struct TokenRun {
  std::string session;
  int64_t begin = 0;  ///< Position of ids[0].
  std::vector<int32_t> ids;
  std::vector<uint64_t> logits_hashes;  ///< Empty, or one per id (0: not sampled).
};

inline constexpr int64_t kEventBytesMax = 16 << 20;
inline constexpr int64_t kSettingsBytesMax = 16 << 20;
inline constexpr int64_t kAnswerBytesMax = 16 << 20;
/// Rows that one ListSessions or ReadEvents returns at most, and ids of one ReadTokens.
inline constexpr int64_t kRowsPerReadMax = 10'000;
inline constexpr int64_t kTokensPerReadMax = 16 << 20;
/// A request id is remembered for 24 hours.
inline constexpr int64_t kAnswerKeptMs = 24LL * 3600 * 1000;

/// What one commit writes, atomically. Events get the sequence numbers that they carry: a duplicate
/// or a gap is refused (ABORTED), so that two writers can't interleave.
struct JournalBatch {
  std::vector<SessionRecord> create_sessions;
  std::vector<SessionRecord> update_sessions;  ///< By id: title, settings, updated_ms.
  std::vector<EventRecord> events;
  std::vector<TokenRun> tokens;  ///< Must begin at the session's token count.

  struct RequestAnswer {
    std::string request_id;
    std::string method;
    std::string answer;  ///< JSON text.
    int64_t time_ms = 0;
  };
  /// For de-duplication; kept with the effect, for kAnswerKeptMs. The batch's newest time is the
  /// clock.
  std::vector<RequestAnswer> answers;
};

struct JournalOptions {
  std::string path;  ///< File; created with mode 0600 if absent.
  bool read_only = false;
  /// How long a commit waits for another process that holds the write lock.
  int busy_timeout_ms = 5000;
};

/// What Verify found.
struct JournalReport {
  int64_t sessions = 0;
  int64_t events = 0;
  int64_t tokens = 0;
  std::vector<std::string> problems;  ///< Empty: clean.
};

/// Threads: one at a time per object (the journal thread); separate objects may read concurrently.
class Journal {
 public:
  /// Creates the file if absent (not when read-only); its directory entry is power-safe after.
  /// Errors: FAILED_PRECONDITION (a newer schema version; locked by another process),
  /// DATA_LOSS (not a journal, or damaged), PERMISSION_DENIED, RESOURCE_EXHAUSTED (disk full),
  /// INVALID_ARGUMENT (a directory), NOT_FOUND (no parent directory; read-only and absent).
  static Result<std::unique_ptr<Journal>> Open(const JournalOptions& options);
  ~Journal();

  /// Writes the whole batch or nothing. kSynced makes every earlier commit power-safe too, also
  /// when the batch is empty. After any error nothing of the batch is visible, here or after
  /// reopening, and the journal stays usable, with one exception: once a sync has failed, the
  /// kernel may have dropped what earlier kKernel commits wrote, so every later Commit and Sync is
  /// refused until reopened. Errors: INVALID_ARGUMENT (ids, JSON, sizes), ALREADY_EXISTS (session,
  /// request), NOT_FOUND (session), ABORTED (duplicate or gap in seq or token positions),
  /// RESOURCE_EXHAUSTED (disk full), FAILED_PRECONDITION (locked; sync failed before), DATA_LOSS,
  /// INTERNAL (input/output error). Cost: one write of the touched pages; kSynced: and one
  /// fdatasync.
  Status Commit(const JournalBatch& batch, Durability durability);
  /// Makes everything committed so far power-safe, also what a killed process left behind.
  Status Sync();

  /// The reads below check every row's checksum: DATA_LOSS names the damaged row.
  /// A session that doesn't exist is NOT_FOUND.
  Result<SessionRecord> GetSession(std::string_view id);
  /// Ordered by created_ms then id, starting after `after_id` ("" = first).
  Result<std::vector<SessionRecord>> ListSessions(std::string_view after_id, int64_t limit);
  /// Events with seq > after, ascending.
  Result<std::vector<EventRecord>> ReadEvents(std::string_view session, int64_t after,
                                              int64_t limit);
  /// The newest event of `kind`, or NOT_FOUND.
  Result<EventRecord> LastEvent(std::string_view session, std::string_view kind);
  /// Ids [begin, begin+count), fewer at the end.
  Result<TokenRun> ReadTokens(std::string_view session, int64_t begin, int64_t count);
  /// NOT_FOUND if the request is new.
  Result<std::string> FindAnswer(std::string_view request_id, std::string_view method);

  /// Reads everything: SQLite's own check of all pages, seq without gaps, token runs contiguous,
  /// checksums, JSON. Damage is reported in `problems` (at most 100), not as an error.
  Result<JournalReport> Verify(std::string_view session /* "" = all */);

 private:
  class Impl;
  explicit Journal(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace baleen
