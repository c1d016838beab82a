#include "runtime/cli/bench_store.h"

#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <random>
#include <set>
#include <thread>
#include <utility>

#include "runtime/cli/flags.h"
#include "runtime/cli/flash_store.h"
#include "runtime/cli/raw_reads.h"
#include "runtime/store/journal.h"
#include "runtime/store/kv_store.h"
#include "runtime/store/kv_upkeep.h"

namespace baleen::cli {
namespace {

constexpr int64_t kRawPieceBytes = 1 << 20;

double CpuMs() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto ms = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_usec) / 1e3;
  };
  return ms(usage.ru_utime) + ms(usage.ru_stime);
}

Result<std::unique_ptr<KvStore>> OpenStore(const std::string& folder,
                                           const StoreBenchFlags& flags) {
  KvStoreOptions options;
  options.path = folder + "/kv";
  options.reader_threads = flags.reader_threads;
  return KvStore::Open(options, nullptr);
}

Result<int64_t> CheckpointBytes(KvStore& store) {
  ASSIGN_OR_RETURN(const auto entries, store.ListAllCheckpoints());
  int64_t bytes = 0;
  for (const CheckpointEntry& entry : entries) bytes += entry.bytes;
  return bytes;
}

std::vector<std::string> TableFiles(const std::string& folder) {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder + "/kv/db")) {
    if (entry.path().extension() == ".sst") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

/// Memory for the units of a session, and the reads that fill it.
class UnitPlan {
 public:
  UnitPlan(const FlashSession& session, const BlockShape& shape)
      : session_(session), shape_(shape) {}

  void Add(int64_t block, int32_t unit) {
    UnitRead read;
    read.key = session_.key(block);
    read.unit = unit;
    read.tokens = session_.tokens(block);
    reads_.push_back(std::move(read));
    bytes_ += shape_.extent(unit).bytes;
  }

  /// Sets every `out`. The memory is touched here, as a RAM tier's would have been.
  void Place() {
    memory_.assign(static_cast<size_t>(bytes_), std::byte{1});
    size_t at = 0;
    for (UnitRead& read : reads_) {
      const auto bytes = static_cast<size_t>(shape_.extent(read.unit).bytes);
      read.out = std::span(memory_).subspan(at, bytes);
      at += bytes;
    }
  }

  std::vector<UnitRead>& reads() { return reads_; }
  int64_t bytes() const { return bytes_; }

 private:
  const FlashSession& session_;
  const BlockShape& shape_;
  std::vector<UnitRead> reads_;
  std::vector<std::byte> memory_;
  int64_t bytes_ = 0;
};

/// The blocks that `kFlashTopK` rows of a layer lie in, spread evenly at random: the worst case.
std::set<int64_t> SelectBlocks(std::mt19937_64& random, const FlashSession& session) {
  const int64_t rows = session.blocks() * session.block_tokens() / 4;
  std::uniform_int_distribution<int64_t> any(0, rows - 1);
  std::set<int64_t> blocks;
  for (int64_t i = 0; i < kFlashTopK; ++i) {
    blocks.insert(any(random) / (session.block_tokens() / 4));
  }
  return blocks;
}

/// One way of reading, against raw reads of the same bytes, in turns.
struct Comparison {
  std::vector<double> store_ms;
  std::vector<double> raw_ms[2];  ///< One thread; as many as the store has.
  std::vector<double> store_cpu_ms;
  std::vector<double> raw_cpu_ms[2];

  Json Report(int64_t bytes, int threads) const {
    const Spread store = Summarise(store_ms);
    const Spread one = Summarise(raw_ms[0]);
    const Spread many = Summarise(raw_ms[1]);
    return {{"bytes", bytes},
            {"store_ms", ToJson(store)},
            {"raw_ms", ToJson(one)},
            {"raw_threads", threads},
            {"raw_threads_ms", ToJson(many)},
            {"store_cpu_ms", Summarise(store_cpu_ms).median},
            {"raw_cpu_ms", Summarise(raw_cpu_ms[0]).median},
            {"mb_per_s", static_cast<double>(bytes) / 1e3 / store.median},
            {"raw_mb_per_s", static_cast<double>(bytes) / 1e3 / std::min(one.median, many.median)},
            {"ratio", store.median / std::min(one.median, many.median)}};
  }
};

/// Where the units of a growing session lie: one behind the other, in the order of number and unit.
std::vector<FileRange> UnitRanges(const FileRow& files, const std::vector<UnitRead>& reads,
                                  const std::vector<int64_t>& ordinals, int64_t units_total) {
  std::vector<FileRange> ranges;
  const int64_t stride = files.bytes() / std::max<int64_t>(units_total, 1);
  std::vector<int64_t> sorted = ordinals;
  std::sort(sorted.begin(), sorted.end());
  for (size_t i = 0; i < sorted.size(); ++i) {
    const auto parts = files.Ranges(sorted[i] * stride, std::ssize(reads[i].out), kRawPieceBytes);
    ranges.insert(ranges.end(), parts.begin(), parts.end());
  }
  return ranges;
}

}  // namespace

