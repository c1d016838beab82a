#include "runtime/store/journal.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "runtime/store/files.h"
#include "runtime/store/journal_anchor.h"
#include "runtime/store/journal_codec.h"
#include "runtime/store/journal_impl.h"
#include "runtime/store/journal_import.h"
#include "runtime/store/journal_schema.h"

namespace baleen {
namespace {

/// The log is copied into the database file when it has this many bytes ...
constexpr int64_t kLogBytes = 16 << 20;
constexpr const char* kJournalSetup =
    // ... and cut back to this after, so that one large batch doesn't leave a large file for ever.
    "PRAGMA journal_size_limit = 67108864;"
    "PRAGMA cell_size_check = ON;"
    "PRAGMA temp_store = MEMORY;"
    "PRAGMA mmap_size = 0;";

/// `expected`: an anchor says that there was a journal.
Status CheckPath(const JournalOptions& options, bool expected) {
  struct stat file = {};
  if (stat(options.path.c_str(), &file) != 0) {
    if (errno == ENOENT && expected) {
      return DataLossError(
          "journal '" + options.path + "' is missing, but '" + options.path +
              "-anchor' tells of one; restore the data directory from a backup, or remove that "
              "file too to begin empty",
          "JOURNAL_MISSING");
    }
    if (errno == ENOENT && !options.read_only) return EnsureFile(options.path);
    return FileError(errno, "open journal", options.path);
  }
  if (S_ISREG(file.st_mode)) return OkStatus();
  return InvalidArgumentError("journal '" + options.path +
                              "' is not a regular file; name a file, not a directory or device");
}

/// Answers that are too old are looked for this often.
constexpr int64_t kAnswerSweepMs = 3'600'000;

Status CheckRoom(const std::string& session, int64_t number, const char* of) {
  if (number <= kRowNumberMax) return OkStatus();
  return ResourceExhaustedError("session '" + session + "' has all the " + of + " it can have (" +
                                    std::to_string(kRowNumberMax) + "); begin another",
                                "QUOTA");
}

Status CheckEvent(const EventRecord& event) {
  if (event.kind.empty()) {
    return InvalidArgumentError("event " + std::to_string(event.seq) + " of session '" +
                                event.session + "' has no kind");
  }
  return CheckJsonObject(event.payload, kEventBytesMax)
      .WithContext("event " + std::to_string(event.seq) + " ('" + event.kind + "') of session '" +
                   event.session + "'");
}

Status CheckTokens(const TokenRun& run) {
  const bool negative =
      std::any_of(run.ids.begin(), run.ids.end(), [](int32_t id) { return id < 0; });
  if (negative || (!run.logits_hashes.empty() && run.logits_hashes.size() != run.ids.size())) {
    return InvalidArgumentError(
        "tokens of session '" + run.session + "' at " + std::to_string(run.begin) +
        ": expected ids >= 0 and no logits hashes or one per id, got " +
        std::to_string(run.logits_hashes.size()) + " hashes for " + std::to_string(run.ids.size()) +
        " ids" + (negative ? " and a negative id" : ""));
  }
  return OkStatus();
}

Status CheckBatch(const JournalBatch& batch) {
  for (const auto* list : {&batch.create_sessions, &batch.update_sessions}) {
    for (const SessionRecord& session : *list) {
      RETURN_IF_ERROR(CheckSessionId(session.id));
      RETURN_IF_ERROR(CheckJsonObject(session.settings, kSettingsBytesMax)
                          .WithContext("settings of session '" + session.id + "'"));
    }
  }
  for (const JournalBatch::Fork& fork : batch.forks) {
    RETURN_IF_ERROR(CheckSessionId(fork.session.id));
    if (fork.settings.empty()) continue;
    RETURN_IF_ERROR(CheckJsonObject(fork.settings, kSettingsBytesMax)
                        .WithContext("settings of session '" + fork.session.id + "'"));
  }
  for (const JournalBatch::Import& import : batch.imports) {
    RETURN_IF_ERROR(CheckSessionId(import.session.id));
    RETURN_IF_ERROR(CheckJsonObject(import.session.settings, kSettingsBytesMax)
                        .WithContext("settings of session '" + import.session.id + "'"));
    for (const EventRecord& event : import.events) RETURN_IF_ERROR(CheckEvent(event));
    RETURN_IF_ERROR(CheckTokens(import.tokens));
  }
  for (const EventRecord& event : batch.events) RETURN_IF_ERROR(CheckEvent(event));
  for (const TokenRun& run : batch.tokens) RETURN_IF_ERROR(CheckTokens(run));
  for (const JournalBatch::RequestAnswer& answer : batch.answers) {
    if (answer.request_id.empty()) return InvalidArgumentError("an answer has no request id");
    RETURN_IF_ERROR(CheckJson(answer.answer, kAnswerBytesMax)
                        .WithContext("answer to request '" + answer.request_id + "'"));
  }
  return OkStatus();
}

/// The newest commit whose number is in the database.
constexpr const char* kSelectNumber =
    "SELECT max(coalesce((SELECT max(commit_number) FROM timelines), 0), "
    "coalesce((SELECT max(number) FROM commits), 0))";

/// Of the file at `path` as it is without its log; 0: it has none, or can't be read.
int64_t NumberInFile(const JournalOptions& options) {
  const auto file = Sqlite::Open(
      {.path = options.path, .read_only = true, .vfs = options.vfs, .immutable = true});
  if (!file.ok()) return 0;
  const auto number = (*file)->IntOf(kSelectNumber);
  return number.ok() ? *number : 0;
}

bool IsEmpty(const JournalBatch& batch) {
  return batch.create_sessions.empty() && batch.imports.empty() && batch.forks.empty() &&
         batch.rewinds.empty() && batch.selects.empty() && batch.pins.empty() &&
         batch.update_sessions.empty() && batch.tokens.empty() && batch.events.empty() &&
         batch.delete_sessions.empty() && batch.answers.empty();
}

std::span<const uint64_t> Part(const std::vector<uint64_t>& hashes, size_t begin, size_t count) {
  if (hashes.empty()) return {};
  return std::span(hashes).subspan(begin, count);
}

}  // namespace

Journal::Journal(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Journal::~Journal() = default;

const std::vector<std::string>& Journal::notes() const { return impl_->notes; }

Result<std::unique_ptr<Journal>> Journal::Open(const JournalOptions& options) {
  if (options.path.empty()) return InvalidArgumentError("journal path is empty; name a file");
  // A reader has a writer beside it, which has checked, or reads what is left on its own account.
  std::optional<AnchorRecord> anchored;
  bool damaged = false;
  if (!options.read_only) {
    ASSIGN_OR_RETURN(anchored, JournalAnchor::Read(options.path, &damaged));
  }
  RETURN_IF_ERROR(CheckPath(options, anchored.has_value()));
  const uint64_t boot = BootHash(options.boot_id);
  Status behind;
  bool taken = false;
  if (anchored.has_value()) {
    ASSIGN_OR_RETURN(const LogExtent log, WalkLogFile(options.path + "-wal"));
    const bool same_boot = anchored->boot == boot && boot != 0;
    behind = CheckLog(*anchored, log, same_boot, options.path);
    if (const auto number = NumberWithoutLog(*anchored, log, same_boot);
        !behind.ok() && number.has_value() && NumberInFile(options) >= *number) {
      taken = true;
      behind = OkStatus();
    }
    if (!behind.ok() && !options.accept_earlier_state) return behind;
  }
  ASSIGN_OR_RETURN(auto database, Sqlite::Open({.path = options.path,
                                                .read_only = options.read_only,
                                                .busy_timeout_ms = options.busy_timeout_ms,
                                                .vfs = options.vfs}));
  if (anchored.has_value()) database->SetLogOnClose(Sqlite::LogOnClose::kKeep);
  RETURN_IF_ERROR(database->Exec(kJournalSetup));
  RETURN_IF_ERROR(PrepareSchema(
      *database, {.read_only = options.read_only, .must_exist = anchored.has_value()}));
  std::unique_ptr<Journal> journal(new Journal(std::make_unique<Impl>(std::move(database))));
  if (options.read_only) return journal;
  if (!behind.ok()) RETURN_IF_ERROR(journal->AcceptEarlierState(behind));
  if (damaged) {
    journal->impl_->notes.push_back("'" + options.path +
                                    "-anchor' was damaged and is written anew: whether the "
                                    "journal's log had lost its end could not be told");
  }
  if (taken) {
    journal->impl_->notes.push_back("another program had journal '" + options.path +
                                    "' open and moved its log into the file; nothing is missing");
  }
  RETURN_IF_ERROR(journal->impl_->BeginWriting(options, boot));
  return journal;
}

Status Journal::AcceptEarlierState(const Status& behind) {
  ASSIGN_OR_RETURN(const JournalReport report, Verify(""));
  if (!report.problems.empty()) {
    return DataLossError(behind.message() + "; that state is not whole: " + report.problems[0] +
                             "; restore a backup",
                         "JOURNAL_BEHIND");
  }
  impl_->notes.push_back("an earlier state was accepted: " + behind.message());
  return OkStatus();
}

Status Journal::Impl::BeginWriting(const JournalOptions& options, uint64_t boot) {
  {
    // Also for a backup, which SQLite writes in another mode. Opens the log, whose directory entry
    // is synced here: SQLite syncs it too, but ignores the error.
    ASSIGN_OR_RETURN(Query mode, database->Prepare("PRAGMA journal_mode = WAL"));
    ASSIGN_OR_RETURN(const bool row, mode.Step());
    if (!row || mode.Text(0) != "wal") {
      return FailedPreconditionError("journal '" + options.path +
                                     "' cannot use a write-ahead log (" + mode.Text(0) +
                                     "); put it on a local file system");
    }
    RETURN_IF_ERROR(mode.Run());
  }
  RETURN_IF_ERROR(SyncDirectory(DirectoryOf(options.path)));
  database->CountLogFrames();
  ASSIGN_OR_RETURN(const int64_t page_bytes, database->IntOf("PRAGMA page_size"));
  log_frames_max = kLogBytes / page_bytes;
  ASSIGN_OR_RETURN(anchor, JournalAnchor::Open(options.path, options.vfs, boot));
  // The kernel may be the only one who knows what an earlier process left in the log: after a
  // sync that failed it forgets what it could not write. Recovery stops at the first such page,
  // and what was appended behind it would be lost with the power. So the log is emptied into the
  // file first.
  RETURN_IF_ERROR(EmptyLog());
  ASSIGN_OR_RETURN(commit_number, database->IntOf(kSelectNumber));
  return OkStatus();
}

Journal::Impl::~Impl() {
  if (anchor == nullptr) return;
  sqlite3_busy_timeout(database->handle(), 0);
  EmptyLog().IgnoreError("the log stays, and the next Open tries again");
}

Status Journal::Impl::EmptyLog() {
  // Were the log removed before the anchor knows, the next Open would miss it.
  database->SetLogOnClose(Sqlite::LogOnClose::kKeep);
  RETURN_IF_ERROR(anchor->Copying(true));
  ASSIGN_OR_RETURN(const int64_t frames, database->CopyLog());
  if (frames < 0) return anchor->Copying(false);
  LogSalts salts;
  if (frames > 0) {
    ASSIGN_OR_RETURN(salts, database->ReadLogSalts());
  }
  RETURN_IF_ERROR(anchor->Emptied(frames, salts));
  database->SetLogOnClose(Sqlite::LogOnClose::kRemove);
  return database->Exec("PRAGMA wal_checkpoint(TRUNCATE)");
}

void Journal::Impl::ShortenLog(int64_t frames) {
  if (frames < log_frames_max || !anchor->Copying(true).ok()) return;
  // The commit is done: what fails here is tried again after the next.
  if (database->CopyReadLog().ok()) anchor->Copying(false).IgnoreError("as above");
}

Status Journal::Commit(const JournalBatch& batch, Durability durability) {
  RETURN_IF_ERROR(impl_->broken);
  RETURN_IF_ERROR(CheckBatch(batch));
  if (IsEmpty(batch)) return durability == Durability::kSynced ? Sync() : OkStatus();
  RETURN_IF_ERROR(impl_->SetSynced(durability == Durability::kSynced));
  RETURN_IF_ERROR(impl_->database->Exec("BEGIN IMMEDIATE"));
  return impl_->Finish(impl_->Write(batch), durability);
}

Status Journal::Sync() { return impl_->Sync(); }

Status Journal::Impl::Sync() {
  RETURN_IF_ERROR(broken);
  if (anchor == nullptr) return FailedPreconditionError("the journal is open read-only");
  const Status status = database->SyncLog();
  if (status.ok()) {
    anchor->Synced();
    return status;
  }
  anchor->SyncFailed();
  broken = status.WithContext("an earlier sync failed; reopen the journal");
  return status;
}

Status Journal::Impl::SetSynced(bool wanted) {
  if (wanted == synced) return OkStatus();
  RETURN_IF_ERROR(
      database->Exec(wanted ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL"));
  synced = wanted;
  return OkStatus();
}

Status Journal::Impl::Finish(Status written, Durability durability) {
  if (written.ok()) written = database->Exec("COMMIT");
  if (written.ok()) {
    const int64_t frames = database->TakeLogFrames();
    const auto salts = database->ReadLogSalts();
    // Without them the anchor stays behind, which is no fault of the commit.
    if (frames > 0 && salts.ok()) anchor->Committed(frames, *salts, commit_number, durability);
    ShortenLog(frames);
    return written;
  }
  if (database->InTransaction()) {
    database->Exec("ROLLBACK").IgnoreError("the first error is reported");
  }
  // Of the batch's own answers too, whose keys the next ones get.
  answer_keys.clear();
  answers_known = 0;
  if (written.reason() == "DISK_ERROR" && durability == Durability::kSynced) {
    // The batch lies complete in the log although its sync failed: recovery would take it for
    // committed. A write in its place makes the caller's error the truth. And since the kernel
    // drops what it could not write, earlier unsynced commits may be gone too: no writes from here
    // on.
    anchor->SyncFailed();
    SetSynced(false).IgnoreError("the first error is reported");
    const std::string same = "PRAGMA user_version = " + std::to_string(kJournalVersion);
    database->Exec(same.c_str()).IgnoreError("the first error is reported");
    broken = FailedPreconditionError(
        "an earlier sync of the journal failed; check the disk, then reopen (" + written.message() +
            ")",
        "DISK_ERROR");
  }
  return written;
}

Status Journal::Impl::Write(const JournalBatch& batch) {
  written_timeline = 0;
  for (const auto& session : batch.create_sessions) RETURN_IF_ERROR(CreateSession(session));
  for (const auto& import : batch.imports) RETURN_IF_ERROR(ImportSession(import));
  for (const auto& fork : batch.forks) RETURN_IF_ERROR(ForkSession(fork));
  for (const auto& rewind : batch.rewinds) RETURN_IF_ERROR(RewindSession(rewind));
  for (const auto& select : batch.selects) RETURN_IF_ERROR(SelectTimeline(select));
  for (const auto& pin : batch.pins) RETURN_IF_ERROR(PinSession(pin));
  for (const auto& session : batch.update_sessions) RETURN_IF_ERROR(UpdateSession(session));
  Touched touched;
  for (const auto& run : batch.tokens) RETURN_IF_ERROR(AppendTokens(touched, run));
  for (const auto& event : batch.events) RETURN_IF_ERROR(AppendEvent(touched, event));
  RETURN_IF_ERROR(WriteBack(touched));
  for (const auto& session : batch.delete_sessions) RETURN_IF_ERROR(DeleteSession(session));
  RETURN_IF_ERROR(WriteAnswers(batch));
  return Stamp();
}

Status Journal::Impl::Stamp() {
  commit_number = std::max(commit_number, anchor->number()) + 1;
  if (written_timeline != 0) {
    ASSIGN_OR_RETURN(Query update,
                     database->Prepare("UPDATE timelines SET commit_number = ?2 WHERE key = ?1"));
    RETURN_IF_ERROR(update.Bind(written_timeline).Bind(commit_number).Run());
    // None: the batch deleted it again.
    if (sqlite3_changes(database->handle()) == 1) return OkStatus();
  }
  ASSIGN_OR_RETURN(Query replace,
                   database->Prepare("REPLACE INTO commits(key, number) VALUES(1, ?1)"));
  return replace.Bind(commit_number).Run();
}

Status Journal::Impl::ImportSession(const JournalBatch::Import& import) {
  RETURN_IF_ERROR(CreateSession(import.session));
  Touched touched;
  RETURN_IF_ERROR(ReplayImport(
      import, [&](const TokenRun& run) { return AppendTokens(touched, run); },
      [&](const EventRecord& event) { return AppendEvent(touched, event); }));
  return WriteBack(touched);
}

Result<TimelineRow*> Journal::Impl::Touch(Touched& touched, const std::string& id) {
  const auto found = touched.find(id);
  if (found != touched.end()) return &found->second;
  ASSIGN_OR_RETURN(TimelineRow timeline, FindTimeline(id, 0));
  TimelineRow& kept = touched[id];
  kept = std::move(timeline);
  return &kept;
}

Status Journal::Impl::AppendEvent(Touched& touched, const EventRecord& event) {
  ASSIGN_OR_RETURN(TimelineRow* const timeline, Touch(touched, event.session));
  if (event.seq != timeline->last_seq + 1) {
    return AbortedError("event ('" + event.kind + "') of session '" + event.session + "' has seq " +
                            std::to_string(event.seq) + ", expected " +
                            std::to_string(timeline->last_seq + 1) +
                            "; another writer may be active: reload the session, then retry",
                        "SEQ_MISMATCH");
  }
  RETURN_IF_ERROR(CheckRoom(event.session, event.seq, "events"));
  EventRecord sealed = event;
  sealed.tokens = timeline->tokens;
  ASSIGN_OR_RETURN(Query insert,
                   database->Prepare("INSERT INTO events(key, time_ms, kind, version, payload, "
                                     "tokens, checksum) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)"));
  RETURN_IF_ERROR(insert.Bind(RowKey(timeline->key, event.seq))
                      .Bind(event.time_ms)
                      .Bind(event.kind)
                      .Bind(static_cast<int64_t>(event.version))
                      .Bind(event.payload)
                      .Bind(sealed.tokens)
                      .Bind(EventChecksum(timeline->key, sealed))
                      .Run());
  timeline->last_seq = event.seq;
  timeline->updated_ms = std::max(timeline->updated_ms, event.time_ms);
  return OkStatus();
}

Status Journal::Impl::AppendTokens(Touched& touched, const TokenRun& run) {
  ASSIGN_OR_RETURN(TimelineRow* const timeline, Touch(touched, run.session));
  if (run.begin != timeline->tokens) {
    return AbortedError("tokens of session '" + run.session + "' begin at " +
                            std::to_string(run.begin) + ", expected " +
                            std::to_string(timeline->tokens) +
                            "; another writer may be active: reload the session, then retry",
                        "TOKENS_MISMATCH");
  }
  const auto end = timeline->tokens + std::ssize(run.ids);
  RETURN_IF_ERROR(CheckRoom(run.session, end, "tokens"));
  ASSIGN_OR_RETURN(const bool grown, GrowLastTokenRow(*timeline, run));
  for (size_t done = 0; !grown && done < run.ids.size();) {
    const size_t count = std::min(run.ids.size() - done, static_cast<size_t>(kTokenRowIds));
    RETURN_IF_ERROR(WriteTokenRow(timeline->key, run.begin + static_cast<int64_t>(done),
                                  std::span(run.ids).subspan(done, count),
                                  Part(run.logits_hashes, done, count)));
    done += count;
  }
  timeline->tokens = end;
  return OkStatus();
}

Result<bool> Journal::Impl::GrowLastTokenRow(const TimelineRow& timeline, const TokenRun& run) {
  if (timeline.tokens == timeline.base_tokens || std::ssize(run.ids) >= kTokenRowGrownIds) {
    return false;
  }
  TokenRow last;
  {
    ASSIGN_OR_RETURN(Query select,
                     database->Prepare(BALEEN_SELECT_TOKENS "WHERE key >= ?1 AND key < ?2 "
                                                            "ORDER BY key DESC LIMIT 1"));
    select.Bind(RowKey(timeline.key, 0)).Bind(RowKey(timeline.key, timeline.tokens));
    ASSIGN_OR_RETURN(const bool row, select.Step());
    if (row) {
      ASSIGN_OR_RETURN(last, TokensFromRow(select, run.session, timeline.key));
    }
  }
  const auto held = static_cast<int64_t>(last.ids.size());
  if (last.begin + held != timeline.tokens) {
    return DataLossError("session '" + run.session + "': the last token row ends at " +
                         std::to_string(last.begin + held) + ", expected " +
                         std::to_string(timeline.tokens) + "; run verify");
  }
  if (held + std::ssize(run.ids) > kTokenRowGrownIds) return false;
  last.ids.insert(last.ids.end(), run.ids.begin(), run.ids.end());
  if (!run.logits_hashes.empty() || !last.hashes.empty()) {
    last.hashes.resize(static_cast<size_t>(held), 0);
    last.hashes.insert(last.hashes.end(), run.logits_hashes.begin(), run.logits_hashes.end());
    last.hashes.resize(last.ids.size(), 0);
  }
  RETURN_IF_ERROR(WriteTokenRow(timeline.key, last.begin, last.ids, last.hashes));
  return true;
}

Status Journal::Impl::WriteTokenRow(int64_t timeline, int64_t begin, std::span<const int32_t> ids,
                                    std::span<const uint64_t> hashes) {
  const std::vector<std::byte> id_bytes = EncodeTokenIds(ids);
  const bool sampled =
      std::any_of(hashes.begin(), hashes.end(), [](uint64_t hash) { return hash != 0; });
  const std::vector<std::byte> hash_bytes =
      sampled ? EncodeLogitsHashes(hashes) : std::vector<std::byte>();
  ASSIGN_OR_RETURN(Query write,
                   database->Prepare("INSERT INTO token_runs(key, checksum, ids, logits_hashes) "
                                     "VALUES(?1, ?2, ?3, ?4) ON CONFLICT(key) DO UPDATE SET "
                                     "checksum = ?2, ids = ?3, logits_hashes = ?4"));
  write.Bind(RowKey(timeline, begin))
      .Bind(TokenRowChecksum(timeline, begin, id_bytes, hash_bytes))
      .BindBlob(id_bytes);
  if (sampled) {
    write.BindBlob(hash_bytes);
  } else {
    write.BindNull();
  }
  return write.Run();
}

Status Journal::Impl::WriteAnswers(const JournalBatch& batch) {
  if (batch.answers.empty()) return OkStatus();
  int64_t now_ms = batch.answers.front().time_ms;
  for (const JournalBatch::RequestAnswer& answer : batch.answers) {
    now_ms = std::max(now_ms, answer.time_ms);
  }
  // A look at all of them, so not each time. The newest stays, so that no key is used twice.
  if (answers_swept_ms == INT64_MIN || now_ms - answers_swept_ms >= kAnswerSweepMs) {
    ASSIGN_OR_RETURN(Query forget, database->Prepare("DELETE FROM answers WHERE time_ms < ?1 AND "
                                                     "key < (SELECT max(key) FROM answers)"));
    RETURN_IF_ERROR(forget.Bind(now_ms - kAnswerKeptMs).Run());
    answers_swept_ms = now_ms;
  }
  for (const JournalBatch::RequestAnswer& answer : batch.answers) {
    const auto answered = ReadAnswer(answer.request_id, answer.method);
    if (answered.ok()) {
      return AlreadyExistsError("request '" + answer.request_id + "' (" + answer.method +
                                ") is answered already; return the stored answer");
    }
    if (answered.status().code() != StatusCode::kNotFound) return answered.status();
    ASSIGN_OR_RETURN(Query insert,
                     database->Prepare("INSERT INTO answers(hash, time_ms, request_id, method, "
                                       "answer) VALUES(?1, ?2, ?3, ?4, ?5)"));
    RETURN_IF_ERROR(insert.Bind(AnswerHash(answer.request_id, answer.method))
                        .Bind(answer.time_ms)
                        .Bind(answer.request_id)
                        .Bind(answer.method)
                        .Bind(answer.answer)
                        .Run());
  }
  return OkStatus();
}

Status Journal::Impl::WriteBack(const Touched& touched) {
  for (const auto& [id, timeline] : touched) {
    ASSIGN_OR_RETURN(Query update,
                     database->Prepare("UPDATE timelines SET tokens = ?2, last_seq = ?3, "
                                       "updated_ms = ?4 WHERE key = ?1"));
    RETURN_IF_ERROR(update.Bind(timeline.key)
                        .Bind(timeline.tokens)
                        .Bind(timeline.last_seq)
                        .Bind(timeline.updated_ms)
                        .Run());
    written_timeline = timeline.key;
  }
  return OkStatus();
}

}  // namespace baleen
