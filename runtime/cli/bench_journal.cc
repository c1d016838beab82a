// The journal's synced commits: a turn, and a fork; beside append and fdatasync of as many bytes.
#include <filesystem>
#include <memory>
#include <utility>

#include "runtime/cli/bench_store.h"
#include "runtime/cli/flash_store.h"
#include "runtime/store/journal.h"
#include "runtime/store/kv_store.h"

namespace baleen::cli {
namespace {

constexpr const char* kSession = "bench";

/// A turn of `tokens`: its events and token ids, and what they come to in bytes.
JournalBatch TurnBatch(int64_t turn, int64_t tokens) {
  JournalBatch batch;
  const char* kinds[] = {"generated", "turn_finished"};
  for (int64_t i = 0; i < 2; ++i) {
    EventRecord event;
    event.session = kSession;
    event.seq = turn * 2 + i + 1;
    event.time_ms = 1;
    event.kind = kinds[i];
    event.payload = R"({"text":")" + std::string(static_cast<size_t>(tokens) * 2, 'x') + R"("})";
    batch.events.push_back(std::move(event));
  }
  TokenRun run;
  run.session = kSession;
  run.begin = turn * tokens;
  run.ids.assign(static_cast<size_t>(tokens), 12345);
  batch.tokens.push_back(std::move(run));
  return batch;
}

int64_t BatchBytes(const JournalBatch& batch) {
  int64_t bytes = 0;
  for (const EventRecord& event : batch.events) {
    bytes += std::ssize(event.payload) + std::ssize(event.kind) + std::ssize(event.session) + 16;
  }
  for (const TokenRun& run : batch.tokens) bytes += std::ssize(run.ids) * 4;
  return bytes;
}

}  // namespace

Result<Json> BenchCommit(const StoreBenchFlags& flags, const std::string& folder) {
  JournalOptions options;
  options.path = folder + "/journal.db";
  ASSIGN_OR_RETURN(auto journal, Journal::Open(options));
  JournalBatch create;
  SessionRecord session;
  session.id = kSession;
  session.settings = "{}";
  create.create_sessions.push_back(session);
  RETURN_IF_ERROR(journal->Commit(create, Durability::kSynced));
  std::vector<double> commit_ms;
  std::vector<double> raw_ms;
  int64_t bytes = 0;
  for (int64_t turn = 0; turn < flags.repeats; ++turn) {
    const JournalBatch batch = TurnBatch(turn, flags.tokens);
    bytes = BatchBytes(batch);
    const auto start = std::chrono::steady_clock::now();
    RETURN_IF_ERROR(journal->Commit(batch, Durability::kSynced));
    commit_ms.push_back(MsSince(start));
    ASSIGN_OR_RETURN(const double raw, SyncedAppendMs(folder, bytes));
    raw_ms.push_back(raw);
  }
  // What is written behind the turn: its blocks, with a checkpoint, in one flush.
  const FlashSession chain(1, flags.block_tokens * 16 * flags.repeats, flags.block_tokens);
  ASSIGN_OR_RETURN(const BlockShape shape, FlashShape(flags.block_tokens));
  ASSIGN_OR_RETURN(auto store, OpenFlashStore(folder, flags.reader_threads));
  std::vector<double> flush_ms;
  std::vector<double> raw_flush_ms;
  const int64_t block_bytes = shape.block_bytes() * 16 + kFlashCheckpointBytes;
  for (int64_t i = 0; i < flags.repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    RETURN_IF_ERROR(chain.Write(*store, shape, i * 16, i * 16 + 16, INT64_MAX));
    flush_ms.push_back(MsSince(start));
    ASSIGN_OR_RETURN(const double raw, SyncedAppendMs(folder, block_bytes));
    raw_flush_ms.push_back(raw);
  }
  const Spread commit = Summarise(commit_ms);
  const Spread raw = Summarise(raw_ms);
  const Spread flush = Summarise(flush_ms);
  const Spread raw_flush = Summarise(raw_flush_ms);
  return Json{{"bench", "commit"},
              {"tokens", flags.tokens},
              {"bytes", bytes},
              {"commit_ms", ToJson(commit)},
              {"raw_append_fdatasync_ms", ToJson(raw)},
              {"ratio", commit.median / raw.median},
              {"bar", 2.5},
              {"kv_behind",
               {{"blocks", 16},
                {"bytes", block_bytes},
                {"put_and_flush_ms", ToJson(flush)},
                {"raw_append_fdatasync_ms", ToJson(raw_flush)},
                {"ratio", flush.median / raw_flush.median}}}};
}

namespace {

constexpr int64_t kForkTokens = 1'000'000;

/// What Runtime::ForkSession commits for a request with an id.
JournalBatch ForkBatch(int number) {
  JournalBatch batch;
  const std::string name = "fork-" + std::to_string(number * 7919 % 100'003);
  SessionRecord fork;
  fork.id = name;
  fork.title = "A title of some words";
  fork.created_ms = 1'700'000'000'000 + number;
  batch.forks.push_back({fork, {kSession, 0, 1, kForkTokens}});
  EventRecord event;
  event.session = name;
  event.seq = 2;
  event.time_ms = fork.created_ms;
  event.kind = "session_forked";
  event.payload = R"({"session":"bench","timeline":1,"seq":1,"tokens":1000000})";
  batch.events.push_back(event);
  batch.answers.push_back(
      {"request-" + name, "ForkSession", R"({"session":")" + name + R"("})", fork.created_ms});
  return batch;
}

}  // namespace

Result<Json> BenchSessionFork(int repeats, const std::string& folder) {
  JournalOptions options;
  options.path = folder + "/fork-journal.db";
  ASSIGN_OR_RETURN(auto journal, Journal::Open(options));
  JournalBatch origin;
  SessionRecord session;
  session.id = kSession;
  session.settings = "{}";
  origin.create_sessions.push_back(session);
  TokenRun run;
  run.session = kSession;
  run.ids.assign(kForkTokens, 12345);
  origin.tokens.push_back(std::move(run));
  EventRecord event;
  event.session = kSession;
  event.seq = 1;
  event.kind = "turn_finished";
  event.payload = "{}";
  origin.events.push_back(event);
  RETURN_IF_ERROR(journal->Commit(origin, Durability::kSynced));
  RETURN_IF_ERROR(journal->Compact());
  RETURN_IF_ERROR(journal->Commit(ForkBatch(0), Durability::kSynced));  // begins the log
  std::vector<double> fork_ms;
  std::vector<double> put_ms;
  std::vector<double> bytes;
  for (int number = 1; number <= repeats; ++number) {
    ASSIGN_OR_RETURN(const int64_t before, journal->BytesOnDisk());
    const auto start = std::chrono::steady_clock::now();
    RETURN_IF_ERROR(journal->Commit(ForkBatch(number), Durability::kSynced));
    fork_ms.push_back(MsSince(start));
    ASSIGN_OR_RETURN(const int64_t after, journal->BytesOnDisk());
    if (after > before) bytes.push_back(static_cast<double>(after - before));
    ASSIGN_OR_RETURN(const double ms, SyncedAppendMs(folder, 4096));
    put_ms.push_back(ms);
  }
  if (bytes.empty()) return InternalError("the log never grew");
  const double ratio = Summarise(fork_ms).median / Summarise(put_ms).median;
  return Json{{"tokens", kForkTokens},
              {"log_bytes", ToJson(Summarise(bytes))},
              {"log_bytes_bar", 4096},
              {"fork_ms", ToJson(Summarise(fork_ms))},
              {"synced_put_ms", ToJson(Summarise(put_ms))},
              {"ratio", ratio},
              {"bar", 5.0}};
}

}  // namespace baleen::cli
