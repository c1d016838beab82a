// `baleen bench`: timings against a limit that is measured in the same process and run.
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "model/model.h"
#include "runtime/cli/flags.h"
#include "runtime/engine/kv_restore.h"
#include "runtime/engine/live_sequence.h"
#include "runtime/store/kv_store.h"
#include "runtime/worker.h"

#ifdef BALEEN_WITH_GRPC
#include "runtime/grpc/server.h"
#endif

namespace baleen::cli {
namespace {

using Json = nlohmann::ordered_json;

struct ResumeFlags {
  std::string model;
  int64_t tokens = 20000;
  int repeats = 5;
  bool json = false;
};

double MsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

/// A folder below the temporary directory that goes with the object.
class ScratchFolder {
 public:
  ScratchFolder()
      : path_((std::filesystem::temp_directory_path() / "baleen-bench-XXXXXX").string()) {
    made_ = mkdtemp(path_.data()) != nullptr;
  }
  ~ScratchFolder() {
    std::error_code ignored;
    if (made_) std::filesystem::remove_all(path_, ignored);
  }
  bool made() const { return made_; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  bool made_ = false;
};

struct Spread {
  double low = 0;
  double median = 0;
  double high = 0;
};

Spread Summarise(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values.front(), values[values.size() / 2], values.back()};
}

/// Drops the files below `folder` from the page cache, so that the next read goes to the disk.
void Forget(const std::string& folder) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    const int fd = open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    if (fdatasync(fd) == 0) posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);  // clean pages only
    close(fd);
  }
}

/// Reads every file below `folder`; returns the bytes.
int64_t ReadFiles(const std::string& folder, std::vector<char>* buffer) {
  int64_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    while (file) {
      file.read(buffer->data(), static_cast<std::streamsize>(buffer->size()));
      bytes += file.gcount();
    }
  }
  return bytes;
}

Json ToJson(const Spread& spread) {
  return {{"median", spread.median}, {"low", spread.low}, {"high", spread.high}};
}

/// Restores and raw reads in turn, each after the files were forgotten if `cold`.
Result<Json> CompareRestore(const KvHome& home, const std::vector<int32_t>& tokens,
                            const std::string& folder, bool cold, int repeats) {
  std::vector<double> restore_ms;
  std::vector<double> raw_ms;
  std::vector<char> buffer(1 << 20);
  int64_t raw_bytes = 0;
  RestoreReport report;
  for (int i = 0; i < repeats; ++i) {
    if (cold) Forget(folder);
    auto begin = std::chrono::steady_clock::now();
    report = {};
    ASSIGN_OR_RETURN(const auto restored, RestoreSequence(home, tokens, &report));
    restore_ms.push_back(MsSince(begin));
    if (cold) Forget(folder);
    begin = std::chrono::steady_clock::now();
    raw_bytes = ReadFiles(folder, &buffer);
    raw_ms.push_back(MsSince(begin));
  }
  const Spread restore = Summarise(restore_ms);
  const Spread raw = Summarise(raw_ms);
  return Json{{"tokens_from_disk", report.tokens_from_disk},
              {"bytes_restored", report.bytes_read},
              {"restore_ms", ToJson(restore)},
              {"raw_bytes", raw_bytes},
              {"raw_read_ms", ToJson(raw)},
              {"ratio", restore.median / raw.median}};
}

Result<Json> BenchResume(const ResumeFlags& flags, const std::string& folder) {
  ModelOptions options;
  ASSIGN_OR_RETURN(const auto model, Model::Open(flags.model, options));
  KvStoreOptions kv;
  kv.path = folder + "/kv";
  ASSIGN_OR_RETURN(auto store, KvStore::Open(kv, nullptr));
  auto storage = std::make_unique<Worker>(1, 64);
  KvHome home{model.get(),
              store.get(),
              &storage->queue(),
              {model->fingerprint(), model->arithmetic_id(), "bench"}};

  std::vector<int32_t> tokens(static_cast<size_t>(flags.tokens));
  uint64_t state = 1;
  for (int32_t& token : tokens) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    token = static_cast<int32_t>((state >> 33) % static_cast<uint64_t>(model->config().vocab));
  }
  const auto start = std::chrono::steady_clock::now();
  {
    LiveSequence sequence(home);
    constexpr size_t kChunk = 512;
    for (size_t at = 0; at < tokens.size(); at += kChunk) {
      const size_t count = std::min(kChunk, tokens.size() - at);
      RETURN_IF_ERROR(
          sequence.Append(std::span(tokens).subspan(at, count), LogitsWanted::kNone, nullptr));
    }
    sequence.Checkpoint();
  }
  const double prefill_ms = MsSince(start);
  storage->Stop();

  Json json = {
      {"bench", "resume"}, {"tokens", flags.tokens}, {"prefill_ms", prefill_ms}, {"bar", 3.0}};
  for (const bool cold : {true, false}) {
    ASSIGN_OR_RETURN(json[cold ? "cold" : "warm"],
                     CompareRestore(home, tokens, kv.path, cold, flags.repeats));
  }
  json["prefill_over_cold_restore"] =
      prefill_ms / json["cold"]["restore_ms"]["median"].get<double>();
  return json;
}