Result<Json> BenchStoreGrowth(const StoreBenchFlags& flags, const std::string& folder) {
  const FlashSession session(1, flags.tokens, flags.block_tokens);
  ASSIGN_OR_RETURN(const BlockShape shape, FlashShape(flags.block_tokens));
  ASSIGN_OR_RETURN(auto store, OpenStore(folder, flags));
  const auto start = std::chrono::steady_clock::now();
  RETURN_IF_ERROR(session.Write(*store, shape, 0, session.blocks(), flags.checkpoint_tokens));
  const double fill_ms = MsSince(start);
  ASSIGN_OR_RETURN(const KvStoreCounters counters, store->Counters());
  ASSIGN_OR_RETURN(const int64_t checkpoint_bytes, CheckpointBytes(*store));
  const auto stored_tokens = static_cast<double>(session.blocks() * flags.block_tokens);
  const double bytes_per_token =
      static_cast<double>(counters.bytes_on_disk - checkpoint_bytes) / stored_tokens;
  return Json{{"bench", "store"},
              {"shape", "flash"},
              {"tokens", session.blocks() * flags.block_tokens},
              {"block_tokens", flags.block_tokens},
              {"blocks", session.blocks()},
              {"fill_ms", fill_ms},
              {"bytes_on_disk", counters.bytes_on_disk},
              {"checkpoint_bytes", checkpoint_bytes},
              {"bytes_per_token", bytes_per_token},
              {"bytes_per_token_ratio", bytes_per_token / kFlashTokenBytes},
              {"bytes_per_token_bar", 1.05},
              {"payload_bytes_put", counters.payload_bytes_put},
              {"file_bytes_written", counters.file_bytes_written},
              {"write_amplification", counters.WriteAmplification()},
              {"write_amplification_bar", 1.3}};
}

