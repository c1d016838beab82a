// What the journal keeps: sessions, their timelines, events, token ids; and the batch that changes
// them in one commit.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace baleen {

/// kKernel: handed to the kernel (survives a process kill). kSynced: on the disk (survives power
/// loss).
enum class Durability { kKernel, kSynced };

/// A session as it stands on its current timeline.
struct SessionRecord {
  std::string id;  ///< [a-z0-9][a-z0-9-]{0,62}
  std::string title;
  std::string
      settings;  ///< JSON object text: workspace, script, system prompt, sampling ... (runtime's).
  int64_t created_ms = 0;  ///< Unix milliseconds.
  int64_t updated_ms = 0;
  int64_t tokens = 0;    ///< Token ids journalled.
  int64_t last_seq = 0;  ///< Sequence number of the newest event; 0: none.
  bool pinned = false;
  int64_t timeline = 1;  ///< Number of the current timeline.
  std::string parent;    ///< Session that it was forked from, while that one exists; else empty.
};

/// One line of a session's history. It begins as another one was at a point (its base) and goes on
/// by itself; what lies before the point is shared, never copied.
struct TimelineRecord {
  int64_t key = 0;          ///< Within this journal; ascending, never used twice.
  std::string session;      ///< Empty: deleted, but other timelines are based on this one.
  int64_t number = 1;       ///< 1, 2, 3 ... within the session.
  int64_t base = 0;         ///< Key of the timeline it is based on, always a lower one; 0: none.
  int64_t base_seq = 0;     ///< Events of the base that it shares.
  int64_t base_tokens = 0;  ///< Token ids of the base that it shares.
  int64_t previous = 0;     ///< Number of the session's timeline that it took over from; 0: none.
  int64_t created_ms = 0;
  int64_t updated_ms = 0;
  int64_t tokens = 0;    ///< Length of the context, shared ones included.
  int64_t last_seq = 0;  ///< Of the newest event, shared ones included.
};

/// One durable entry of a session.
struct EventRecord {
  std::string session;
  int64_t seq = 0;  ///< 1, 2, 3 ... without gaps within a timeline.
  int64_t time_ms = 0;
  std::string kind;     ///< "turn_started", ... (runtime/event_kinds.h)
  int version = 1;      ///< Of the payload's shape.
  std::string payload;  ///< JSON object text, at most kEventBytesMax.
  int64_t tokens = 0;   ///< Length of the context after the event's commit. Set by the journal.
};

/// What one walk over a timeline's events finds.
struct EventScan {
  int64_t count = 0;                ///< Of the one kind.
  std::optional<EventRecord> last;  ///< The newest of the other kind.
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
/// Rows that one ListSessions, ListTimelines or ReadEvents returns at most, and ids of one
/// ReadTokens.
inline constexpr int64_t kRowsPerReadMax = 10'000;
/// Rows that readers ask for at a time, where they look at all of them.
inline constexpr int64_t kJournalPage = 256;
inline constexpr int64_t kTokensPerReadMax = 16 << 20;
/// A request id is remembered for 24 hours.
inline constexpr int64_t kAnswerKeptMs = 24LL * 3600 * 1000;
/// Timelines may be based on one another up to this depth: a read visits each.
inline constexpr int64_t kTimelineDepthMax = 1024;

/// A place in a session's history, to branch off at.
struct TimelinePoint {
  std::string session;
  int64_t timeline = 0;  ///< Number; 0: the current one.
  int64_t seq = 0;       ///< The newest event that is kept.
  int64_t tokens = 0;    ///< Token ids that are kept; at least what event `seq` saw.
};

/// What one commit writes, atomically and in the order of the members here. Events get the sequence
/// numbers that they carry: a duplicate or a gap is refused (ABORTED), so that two writers can't
/// interleave.
struct JournalBatch {
  std::vector<SessionRecord> create_sessions;

  /// A session with its whole history at once, as an archive gave it.
  struct Import {
    SessionRecord session;
    TokenRun tokens;                  ///< All of them, from 0; `session` isn't read.
    std::vector<EventRecord> events;  ///< From 1; their `tokens` are kept. `session` isn't read.
  };
  std::vector<Import> imports;

  struct Fork {
    SessionRecord session;  ///< Id, title, created_ms.
    TimelinePoint from;
    std::string settings = {};  ///< Of its own; empty: the origin's, shared.
  };
  std::vector<Fork> forks;

  /// The session gets a new timeline, which is based on `to` and becomes the current one.
  struct Rewind {
    TimelinePoint to;
    int64_t time_ms = 0;
  };
  std::vector<Rewind> rewinds;

  /// An existing timeline of the session becomes the current one again.
  struct Select {
    std::string session;
    int64_t timeline = 0;
  };
  std::vector<Select> selects;

  struct Pin {
    std::string session;
    bool pinned = false;
  };
  std::vector<Pin> pins;
  std::vector<SessionRecord> update_sessions;  ///< By id: title, settings, updated_ms.
  std::vector<TokenRun> tokens;                ///< Must begin at the session's token count.
  std::vector<EventRecord> events;
  /// Ids. Their timelines go too, but for what timelines of other sessions are based on.
  std::vector<std::string> delete_sessions;

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
  /// Name of a registered SQLite VFS; empty: the system's. The seam for injected faults.
  std::string vfs = {};
  /// Opens a journal whose log has lost acknowledged commits, if the earlier state is whole.
  bool accept_earlier_state = false;
  /// Name of this run of the machine, which a power cut ends; empty: the system's.
  std::string boot_id = {};
};

/// What Verify found.
struct JournalReport {
  int64_t sessions = 0;
  int64_t timelines = 0;
  int64_t events = 0;
  int64_t tokens = 0;                 ///< Stored ones: what timelines share counts once.
  std::vector<std::string> problems;  ///< Empty: clean.
};

}  // namespace baleen
