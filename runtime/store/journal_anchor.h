// JournalAnchor: how far the journal's write-ahead log must reach, in a small file beside it.
//
// SQLite takes a log that is damaged, cut or missing for one whose end never reached the disk, and
// goes on from an earlier state without a word. The anchor is written after each commit, without a
// sync of its own, and tells the two apart when the journal is opened: it is never ahead of what
// the log must hold. Commits that were only handed to the kernel count as long as the machine
// hasn't been started anew; synced ones always.
//
// Internal to runtime/store.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "runtime/store/journal_records.h"
#include "runtime/store/sqlite.h"
#include "tools_sdk/status.h"

namespace baleen {

/// On-disk: 88 bytes, see EncodeAnchor. Don't renumber.
struct AnchorRecord {
  /// True: all of the log was in the database file, synced, when this was written: it may be gone.
  bool emptied = false;
  /// A copy of the log into the file had begun and not ended: the file may be half of two states.
  bool copying = false;
  LogSalts salts;
  int64_t frames = 0;  ///< Of the log, up to the newest commit that was acknowledged.
  int64_t commits = 0;
  int64_t synced_frames = 0;
  int64_t synced_commits = 0;
  /// What these two commits stamped into the database; 0: not known (older builds).
  int64_t number = 0;
  int64_t synced_number = 0;
  uint64_t boot = 0;  ///< Hash of the name of the machine's run.

  bool operator==(const AnchorRecord&) const = default;
};

inline constexpr size_t kAnchorBytes = 88;
std::string EncodeAnchor(const AnchorRecord& record);
/// Nothing: damaged, or of a format that is not known. Also reads what older builds wrote.
std::optional<AnchorRecord> DecodeAnchor(std::string_view bytes);

/// What SQLite would recover of a log.
struct LogExtent {
  bool header = false;  ///< It has a valid one. Else SQLite reads nothing of it.
  LogSalts salts;
  int64_t frames = 0;  ///< Up to the last whole commit.
  int64_t commits = 0;
};

/// Reads bytes at an offset, fewer at the end.
using LogReader = std::function<size_t(int64_t offset, std::span<std::byte> out)>;
/// Cost: reads all of the log. Source: SQLite's documentation of its file format, section 4.
LogExtent WalkLog(const LogReader& read);
/// Of the file at `path`; a missing one is an empty log.
Result<LogExtent> WalkLogFile(const std::string& path);

/// Whether the log is what the anchor says. Errors: DATA_LOSS/JOURNAL_BEHIND.
Status CheckLog(const AnchorRecord& record, const LogExtent& log, bool same_boot,
                const std::string& path);

/// The number that a database without a log must have stamped in it to hold all that the anchor
/// vouches for: then another program (`sqlite3`, say) copied the log into the file and removed it,
/// as the last one to close a database does. Nothing: the log itself is needed.
std::optional<int64_t> NumberWithoutLog(const AnchorRecord& record, const LogExtent& log,
                                        bool same_boot);

/// Name of this run of the machine, hashed: a power cut ends it, the end of a process doesn't.
uint64_t BootHash(const std::string& boot_id);

/// The file of a journal at `path`. Threads: one at a time.
class JournalAnchor {
 public:
  /// What is there now; nothing: no file, or damaged (then `*damaged`).
  static Result<std::optional<AnchorRecord>> Read(const std::string& path, bool* damaged);

  /// Creates the file if absent. `vfs` as in JournalOptions.
  static Result<std::unique_ptr<JournalAnchor>> Open(const std::string& path,
                                                     const std::string& vfs, uint64_t boot);
  ~JournalAnchor();
  JournalAnchor(const JournalAnchor&) = delete;
  JournalAnchor& operator=(const JournalAnchor&) = delete;

  /// Of the newest commit that it knows of, by any writer; 0: of none.
  int64_t number();
  /// A commit, stamped with `number`, reached `frames` of the log. These three leave an anchor
  /// that can't be written behind: it then vouches for less, and the commit is as good as it was.
  void Committed(int64_t frames, LogSalts salts, int64_t number, Durability durability);
  /// The log was synced.
  void Synced();
  /// A sync failed: the kernel may have dropped what was only handed to it.
  void SyncFailed();
  /// Before and after a copy of the log into the file that leaves the log. Errors: the anchor could
  /// not be written; don't copy then.
  Status Copying(bool now);
  /// All of the log (`frames`; 0: nothing in it) is in the database file: what removes it may
  /// follow. Synced, else a power cut would leave an anchor that asks for what is gone.
  Status Emptied(int64_t frames, LogSalts salts);

 private:
  struct File;
  JournalAnchor(std::unique_ptr<File> file, std::string path, uint64_t boot);
  /// What is in the file: another writer may have moved it.
  std::optional<AnchorRecord> Load();
  Status Store(const AnchorRecord& record);

  std::unique_ptr<File> file_;
  const std::string path_;
  const uint64_t boot_;
};

}  // namespace baleen
