// `baleen bench resume|fork|writes`: what the session store gives an engine, beside what it must
// cost.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <future>
#include <iostream>
#include <memory>

#include "model/model.h"
#include "runtime/cli/bench_measure.h"
#include "runtime/cli/bench_store.h"
#include "runtime/cli/flags.h"
#include "runtime/cli/scratch_folder.h"
#include "runtime/engine/kv_restore.h"
#include "runtime/engine/live_sequence.h"
#include "runtime/store/kv_store.h"
#include "runtime/worker.h"

namespace baleen::cli {
namespace {

using std::chrono::steady_clock;

struct EngineBenchFlags {
  std::string model;
  std::string shape;  ///< Instead of a model: synthetic rows.
  int64_t tokens = 20000;
  int repeats = 5;
  std::string csv;
  bool json = false;
};

constexpr size_t kChunk = 512;

/// A model, a store in `folder`, and random tokens.
struct Bed {
  static Result<Bed> Make(const EngineBenchFlags& flags, const std::string& folder) {
    Bed bed;
    bed.kv_path = folder + "/kv";
    ASSIGN_OR_RETURN(const std::string path, ModelOrDefault(flags.model));
    ASSIGN_OR_RETURN(bed.model, Model::Open(path, {}));
    KvStoreOptions kv;
    kv.path = bed.kv_path;
    ASSIGN_OR_RETURN(bed.store, KvStore::Open(kv, nullptr));
    bed.storage = std::make_unique<Worker>(1, 64);
    uint64_t state = 1;
    const auto vocab = static_cast<uint64_t>(bed.model->config().vocab);
    for (int64_t i = 0; i < flags.tokens; ++i) {
      state = state * 6364136223846793005ULL + 1442695040888963407ULL;
      bed.tokens.push_back(static_cast<int32_t>((state >> 33) % vocab));
    }
    return bed;
  }
  KvHome home() const {
    return {model.get(),
            store.get(),
            &storage->queue(),
            {model->fingerprint(), model->arithmetic_id(), "bench"}};
  }
  std::span<const int32_t> Prefix(int64_t count) const {
    return std::span(tokens).first(static_cast<size_t>(count));
  }
  /// Returns once everything that was handed to the KV thread is written.
  void WaitForStorage() const {
    std::promise<void> written;
    storage->queue().Push([&] { written.set_value(); });
    written.get_future().wait();
  }