Result<Json> BenchStoreResume(const StoreBenchFlags& flags, const std::string& folder) {
  const FlashSession session(1, flags.tokens, flags.block_tokens);
  ASSIGN_OR_RETURN(const BlockShape shape, FlashShape(flags.block_tokens));
  {
    ASSIGN_OR_RETURN(auto store, OpenStore(folder, flags));
    RETURN_IF_ERROR(session.Write(*store, shape, 0, session.blocks(), flags.checkpoint_tokens));
  }
  UnitPlan full(session, shape);
  UnitPlan resident(session, shape);
  for (int64_t block = 0; block < session.blocks(); ++block) {
    resident.Add(block, 0);
    for (int32_t unit = 0; unit < shape.units(); ++unit) full.Add(block, unit);
  }
  UnitPlan selected(session, shape);
  std::vector<int64_t> ordinals;
  std::mt19937_64 random(flags.tokens);
  for (int32_t unit = 1; unit < shape.units(); ++unit) {
    for (const int64_t block : SelectBlocks(random, session)) {
      selected.Add(block, unit);
      ordinals.push_back(block * kFlashCsaLayers + unit - 1);
    }
  }
  for (UnitPlan* plan : {&full, &resident, &selected}) plan->Place();
  ASSIGN_OR_RETURN(const FileRow tables, FileRow::Open(TableFiles(folder)));
  // The same number of bytes from the same files.
  const auto all = tables.Ranges(0, full.bytes(), kRawPieceBytes);
  const auto residents = tables.Ranges(0, resident.bytes(), kRawPieceBytes);
  const auto units =
      UnitRanges(tables, selected.reads(), ordinals, session.blocks() * kFlashCsaLayers);
  Json json = {{"bench", "resume"},
               {"shape", "flash"},
               {"tokens", session.blocks() * flags.block_tokens},
               {"block_tokens", flags.block_tokens},
               {"reader_threads", flags.reader_threads},
               {"cold", "posix_fadvise(DONTNEED) on every file, the store opened anew"}};
  std::vector<double> open_ms;
  for (const bool cold : {true, false}) {
    Comparison compare[3];
    for (int i = 0; i < flags.repeats; ++i) {
      const std::pair<UnitPlan*, const std::vector<FileRange>*> parts[] = {
          {&full, &all}, {&resident, &residents}, {&selected, &units}};
      for (int part = 0; part < 3; ++part) {
        if (cold) ForgetFiles(folder);
        auto start = std::chrono::steady_clock::now();
        ASSIGN_OR_RETURN(auto store, OpenStore(folder, flags));
        open_ms.push_back(MsSince(start));
        start = std::chrono::steady_clock::now();
        const double cpu = CpuMs();
        RETURN_IF_ERROR(store->LoadUnits(parts[part].first->reads(), shape));
        compare[part].store_ms.push_back(MsSince(start));
        compare[part].store_cpu_ms.push_back(CpuMs() - cpu);
        for (UnitRead& read : parts[part].first->reads()) read.number = 0;
        store.reset();
        for (const int threads : {1, flags.reader_threads}) {
          if (cold) ForgetFiles(folder);
          const double raw_cpu = CpuMs();
          ASSIGN_OR_RETURN(const double ms, RawRead(*parts[part].second, threads));
          compare[part].raw_ms[threads == 1 ? 0 : 1].push_back(ms);
          compare[part].raw_cpu_ms[threads == 1 ? 0 : 1].push_back(CpuMs() - raw_cpu);
        }
        if (flags.reader_threads == 1) compare[part].raw_ms[1] = compare[part].raw_ms[0];
      }
    }
    json["open_ms"] = ToJson(Summarise(open_ms));
    Json& row = json[cold ? "cold_reads" : "warm_reads"];
    row["full"] = compare[0].Report(full.bytes(), flags.reader_threads);
    row["resident"] = compare[1].Report(resident.bytes(), flags.reader_threads);
    row["selected"] = compare[2].Report(selected.bytes(), flags.reader_threads);
    row["selected"]["units"] = selected.reads().size();
    const double lazy = row["resident"]["store_ms"]["median"].get<double>() +
                        row["selected"]["store_ms"]["median"].get<double>();
    const auto raw = [&](const char* name) {
      return std::min(row[name]["raw_ms"]["median"].get<double>(),
                      row[name]["raw_threads_ms"]["median"].get<double>());
    };
    row["lazy"] = {{"bytes", resident.bytes() + selected.bytes()},
                   {"store_ms", lazy},
                   {"raw_ms", raw("resident") + raw("selected")},
                   {"ratio", lazy / (raw("resident") + raw("selected"))}};
  }
  return json;
}

namespace {

/// How long single puts take, while something else goes on.
class PutClock {
 public:
  PutClock(KvStore& store, const BlockShape& shape, const FlashSession& session)
      : store_(store), shape_(shape), session_(session), bytes_(shape.block_bytes()) {}