int RunResume(const ResumeFlags& flags) {
  const ScratchFolder folder;
  if (!folder.made()) {
    return Fail(UnavailableError("can't make a folder below the temporary directory"), flags.json);
  }
  auto result = BenchResume(flags, folder.path());
  if (!result.ok()) return Fail(result.status(), flags.json);
  if (flags.json) {
    std::cout << result->dump(2) << "\n";
    return kExitOk;
  }
  for (const char* state : {"cold", "warm"}) {
    const Json& row = (*result)[state];
    std::printf(
        "%s resume of %lld tokens: %.2f ms (%.2f..%.2f); raw read of the store's %.1f MB: %.2f "
        "ms; ratio %.2f\n",
        state, static_cast<long long>(flags.tokens), row["restore_ms"]["median"].get<double>(),
        row["restore_ms"]["low"].get<double>(), row["restore_ms"]["high"].get<double>(),
        row["raw_bytes"].get<double>() / 1e6, row["raw_read_ms"]["median"].get<double>(),
        row["ratio"].get<double>());
  }
  std::printf(
      "bar, cold: at most 3 x the raw read: %s; prefill took %.0f ms, %.0f x the cold resume\n",
      (*result)["cold"]["ratio"].get<double>() <= 3.0 ? "met" : "missed",
      (*result)["prefill_ms"].get<double>(), (*result)["prefill_over_cold_restore"].get<double>());
  return kExitOk;
}

struct IdleFlags {
  std::string model;
  int seconds = 60;
  bool json = false;
};

double CpuMs() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto ms = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_usec) / 1e3;
  };
  return ms(usage.ru_utime) + ms(usage.ru_stime);
}

/// What `baleen serve` costs while nobody asks for anything.
Result<Json> BenchIdle(const IdleFlags& flags, const std::string& folder) {
  RuntimeOptions options;
  options.data_dir = folder + "/data";
  options.model_path = flags.model;
  ASSIGN_OR_RETURN(const auto runtime, Runtime::Open(options));
#ifdef BALEEN_WITH_GRPC
  ServerOptions server_options;
  server_options.listen = "unix:" + folder + "/socket/s";
  ASSIGN_OR_RETURN(const auto server, Server::Start(server_options, runtime.get()));
#endif
  ASSIGN_OR_RETURN(const RuntimeStats before, runtime->Stats());
  const double cpu_before = CpuMs();
  std::this_thread::sleep_for(std::chrono::seconds(flags.seconds));
  const double cpu_ms = (CpuMs() - cpu_before) * 60.0 / flags.seconds;
  ASSIGN_OR_RETURN(const RuntimeStats after, runtime->Stats());
  return Json{{"bench", "idle"},
              {"seconds", flags.seconds},
              {"cpu_ms_per_minute", cpu_ms},
              {"bar", 60.0},
              {"engine_wakeups", after.engine_wakeups - before.engine_wakeups}};
}

int RunIdle(const IdleFlags& flags) {
  const ScratchFolder folder;
  if (!folder.made()) {
    return Fail(UnavailableError("can't make a folder below the temporary directory"), flags.json);
  }
  auto result = BenchIdle(flags, folder.path());
  if (!result.ok()) return Fail(result.status(), flags.json);
  if (flags.json) {
    std::cout << result->dump(2) << "\n";
  } else {
    std::printf(
        "idle server: %.1f ms of CPU per minute (bar 60: %s), %lld wake-ups of the engine\n",
        (*result)["cpu_ms_per_minute"].get<double>(),
        (*result)["cpu_ms_per_minute"].get<double>() <= 60.0 ? "met" : "missed",
        (*result)["engine_wakeups"].get<long long>());
  }
  return kExitOk;
}

}  // namespace

void AddBench(CLI::App& app, int* exit_code) {
  CLI::App* bench = app.add_subcommand("bench", "Timings beside the limit of this machine");
  bench->require_subcommand(1);
  auto flags = std::make_shared<ResumeFlags>();  // owners: the callback
  CLI::App* resume = bench->add_subcommand(
      "resume", "Restoring a stored sequence, beside a raw read of the same files");
  resume->add_option("--model", flags->model, "Checkpoint folder")->required();
  resume->add_option("--tokens", flags->tokens)
      ->capture_default_str()
      ->check(CLI::Range(int64_t{256}, int64_t{1} << 21));
  resume->add_option("--repeats", flags->repeats)
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  resume->add_flag("--json", flags->json);
  resume->callback([flags, exit_code] { *exit_code = RunResume(*flags); });

  auto idle_flags = std::make_shared<IdleFlags>();  // owners: the callback
  CLI::App* idle = bench->add_subcommand("idle", "CPU time of a server that nobody asks anything");
  idle->add_option("--model", idle_flags->model, "Checkpoint folder")->required();
  idle->add_option("--seconds", idle_flags->seconds)
      ->capture_default_str()
      ->check(CLI::Range(1, 3600));
  idle->add_flag("--json", idle_flags->json);
  idle->callback([idle_flags, exit_code] { *exit_code = RunIdle(*idle_flags); });
}

}  // namespace baleen::cli
