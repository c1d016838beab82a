// `baleen bench`: timings against a limit that is measured in the same process and run.

#include <CLI/CLI.hpp>
#include <chrono>
#include <iostream>
#include <memory>
#include <thread>

#include "runtime/cli/bench_lua.h"
#include "runtime/cli/bench_measure.h"
#include "runtime/cli/bench_sandbox.h"
#include "runtime/cli/bench_store.h"
#include "runtime/cli/flags.h"
#include "runtime/cli/scratch_folder.h"

#ifdef BALEEN_WITH_GRPC
#include "runtime/grpc/server.h"
#endif

namespace baleen::cli {
namespace {

struct IdleFlags {
  std::string model;
  int seconds = 60;
  bool json = false;
};

/// What `baleen serve` costs while nobody asks for anything.
Result<Json> BenchIdle(const IdleFlags& flags, const std::string& folder) {
  RuntimeOptions options;
  options.data_dir = folder + "/data";
  options.model_path = flags.model;
  ASSIGN_OR_RETURN(const auto runtime, Runtime::Open(options));
#ifdef BALEEN_WITH_GRPC
  ServerOptions server_options;
  server_options.listen = {"unix:" + folder + "/socket/s"};
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
  if (!folder.status().ok()) return Fail(folder.status(), flags.json);
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

#ifdef BALEEN_WITH_GRPC
void AddBenchEvents(CLI::App& bench, int* exit_code);  // bench_events.cc
#endif

void AddBench(CLI::App& app, int* exit_code) {
  CLI::App* bench = app.add_subcommand("bench", "Timings beside the limit of this machine");
  bench->require_subcommand(1);
  AddEngineBenches(*bench, exit_code);
  AddStoreBenches(*bench, exit_code);
  AddBenchSessions(*bench, exit_code);
#ifdef BALEEN_WITH_GRPC
  AddBenchEvents(*bench, exit_code);
#endif

  auto idle_flags = std::make_shared<IdleFlags>();  // owners: the callback
  CLI::App* idle = bench->add_subcommand("idle", "CPU time of a server that nobody asks anything");
  idle->add_option("--model", idle_flags->model, kModelHelp);
  idle->add_option("--seconds", idle_flags->seconds)
      ->capture_default_str()
      ->check(CLI::Range(1, 3600));
  idle->add_flag("--json", idle_flags->json);
  idle->callback([idle_flags, exit_code] { *exit_code = RunIdle(*idle_flags); });
  AddBenchMask(*bench, exit_code);
  AddBenchSandbox(*bench, exit_code);
  AddBenchLua(*bench, exit_code);
}

}  // namespace baleen::cli