  /// Puts blocks, one each `pause`, until `stop`.
  Status Run(const std::atomic<bool>& stop, std::chrono::milliseconds pause) {
    std::vector<double> ms;
    while (!stop && next_ < session_.blocks()) {
      FillRandom(static_cast<uint64_t>(next_), bytes_);
      const auto start = std::chrono::steady_clock::now();
      RETURN_IF_ERROR(store_.PutBlock(session_.key(next_), session_.tokens(next_), shape_, bytes_));
      ms.push_back(MsSince(start));
      if (++next_ % 16 == 0) RETURN_IF_ERROR(store_.Flush());
      std::this_thread::sleep_for(pause);
    }
    if (ms.empty()) ms.push_back(0);
    std::sort(ms.begin(), ms.end());
    latest_ = {{"puts", ms.size()},
               {"median_ms", ms[ms.size() / 2]},
               {"p99_ms", ms[ms.size() * 99 / 100]},
               {"max_ms", ms.back()}};
    return OkStatus();
  }
  const Json& latest() const { return latest_; }

 private:
  KvStore& store_;
  const BlockShape& shape_;
  const FlashSession& session_;
  std::vector<std::byte> bytes_;
  int64_t next_ = 0;
  Json latest_;
};

/// Runs `work` while puts go on; their times.
Result<Json> TimePuts(PutClock& clock, const std::function<Status()>& work) {
  std::atomic<bool> stop{false};
  Status put;
  std::thread writer([&] { put = clock.Run(stop, std::chrono::milliseconds(5)); });
  const Status status = work();
  stop = true;
  writer.join();
  RETURN_IF_ERROR(status);
  RETURN_IF_ERROR(put);
  return clock.latest();
}

constexpr int64_t kEvictionSessions = 8;

}  // namespace

Result<Json> BenchStoreEviction(const StoreBenchFlags& flags, const std::string& folder) {
  ASSIGN_OR_RETURN(const BlockShape shape, FlashShape(flags.block_tokens));
  std::vector<FlashSession> sessions;
  for (int64_t i = 0; i <= kEvictionSessions; ++i) {
    sessions.emplace_back(i, flags.tokens / kEvictionSessions, flags.block_tokens);
  }
  ASSIGN_OR_RETURN(auto store, OpenStore(folder, flags));
  // As sessions lie that grew together: a few blocks of each in every file.
  const int64_t blocks = sessions[0].blocks();
  for (int64_t first = 0; first < blocks; first += 2) {
    for (int64_t i = 0; i < kEvictionSessions; ++i) {
      RETURN_IF_ERROR(sessions[static_cast<size_t>(i)].Write(
          *store, shape, first, std::min(first + 2, blocks), flags.checkpoint_tokens));
    }
  }
  ASSIGN_OR_RETURN(const int64_t full, store->BytesOnDisk());
  KvUpkeepOptions options;
  options.block_tokens = flags.block_tokens;
  options.quota_bytes = full / 2;
  KvUpkeep upkeep(store.get(), options, [&](const KvClaimant& claimant) {
    std::vector<KvClaim> claims;
    for (size_t i = 0; i < sessions.size(); ++i) {
      claims.push_back(claimant.Claim(sessions[i].all_tokens(), FlashSession::scope()));
      claims.back().used_ms = static_cast<int64_t>(i);
      claims.back().held = i + 1 == sessions.size();
    }
    return Result<std::vector<KvClaim>>(std::move(claims));
  });
  PutClock clock(*store, shape, sessions.back());
  ASSIGN_OR_RETURN(const Json alone, TimePuts(clock, [] {
                     std::this_thread::sleep_for(std::chrono::milliseconds(500));
                     return OkStatus();
                   }));
  ASSIGN_OR_RETURN(const KvStoreCounters before, store->Counters());
  KvUpkeepReport report;
  const auto start = std::chrono::steady_clock::now();
  ASSIGN_OR_RETURN(const Json beside, TimePuts(clock, [&]() -> Status {
                     ASSIGN_OR_RETURN(report, upkeep.Run());
                     return OkStatus();
                   }));
  const double ms = MsSince(start);
  ASSIGN_OR_RETURN(const KvStoreCounters after, store->Counters());
  ASSIGN_OR_RETURN(const KvStoreReport verified, store->Verify());
  if (!verified.problems.empty()) return DataLossError(verified.problems[0]);
  return Json{{"bench", "evict"},
              {"shape", "flash"},
              {"tokens", blocks * flags.block_tokens * kEvictionSessions},
              {"sessions", kEvictionSessions},
              {"block_tokens", flags.block_tokens},
              {"quota_bytes", options.quota_bytes},
              {"bytes_before", full},
              {"bytes_after", report.bytes_on_disk},
              {"blocks_evicted", report.blocks_evicted},
              {"checkpoints_thinned", report.checkpoints_thinned},
              {"upkeep_ms", ms},
              {"bytes_written_meanwhile", after.file_bytes_written - before.file_bytes_written},
              {"puts_alone", alone},
              {"puts_beside_upkeep", beside}};
}

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
  ASSIGN_OR_RETURN(auto store, OpenStore(folder, flags));
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

