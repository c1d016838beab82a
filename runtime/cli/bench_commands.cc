// `baleen bench`: timings against a limit that is measured in the same process and run.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "model/model.h"
#include "runtime/cli/flags.h"
#include "runtime/engine/kv_restore.h"
#include "runtime/engine/live_sequence.h"
#include "runtime/store/kv_store.h"
#include "runtime/worker.h"

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

struct Spread {
  double low = 0;
  double median = 0;
  double high = 0;
};

Spread Summarise(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values.front(), values[values.size() / 2], values.back()};
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

Result<Json> BenchResume(const ResumeFlags& flags, const std::string& folder) {
  ModelOptions options;
  ASSIGN_OR_RETURN(const auto model, Model::Open(flags.model, options));
  KvStoreOptions kv;
  kv.path = folder + "/kv";
  ASSIGN_OR_RETURN(auto store, KvStore::Open(kv, nullptr));
  auto storage = std::make_unique<Worker>(1, 64);
  KvHome home{model.get(), store.get(), &storage->queue(),
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

  std::vector<double> restore_ms;
  std::vector<double> raw_ms;
  std::vector<char> buffer(1 << 20);
  int64_t raw_bytes = 0;
  RestoreReport report;
  for (int i = 0; i < flags.repeats; ++i) {  // interleaved
    auto begin = std::chrono::steady_clock::now();
    report = {};
    ASSIGN_OR_RETURN(const auto restored, RestoreSequence(home, tokens, &report));
    restore_ms.push_back(MsSince(begin));
    begin = std::chrono::steady_clock::now();
    raw_bytes = ReadFiles(kv.path, &buffer);
    raw_ms.push_back(MsSince(begin));
  }
  const Spread restore = Summarise(restore_ms);
  const Spread raw = Summarise(raw_ms);
  return Json{{"bench", "resume"},
              {"tokens", flags.tokens},
              {"tokens_from_disk", report.tokens_from_disk},
              {"bytes_read", report.bytes_read},
              {"restore_ms", {{"median", restore.median}, {"low", restore.low}, {"high", restore.high}}},
              {"raw_bytes", raw_bytes},
              {"raw_read_ms", {{"median", raw.median}, {"low", raw.low}, {"high", raw.high}}},
              {"restore_over_raw_read", restore.median / raw.median},
              {"bar", 3.0},
              {"prefill_ms", prefill_ms},
              {"prefill_over_restore", prefill_ms / restore.median}};
}

int RunResume(const ResumeFlags& flags) {
  std::string folder = (std::filesystem::temp_directory_path() / "baleen-bench-XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr) {
    return Fail(UnavailableError("can't make a folder below the temporary directory"), flags.json);
  }
  auto result = BenchResume(flags, folder);
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  if (!result.ok()) return Fail(result.status(), flags.json);
  if (flags.json) {
    std::cout << result->dump(2) << "\n";
    return kExitOk;
  }
  std::printf("resume of %lld tokens: %.2f ms (%.2f..%.2f); raw read of the store's %.1f MB: %.2f ms\n"
              "ratio %.2f (bar 3.00: %s); prefill took %.0f ms, %.0f times as long\n",
              static_cast<long long>(flags.tokens), (*result)["restore_ms"]["median"].get<double>(),
              (*result)["restore_ms"]["low"].get<double>(),
              (*result)["restore_ms"]["high"].get<double>(),
              (*result)["raw_bytes"].get<double>() / 1e6,
              (*result)["raw_read_ms"]["median"].get<double>(),
              (*result)["restore_over_raw_read"].get<double>(),
              (*result)["restore_over_raw_read"].get<double>() <= 3.0 ? "met" : "missed",
              (*result)["prefill_ms"].get<double>(),
              (*result)["prefill_over_restore"].get<double>());
  return kExitOk;
}

}  // namespace

void AddBench(CLI::App& app, int* exit_code) {
  CLI::App* bench = app.add_subcommand("bench", "Timings beside the limit of this machine");
  bench->require_subcommand(1);
  auto flags = std::make_shared<ResumeFlags>();  // owners: the callback
  CLI::App* resume = bench->add_subcommand(
      "resume", "Restoring a stored sequence, beside a raw read of the same files (both warm)");
  resume->add_option("--model", flags->model, "Checkpoint folder")->required();
  resume->add_option("--tokens", flags->tokens)->capture_default_str()->check(
      CLI::Range(int64_t{256}, int64_t{1} << 21));
  resume->add_option("--repeats", flags->repeats)->capture_default_str()->check(CLI::Range(1, 1000));
  resume->add_flag("--json", flags->json);
  resume->callback([flags, exit_code] { *exit_code = RunResume(*flags); });
}

}  // namespace baleen::cli
