// `baleen bench sandbox`: what it takes to start a sandboxed command and see its end, beside bare
// `bwrap true`, turn by turn in one run: a session's first command, and its later ones, whose
// sandbox is made while the model thinks.
#include "runtime/cli/bench_sandbox.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <chrono>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "runtime/cli/bench_measure.h"
#include "runtime/cli/flags.h"
#include "runtime/cli/scratch_folder.h"
#include "runtime/sandbox/command_job.h"

namespace baleen::cli {
namespace {

constexpr double kSandboxBar = 2.0;
constexpr std::chrono::milliseconds kThought(100);  // of a model, between two commands

struct SandboxFlags {
  int64_t rounds = 50;
  bool json = false;
};

/// Milliseconds of `bwrap --ro-bind / / true`, started and waited for as ours are.
Result<double> BareMs() {
  Launch launch;
  launch.arguments = {"/usr/bin/bwrap", "--ro-bind", "/", "/", "true"};
  launch.environment = {"PATH=/usr/bin:/bin"};
  const FileDescriptor output(open("/dev/null", O_WRONLY | O_CLOEXEC));
  launch.output = output.get();
  const auto start = std::chrono::steady_clock::now();
  ASSIGN_OR_RETURN(const pid_t process, StartProcess(launch));
  int status = 0;
  while (waitpid(process, &status, 0) < 0 && errno == EINTR) {
  }
  if (status != 0) return UnavailableError("bare `bwrap true` fails here");
  return MsSince(start);
}

Result<double> SandboxedMs(const Sandbox& sandbox, const std::string& folder) {
  SandboxedCommand command;
  command.workspace = folder;
  command.command = "true";
  const auto start = std::chrono::steady_clock::now();
  ASSIGN_OR_RETURN(const auto job, CommandJob::Start(sandbox, command, 60'000));
  const JobState state = job->Wait(60'000);
  const double ms = MsSince(start);
  if (!state.ended || state.exit_code != 0 || !state.failed.ok()) {
    return UnavailableError("a sandboxed `true` fails here");
  }
  return ms;
}

/// As a session's later commands are: their sandbox was made while the model thought.
Result<double> PreparedMs(const Sandbox& sandbox, const std::string& folder) {
  SandboxedCommand command;
  command.workspace = folder;
  const auto job = CommandJob::Prepare(sandbox, command);
  std::this_thread::sleep_for(kThought);
  const auto start = std::chrono::steady_clock::now();
  if (job == nullptr || !job->Begin("true", 60'000)) {
    return UnavailableError("a prepared sandbox isn't ready here");
  }
  const JobState state = job->Wait(60'000);
  const double ms = MsSince(start);
  if (!state.ended || state.exit_code != 0 || !state.failed.ok()) {
    return UnavailableError("`true` fails in a prepared sandbox here");
  }
  return ms;
}

Result<Json> BenchSandbox(const SandboxFlags& flags) {
  const Sandbox sandbox = Sandbox::Probe(SandboxKind::kBubblewrap);
  if (sandbox.kind() != SandboxKind::kBubblewrap) {
    return FailedPreconditionError("nothing to compare with: " + sandbox.reason());
  }
  const Sandbox landlock = Sandbox::Probe(SandboxKind::kLandlock);
  const ScratchFolder folder;
  RETURN_IF_ERROR(folder.status());
  std::vector<double> bare, sandboxed, prepared, restricted;
  for (int64_t round = 0; round < flags.rounds; ++round) {
    ASSIGN_OR_RETURN(const double bare_ms, BareMs());
    ASSIGN_OR_RETURN(const double sandboxed_ms, SandboxedMs(sandbox, folder.path()));
    bare.push_back(bare_ms);
    sandboxed.push_back(sandboxed_ms);
    ASSIGN_OR_RETURN(const double prepared_ms, PreparedMs(sandbox, folder.path()));
    prepared.push_back(prepared_ms);
    if (landlock.kind() != SandboxKind::kLandlock) continue;
    ASSIGN_OR_RETURN(const double restricted_ms, SandboxedMs(landlock, folder.path()));
    restricted.push_back(restricted_ms);
  }
  const Spread bare_spread = Summarise(bare), ours = Summarise(sandboxed);
  Json out = {{"bench", "sandbox"},
              {"rounds", flags.rounds},
              {"bare_bwrap_ms", ToJson(bare_spread)},
              {"bubblewrap_ms", ToJson(ours)},
              {"prepared_ms", ToJson(Summarise(prepared))}};
  if (!restricted.empty()) out["landlock_ms"] = ToJson(Summarise(restricted));
  out["ratio"] = Summarise(prepared).median / bare_spread.median;
  out["ratio_first"] = ours.median / bare_spread.median;
  out["bar"] = kSandboxBar;
  return out;
}

int RunSandbox(const SandboxFlags& flags) {
  const auto result = BenchSandbox(flags);
  if (!result.ok()) return Fail(result.status(), flags.json);
  if (flags.json) {
    std::cout << result->dump(2) << "\n";
    return kExitOk;
  }
  for (const char* name : {"bare_bwrap_ms", "bubblewrap_ms", "prepared_ms", "landlock_ms"}) {
    if (result->contains(name)) std::cout << name << "  " << (*result)[name].dump() << "\n";
  }
  std::cout << "ratio          " << (*result)["ratio"].get<double>() << " (bar " << kSandboxBar
            << "), of a session's first command " << (*result)["ratio_first"].get<double>() << "\n";
  return kExitOk;
}

}  // namespace

void AddBenchSandbox(CLI::App& bench, int* exit_code) {
  auto flags = std::make_shared<SandboxFlags>();  // owners: the callback below
  CLI::App* command = bench.add_subcommand(
      "sandbox", "Start of a sandboxed command and its end, beside bare `bwrap true`");
  command->add_option("--rounds", flags->rounds, "Starts of each kind, in turns")
      ->check(CLI::Range(3, 10'000));
  command->add_flag("--json", flags->json, "As JSON");
  command->callback([flags, exit_code] { *exit_code = RunSandbox(*flags); });
}

}  // namespace baleen::cli