  std::string kv_path;
  std::unique_ptr<Model> model;
  std::unique_ptr<KvStore> store;
  std::unique_ptr<Worker> storage;
  std::vector<int32_t> tokens;
};

Status Prefill(LiveSequence& sequence, std::span<const int32_t> tokens) {
  while (sequence.position() < std::ssize(tokens)) {
    const auto at = static_cast<size_t>(sequence.position());
    const size_t count = std::min(kChunk, tokens.size() - at);
    RETURN_IF_ERROR(sequence.Append(tokens.subspan(at, count), LogitsWanted::kNone, nullptr));
  }
  return OkStatus();
}

/// One decoded token; late rows are waited for.
Status Step(KvTiers& tiers, LiveSequence& sequence, int32_t token) {
  std::vector<float> logits;
  while (true) {
    const Status status = sequence.Append({&token, 1}, LogitsWanted::kLast, &logits);
    if (status.code() != StatusCode::kDeadlineExceeded) return status;
    tiers.loader.Await(tiers.loader.TakeLate(), std::chrono::seconds(10));
  }
}

// --- resume -------------------------------------------------------------------------------------

/// Lengths at which a resume is timed: powers of two from 1,024 on, and the whole.
std::vector<int64_t> CurveLengths(int64_t tokens) {
  std::vector<int64_t> lengths;
  for (int64_t length = 1024; length < tokens; length *= 2) lengths.push_back(length);
  lengths.push_back(tokens);
  return lengths;
}

struct ResumeTimes {
  std::vector<double> full_ms;         ///< Until every row is there.
  std::vector<double> first_token_ms;  ///< Lazily: restore, and one token's logits.
  std::vector<double> raw_ms;
  int64_t raw_bytes = 0;
  int64_t restored_bytes = 0;
  int64_t lazy_bytes = 0;  ///< Read before the first token.
};

Result<ResumeTimes> TimeResumes(const Bed& bed, int64_t length, bool cold, int repeats) {
  ResumeTimes times;
  std::vector<char> buffer(1 << 20);
  for (int i = 0; i < repeats; ++i) {
    for (const bool lazy : {false, true}) {
      KvTierOptions options;
      options.lazy = lazy;
      KvTiers tiers(bed.home(), options);
      RestoreReport report;
      if (cold) ForgetFiles(bed.kv_path);
      const auto begin = steady_clock::now();
      ASSIGN_OR_RETURN(const auto restored,
                       RestoreSequence(tiers, TokenList(bed.Prefix(length)), 0, &report));
      if (restored == nullptr || restored->position() != length) {
        return InternalError("the stored sequence of " + std::to_string(length) +
                             " tokens did not come back");
      }
      if (!lazy) {
        times.full_ms.push_back(MsSince(begin));
        times.restored_bytes = report.bytes_read;
        continue;
      }
      RETURN_IF_ERROR(Step(tiers, *restored, bed.tokens.front()));
      times.first_token_ms.push_back(MsSince(begin));
      times.lazy_bytes = report.bytes_read + restored->TakeReport().waits.bytes;
    }
    if (cold) ForgetFiles(bed.kv_path);
    const auto begin = steady_clock::now();
    times.raw_bytes = ReadFiles(bed.kv_path, &buffer);
    times.raw_ms.push_back(MsSince(begin));
  }
  return times;
}

Json ResumeRow(const ResumeTimes& times) {
  const Spread full = Summarise(times.full_ms);
  const Spread raw = Summarise(times.raw_ms);
  return {{"bytes_restored", times.restored_bytes},
          {"restore_ms", ToJson(full)},
          {"first_token_ms", ToJson(Summarise(times.first_token_ms))},
          {"bytes_before_first_token", times.lazy_bytes},
          {"raw_bytes", times.raw_bytes},
          {"raw_read_ms", ToJson(raw)},
          {"ratio", full.median / raw.median}};
}

Result<Json> BenchResume(const EngineBenchFlags& flags, const std::string& folder) {
  ASSIGN_OR_RETURN(const Bed bed, Bed::Make(flags, folder));
  const std::vector<int64_t> lengths = CurveLengths(flags.tokens);
  std::vector<double> prefill_ms;
  double step_ms = 0;
  {
    KvTiers tiers(bed.home(), {});
    LiveSequence sequence(tiers);
    const auto start = steady_clock::now();
    for (const int64_t length : lengths) {
      RETURN_IF_ERROR(Prefill(sequence, bed.Prefix(length)));
      sequence.Checkpoint(kTurnCheckpoint);
      prefill_ms.push_back(MsSince(start));
    }
    const auto step = steady_clock::now();
    RETURN_IF_ERROR(Step(tiers, sequence, bed.tokens.front()));
    step_ms = MsSince(step);
    bed.WaitForStorage();
  }
  Json json = {{"bench", "resume"},
               {"tokens", flags.tokens},
               {"prefill_ms", prefill_ms.back()},
               {"step_ms", step_ms},
               {"bar", 1.5}};
  for (const bool cold : {true, false}) {
    ASSIGN_OR_RETURN(const ResumeTimes times, TimeResumes(bed, flags.tokens, cold, flags.repeats));
    json[cold ? "cold" : "warm"] = ResumeRow(times);
  }
  json["prefill_over_cold_restore"] =
      prefill_ms.back() / json["cold"]["restore_ms"]["median"].get<double>();
  json["curve"] = Json::array();
  for (size_t i = 0; i < lengths.size(); ++i) {
    ASSIGN_OR_RETURN(const ResumeTimes times, TimeResumes(bed, lengths[i], true, flags.repeats));
    json["curve"].push_back({{"tokens", lengths[i]},
                             {"prefill_ms", prefill_ms[i]},
                             {"resume_ms", Summarise(times.full_ms).median},
                             {"first_token_ms", Summarise(times.first_token_ms).median}});
  }
  return json;
}

Status WriteCurve(const std::string& path, const Json& curve) {
  std::ofstream file(path);
  file << "tokens,prefill_ms,resume_ms,first_token_ms\n";
  for (const Json& point : curve) {
    file << point["tokens"] << ',' << point["prefill_ms"] << ',' << point["resume_ms"] << ','
         << point["first_token_ms"] << '\n';
  }
  file.close();
  return file.good() ? OkStatus() : UnavailableError("can't write '" + path + "'");
}

void PrintResume(const Json& json) {
  for (const char* state : {"cold", "warm"}) {
    const Json& row = json[state];
    std::printf(
        "%s resume of %lld tokens: %.2f ms (%.2f..%.2f), lazily to the first token %.2f ms; raw "
        "read of the store's %.1f MB: %.2f ms; ratio %.2f\n",
        state, json["tokens"].get<long long>(), row["restore_ms"]["median"].get<double>(),
        row["restore_ms"]["low"].get<double>(), row["restore_ms"]["high"].get<double>(),
        row["first_token_ms"]["median"].get<double>(), row["raw_bytes"].get<double>() / 1e6,
        row["raw_read_ms"]["median"].get<double>(), row["ratio"].get<double>());
  }
  std::printf(
      "bar, cold: at most %.1f x the raw read: %s; prefill took %.0f ms, %.0f x the cold "
      "resume\n",
      json["bar"].get<double>(),
      json["cold"]["ratio"].get<double>() <= json["bar"].get<double>() ? "met" : "missed",
      json["prefill_ms"].get<double>(), json["prefill_over_cold_restore"].get<double>());
  for (const Json& point : json["curve"]) {
    std::printf("%8lld tokens: prefill %10.1f ms, resume %8.2f ms, to the first token %8.2f ms\n",
                point["tokens"].get<long long>(), point["prefill_ms"].get<double>(),
                point["resume_ms"].get<double>(), point["first_token_ms"].get<double>());
  }
}

// --- fork ---------------------------------------------------------------------------------------

/// A fork of a live sequence inside the engine, and the checkpoint that is written behind it.
Result<Json> BenchFork(const EngineBenchFlags& flags, const std::string& folder) {
  ASSIGN_OR_RETURN(const Bed bed, Bed::Make(flags, folder));
  KvTiers tiers(bed.home(), {});
  LiveSequence trunk(tiers);
  RETURN_IF_ERROR(Prefill(trunk, bed.tokens));
  bed.WaitForStorage();
  ASSIGN_OR_RETURN(const KvStoreCounters before, bed.store->Counters());
  std::vector<double> fork_ms;
  std::vector<double> first_token_ms;
  std::vector<double> checkpoint_ms;
  std::vector<double> put_ms;
  for (int i = 0; i < flags.repeats; ++i) {
    auto begin = steady_clock::now();
    const auto fork = trunk.Fork();
    fork_ms.push_back(MsSince(begin));
    RETURN_IF_ERROR(Step(tiers, *fork, static_cast<int32_t>(i % 251)));
    first_token_ms.push_back(MsSince(begin));
    begin = steady_clock::now();
    fork->Checkpoint(kForkCheckpoint);
    bed.WaitForStorage();
    checkpoint_ms.push_back(MsSince(begin));
    ASSIGN_OR_RETURN(const double ms, SyncedAppendMs(folder, 4096));
    put_ms.push_back(ms);
  }
  ASSIGN_OR_RETURN(const KvStoreCounters counters, bed.store->Counters());
  ASSIGN_OR_RETURN(const Json session, BenchSessionFork(flags.repeats, folder));
  return Json{{"bench", "fork"},
              {"session", session},
              {"tokens", flags.tokens},
              {"fork_ms", ToJson(Summarise(fork_ms))},
              {"fork_and_first_token_ms", ToJson(Summarise(first_token_ms))},
              {"units_read", counters.units_read - before.units_read},
              {"checkpoint_bytes", std::ssize(trunk.cache().SaveCheckpoint())},
              {"checkpoint_behind_ms", ToJson(Summarise(checkpoint_ms))},
              {"synced_put_ms", ToJson(Summarise(put_ms))},
              {"ratio", Summarise(fork_ms).median / Summarise(put_ms).median},
              {"bar", 5.0}};
}

void PrintFork(const Json& json) {
  std::printf(
      "fork of a live sequence of %lld tokens: %.3f ms, with its first token %.2f ms, %lld units "
      "read; one synced put of 4 KB: %.3f ms; ratio %.2f, bar %.1f: %s\n"
      "its checkpoint, written behind: %.1f KB, durable after %.2f ms\n",
      json["tokens"].get<long long>(), json["fork_ms"]["median"].get<double>(),
      json["fork_and_first_token_ms"]["median"].get<double>(), json["units_read"].get<long long>(),
      json["synced_put_ms"]["median"].get<double>(), json["ratio"].get<double>(),
      json["bar"].get<double>(),
      json["ratio"].get<double>() <= json["bar"].get<double>() ? "met" : "missed",
      json["checkpoint_bytes"].get<double>() / 1e3,
      json["checkpoint_behind_ms"]["median"].get<double>());
  const Json& session = json["session"];
  std::printf(
      "fork of a session of %lld tokens, as one commit: %.3f ms, %.0f bytes of log "
      "(%.0f..%.0f); one synced put of 4 KB: %.3f ms; ratio %.2f, bar %.1f: %s\n",
      session["tokens"].get<long long>(), session["fork_ms"]["median"].get<double>(),
      session["log_bytes"]["median"].get<double>(), session["log_bytes"]["low"].get<double>(),
      session["log_bytes"]["high"].get<double>(), session["synced_put_ms"]["median"].get<double>(),
      session["ratio"].get<double>(), session["bar"].get<double>(),
      session["ratio"].get<double>() <= session["bar"].get<double>() ? "met" : "missed");
}

// --- writes -------------------------------------------------------------------------------------

/// Decodes `count` tokens; milliseconds.
Result<double> DecodeMs(const KvHome& home, std::span<const int32_t> start, int64_t count) {
  KvTiers tiers(home, {});
  LiveSequence sequence(tiers);
  RETURN_IF_ERROR(Prefill(sequence, start));
  const auto begin = steady_clock::now();
  for (int64_t i = 0; i < count; ++i) {
    RETURN_IF_ERROR(Step(tiers, sequence, static_cast<int32_t>(i % 251)));
    // As the engine does at its borders: a checkpoint and a flush per two blocks is far more often.
    if ((i + 1) % (2 * kBlockTokens) == 0) sequence.Checkpoint(kPeriodicCheckpoint);
  }
  const double ms = MsSince(begin);
  if (home.storage != nullptr) {
    std::promise<void> written;
    home.storage->Push([&] { written.set_value(); });
    written.get_future().wait();
  }
  return ms;
}

/// A decoder whose blocks and checkpoints are written behind it, and one that keeps nothing, in
/// turn; each pair begins with a context of its own, so that every block is new.
Result<Json> BenchWrites(const EngineBenchFlags& flags, const std::string& folder) {
  ASSIGN_OR_RETURN(const Bed bed, Bed::Make(flags, folder));
  KvHome nowhere = bed.home();
  nowhere.store = nullptr;
  nowhere.storage = nullptr;
  constexpr int64_t kDecoded = 4 * kBlockTokens;
  constexpr int64_t kContext = 64;
  std::vector<double> with;
  std::vector<double> without;
  std::vector<double> ratios;
  for (int pair = 0; pair < flags.repeats; ++pair) {
    std::vector<int32_t> context(bed.tokens.begin(), bed.tokens.begin() + kContext);
    for (size_t digit = 0; digit < 4; ++digit) context[digit] = (pair >> (4 * digit)) & 15;
    double ms[2] = {0, 0};
    for (int turn = 0; turn < 2; ++turn) {
      const bool writes = (pair + turn) % 2 == 0;
      ASSIGN_OR_RETURN(ms[writes ? 0 : 1],
                       DecodeMs(writes ? bed.home() : nowhere, context, kDecoded));
    }
    with.push_back(ms[0]);
    without.push_back(ms[1]);
    ratios.push_back(ms[0] / ms[1]);
  }
  const Spread ratio = Summarise(ratios);
  return Json{{"bench", "writes"},
              {"pairs", flags.repeats},
              {"tokens_per_run", kDecoded},
              {"writing_ms", ToJson(Summarise(with))},
              {"not_writing_ms", ToJson(Summarise(without))},
              {"ratio", ToJson(ratio)},
              {"bar", 1.05}};
}

void PrintWrites(const Json& json) {
  std::printf(
      "decoding %lld tokens, %lld pairs: %.1f ms while blocks are written (%.1f..%.1f), %.1f ms "
      "without (%.1f..%.1f); ratio %.3f (%.3f..%.3f), bar %.2f: %s\n",
      json["tokens_per_run"].get<long long>(), json["pairs"].get<long long>(),
      json["writing_ms"]["median"].get<double>(), json["writing_ms"]["low"].get<double>(),
      json["writing_ms"]["high"].get<double>(), json["not_writing_ms"]["median"].get<double>(),
      json["not_writing_ms"]["low"].get<double>(), json["not_writing_ms"]["high"].get<double>(),
      json["ratio"]["median"].get<double>(), json["ratio"]["low"].get<double>(),
      json["ratio"]["high"].get<double>(), json["bar"].get<double>(),
      json["ratio"]["median"].get<double>() <= json["bar"].get<double>() ? "met" : "missed");
}

// ------------------------------------------------------------------------------------------------

struct EngineBench {
  const char* name;
  const char* description;
  Result<Json> (*run)(const EngineBenchFlags& flags, const std::string& folder);
  void (*print)(const Json& json);
  int repeats;
};

constexpr EngineBench kEngineBenches[] = {
    {"resume", "Restoring a stored sequence, beside a raw read of the same files and the prefill",
     BenchResume, PrintResume, 5},
    {"fork", "Forking a live sequence, beside one synced write", BenchFork, PrintFork, 21},
    {"writes", "Decoding while blocks are written, beside decoding without a store", BenchWrites,
     PrintWrites, 20}};

int RunBench(const EngineBench& bench, const EngineBenchFlags& flags) {
  const ScratchFolder folder;
  if (!folder.status().ok()) return Fail(folder.status(), flags.json);
  const auto result = bench.run(flags, folder.path());
  if (!result.ok()) return Fail(result.status(), flags.json);
  if (!flags.csv.empty()) {
    const Status written = WriteCurve(flags.csv, (*result)["curve"]);
    if (!written.ok()) return Fail(written, flags.json);
  }
  if (flags.json) {
    std::cout << result->dump(2) << "\n";
  } else {
    bench.print(*result);
  }
  return kExitOk;
}

}  // namespace

void AddEngineBenches(CLI::App& app, int* exit_code) {
  for (const EngineBench& bench : kEngineBenches) {
    auto flags = std::make_shared<EngineBenchFlags>();  // owners: the callback
    flags->repeats = bench.repeats;
    CLI::App* command = app.add_subcommand(bench.name, bench.description);
    const bool resume = std::string_view(bench.name) == "resume";
    CLI::Option* model = command->add_option("--model", flags->model, kModelHelp);
    if (resume) {
      command
          ->add_option("--shape", flags->shape,
                       "Instead of a model: reads of the store alone, at that model's row sizes")
          ->check(CLI::IsMember({"flash"}))
          ->excludes(model);
    }
    command->add_option("--tokens", flags->tokens)
        ->capture_default_str()
        ->check(CLI::Range(int64_t{256}, int64_t{1} << 21));
    command->add_option("--repeats", flags->repeats)
        ->capture_default_str()
        ->check(CLI::Range(1, 1000));
    if (resume) {
      command->add_option("--csv", flags->csv, "Write times by length to this file, for a plot");
    }
    command->add_flag("--json", flags->json);
    command->callback([&bench, flags, exit_code] {
      if (!flags->shape.empty()) {
        StoreBenchFlags store;
        store.tokens = flags->tokens;
        store.repeats = flags->repeats;
        store.json = flags->json;
        *exit_code = RunStoreResume(store);
        return;
      }
      *exit_code = RunBench(bench, *flags);
    });
  }
}

}  // namespace baleen::cli
