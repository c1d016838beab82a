// `baleen bench sandbox`: what it takes to start a sandboxed command and see its end, beside bare
// `bwrap true`, turn by turn in one run: a session's first command and a later one, whose sandbox
// is made while the model thinks; the second one of an answer; and one that no generation came
// before.
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
#include "runtime/sandbox/bash_tools.h"
#include "runtime/sandbox/command_job.h"

namespace baleen::cli {
namespace {

constexpr double kSandboxBar = 2.0;
constexpr std::chrono::milliseconds kThought(100);  // of a model, between two commands

/// Milliseconds, one for each round.
struct Measured {
  std::vector<double> bare, first, later, same_answer, alone, landlock;
};

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

/// Milliseconds of the tool `bash`, from its call to its answer.
Result<double> CallMs(const BashTools& bash) {
  CallContext context;
  const auto start = std::chrono::steady_clock::now();
  const ToolResult result =
      bash.tools()[0]->Call({"bench", kBashTool, R"({"command":"true"})"}, context);
  const double ms = MsSince(start);
  if (result.outcome == ToolOutcome::kOk && result.content.starts_with("[exit code: 0;")) return ms;
  return UnavailableError("`true` fails in the sandbox here: " + result.content);
}

/// A model thinks, and the session's sandbox is made, as its generations have it.
void Think(BashTools& bash) {
  bash.Expect(true);
  bash.Prepare();
  std::this_thread::sleep_for(kThought);
}

/// One session: a command before any generation; then one after a generation, and the next of the
/// same answer; then one after a second generation.
Status BenchSession(const std::shared_ptr<LazySandbox>& sandbox, const std::string& folder,
                    Measured* measured) {
  BashTools bash(sandbox, {folder, nullptr});
  ASSIGN_OR_RETURN(const double alone_ms, CallMs(bash));
  Think(bash);
  ASSIGN_OR_RETURN(const double first_ms, CallMs(bash));
  ASSIGN_OR_RETURN(const double same_answer_ms, CallMs(bash));
  Think(bash);
  ASSIGN_OR_RETURN(const double later_ms, CallMs(bash));
  measured->alone.push_back(alone_ms);
  measured->first.push_back(first_ms);
  measured->same_answer.push_back(same_answer_ms);
  measured->later.push_back(later_ms);
  bash.Expect(false);
  bash.Prepare();
  return OkStatus();
}

Result<Json> BenchSandbox(const SandboxFlags& flags) {
  const auto sandbox = std::make_shared<LazySandbox>();  // owners: this and the tools of a round
  if (sandbox->Get().kind() != SandboxKind::kBubblewrap) {
    return FailedPreconditionError("nothing to compare with: " + sandbox->Get().reason());
  }
  const Sandbox landlock = Sandbox::Probe(SandboxKind::kLandlock);
  const ScratchFolder folder;
  RETURN_IF_ERROR(folder.status());
  Measured measured;
  for (int64_t round = 0; round < flags.rounds; ++round) {
    ASSIGN_OR_RETURN(const double bare_ms, BareMs());
    measured.bare.push_back(bare_ms);
    RETURN_IF_ERROR(BenchSession(sandbox, folder.path(), &measured));
    if (landlock.kind() != SandboxKind::kLandlock) continue;
    ASSIGN_OR_RETURN(const double landlock_ms, SandboxedMs(landlock, folder.path()));
    measured.landlock.push_back(landlock_ms);
  }
  const double bare_ms = Summarise(measured.bare).median;
  Json out = {{"bench", "sandbox"},
              {"rounds", flags.rounds},
              {"bare_bwrap_ms", ToJson(Summarise(measured.bare))},
              {"first_ms", ToJson(Summarise(measured.first))},
              {"later_ms", ToJson(Summarise(measured.later))},
              {"same_answer_ms", ToJson(Summarise(measured.same_answer))},
              {"no_generation_ms", ToJson(Summarise(measured.alone))}};
  if (!measured.landlock.empty()) out["landlock_ms"] = ToJson(Summarise(measured.landlock));
  out["ratio_first"] = Summarise(measured.first).median / bare_ms;
  out["ratio_later"] = Summarise(measured.later).median / bare_ms;
  out["ratio_same_answer"] = Summarise(measured.same_answer).median / bare_ms;
  out["ratio_no_generation"] = Summarise(measured.alone).median / bare_ms;
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
  for (const char* name : {"bare_bwrap_ms", "first_ms", "later_ms", "same_answer_ms",
                           "no_generation_ms", "landlock_ms"}) {
    if (result->contains(name)) std::cout << name << "  " << (*result)[name].dump() << "\n";
  }
  for (const char* name :
       {"ratio_first", "ratio_later", "ratio_same_answer", "ratio_no_generation"}) {
    std::cout << name << "  " << (*result)[name].get<double>() << "\n";
  }
  std::cout << "bar " << kSandboxBar << "\n";
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