namespace {

using StoreBench = Result<Json> (*)(const StoreBenchFlags& flags, const std::string& folder);

/// Figures and bars, a line each.
void PrintFlat(const Json& json, const std::string& indent) {
  for (const auto& [name, value] : json.items()) {
    const bool spread = value.is_object() && value.size() == 3 && value.contains("median");
    if (spread) {
      std::printf("%s%s: %.3f (%.3f..%.3f)\n", indent.c_str(), name.c_str(),
                  value["median"].get<double>(), value["low"].get<double>(),
                  value["high"].get<double>());
    } else if (value.is_object()) {
      std::printf("%s%s:\n", indent.c_str(), name.c_str());
      PrintFlat(value, indent + "  ");
    } else {
      std::printf("%s%s: %s\n", indent.c_str(), name.c_str(), value.dump().c_str());
    }
  }
}

int RunStoreBench(StoreBench bench, const StoreBenchFlags& flags) {
  const ScratchFolder folder;
  if (!folder.status().ok()) return Fail(folder.status(), flags.json);
  const auto result = bench(flags, folder.path());
  if (!result.ok()) return Fail(result.status(), flags.json);
  if (flags.json) {
    std::cout << result->dump(2) << "\n";
  } else {
    PrintFlat(*result, "");
  }
  return kExitOk;
}

void AddStoreBench(CLI::App& bench, const char* name, const char* summary,
                   const StoreBenchFlags& defaults, StoreBench run, int* exit_code) {
  auto flags = std::make_shared<StoreBenchFlags>(defaults);  // owners: the callback
  CLI::App* app = bench.add_subcommand(name, summary);
  app->add_option("--shape", flags->shape, "Synthetic rows of that model's sizes")
      ->capture_default_str()
      ->check(CLI::IsMember({"flash"}));
  app->add_option("--tokens", flags->tokens)
      ->capture_default_str()
      ->check(CLI::Range(int64_t{256}, int64_t{1} << 24));
  app->add_option("--repeats", flags->repeats)->capture_default_str()->check(CLI::Range(1, 1000));
  app->add_option("--block-tokens", flags->block_tokens, "Tokens per block")
      ->capture_default_str()
      ->check(CLI::IsMember({128, 256, 512, 1024}));
  app->add_flag("--json", flags->json);
  app->callback([flags, run, exit_code] { *exit_code = RunStoreBench(run, *flags); });
}

}  // namespace

void AddStoreBenches(CLI::App& bench, int* exit_code) {
  StoreBenchFlags defaults;
  AddStoreBench(bench, "store", "Bytes per token and write amplification of a growing session",
                defaults, &BenchStoreGrowth, exit_code);
  defaults.tokens = 1 << 18;
  AddStoreBench(bench, "evict", "A quota that forces out half of what is stored, beside writes",
                defaults, &BenchStoreEviction, exit_code);
  defaults.tokens = 256;
  defaults.repeats = 50;
  AddStoreBench(bench, "commit", "A turn's synced commit, beside append and fdatasync", defaults,
                &BenchCommit, exit_code);
}

int RunStoreResume(const StoreBenchFlags& flags) { return RunStoreBench(&BenchStoreResume, flags); }

}  // namespace baleen::cli
