// Journal::Impl: the open database and the steps of one commit.
//
// Internal to runtime/store; shared by journal.cc (writes), journal_read.cc and journal_verify.cc.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "runtime/store/journal.h"
#include "runtime/store/sqlite.h"

namespace baleen {

class Journal::Impl {
 public:
  explicit Impl(std::unique_ptr<Sqlite> opened) : database(std::move(opened)) {}

  /// A session row as a commit sees it; written back once at the end of the batch.
  struct SessionRow {
    int64_t key = 0;
    int64_t tokens = 0;
    int64_t last_seq = 0;
    int64_t updated_ms = 0;
  };
  using Touched = std::map<std::string, SessionRow, std::less<>>;

  Status SetSynced(bool synced);
  Status Write(const JournalBatch& batch);
  Status Finish(Status written, Durability durability);
  Result<int64_t> SessionKey(std::string_view id);
  Status NoSession(std::string_view id) const;

  Status CreateSession(const SessionRecord& session);
  Status UpdateSession(const SessionRecord& session);
  Result<SessionRow*> Touch(Touched& touched, const std::string& id);
  Status AppendEvent(Touched& touched, const EventRecord& event);
  Status AppendTokens(Touched& touched, const TokenRun& run);
  Status WriteTokenRow(int64_t session_key, int64_t begin, std::span<const int32_t> ids,
                       std::span<const uint64_t> hashes, int64_t row_key);
  Status WriteAnswers(const JournalBatch& batch);
  Status WriteBack(const Touched& touched);

  std::unique_ptr<Sqlite> database;
  bool synced = true;  ///< PRAGMA synchronous is FULL (SQLite's default), not NORMAL.
  Status broken;       ///< Not OK once a sync failed.
};

/// Reads a row selected as kSessionColumns and checks its checksum.
inline constexpr const char* kSelectSession =
    "SELECT id, title, settings, created_ms, updated_ms, tokens, last_seq, checksum FROM sessions "
    "WHERE id = ?1";
Result<SessionRecord> SessionFromRow(const Query& row);

/// Reads a row "seq, time_ms, kind, version, payload, checksum" and checks its checksum.
Result<EventRecord> EventFromRow(const Query& row, std::string_view session, int64_t session_key);

/// One row of token_runs, decoded.
struct TokenRow {
  int64_t begin = 0;
  std::vector<int32_t> ids;
  std::vector<uint64_t> hashes;  ///< Empty: none stored.
};
/// Reads a row "begin, ids, logits_hashes, checksum" and checks its checksum.
Result<TokenRow> TokensFromRow(const Query& row, std::string_view session, int64_t session_key);

}  // namespace baleen
