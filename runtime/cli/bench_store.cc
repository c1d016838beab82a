// The store as it grows and as a quota presses on it; and the commands of all store benches.
#include "runtime/cli/bench_store.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <functional>
#include <iostream>
#include <memory>
#include <thread>
#include <utility>

#include "runtime/cli/flags.h"
#include "runtime/cli/flash_store.h"
#include "runtime/cli/scratch_folder.h"
#include "runtime/store/kv_store.h"
#include "runtime/store/kv_upkeep.h"

namespace baleen::cli {
namespace {

Result<int64_t> CheckpointBytes(KvStore& store) {
  ASSIGN_OR_RETURN(const auto entries, store.ListAllCheckpoints());
  int64_t bytes = 0;
  for (const CheckpointEntry& entry : entries) bytes += entry.bytes;
  return bytes;
}

}  // namespace

Result<Json> BenchStoreGrowth(const StoreBenchFlags& flags, const std::string& folder) {
  const FlashSession session(1, flags.tokens, flags.block_tokens);
  ASSIGN_OR_RETURN(const BlockShape shape, FlashShape(flags.block_tokens));
  ASSIGN_OR_RETURN(auto store, OpenFlashStore(folder, flags.reader_threads));
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
  ASSIGN_OR_RETURN(auto store, OpenFlashStore(folder, flags.reader_threads));
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
