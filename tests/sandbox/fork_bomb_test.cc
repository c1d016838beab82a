// A fork bomb in each kind of sandbox: it ends at the limit of processes, and nothing of it is
// left.
//
// The bomb runs as a user who has no other process, under a hard limit on that user's processes, so
// that it can't hurt the machine if the sandbox lets it. Only root can become such a user; others
// run it where the kernel holds it back, in a namespace of their own.
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cstdio>
#include <iostream>

#include "runtime/sandbox/command_job.h"
#include "tests/sandbox/outside_world.h"

namespace baleen {
namespace {

constexpr int kNobodyElse = 61'234;     // no system gives its people or services such a number
constexpr rlim_t kProcessesMax = 400;   // of that user: the test's own, and the bomb's
constexpr int64_t kBombProcesses = 64;  // that the sandbox lets it have
constexpr int64_t kBombMs = 3'000;      // it never ends by itself where the kernel holds it back

/// Of this user; those that have ended and that nobody has asked about aren't any.
int64_t ProcessesOf(uid_t user) {
  const std::string wanted = "\nUid:\t" + std::to_string(user) + "\t";
  int64_t found = 0;
  std::error_code gone;
  for (std::filesystem::directory_iterator at("/proc", gone), end; at != end; at.increment(gone)) {
    const std::string folder = at->path();
    if (folder.find_first_of("0123456789") != 6) continue;
    const std::string status = ReadText(folder + "/status");
    const bool lives = status.find("\nState:\tZ") == std::string::npos;
    found += lives && status.find(wanted) != std::string::npos ? 1 : 0;
  }
  return found;
}

/// `alone`: this user has no other processes.
void ExpectBombEnds(SandboxKind kind, bool alone) {
  const Sandbox sandbox = Sandbox::Probe(kind);
  INFO(SandboxKindName(kind));
  if (sandbox.kind() != kind) {
    std::cout << "SKIP " << SandboxKindName(kind) << ": " << sandbox.reason() << "\n";
    return;
  }
  const OutsideWorld world;
  SandboxedCommand spec;
  spec.workspace = world.workspace();
  const std::string mark = "bomb-" + std::to_string(getpid());
  spec.command = "export MARK=" + mark + "; bomb() { bomb | bomb & }; bomb; sleep 60";
  spec.limits.processes = kBombProcesses;
  auto job = CommandJob::Start(sandbox, spec, kBombMs);
  REQUIRE(job.ok());
  JobState state;
  int64_t most = 0;
  for (int64_t i = 0; i < 1000 && !state.ended; ++i) {
    most = std::max(most, ProcessesOf(geteuid()));
    state = (*job)->Wait(20);
  }
  CHECK(state.ended);
  if (alone && kind == SandboxKind::kBubblewrap) {  // there the kernel counts
    CHECK(most > kBombProcesses / 2);
    CHECK(most < kBombProcesses + 16);  // the test, its starters and bubblewrap's own
  }
  if (kind == SandboxKind::kLandlock) CHECK(state.stopped.find("processes") != std::string::npos);
  CHECK(OutsideWorld::Marked(mark) == 0);
  CHECK(world.Changes().empty());
  std::cout << SandboxKindName(kind) << ": at most " << most
            << " processes were seen, the bomb ended after " << state.elapsed_ms
            << " ms: " << state.stopped << "\n";
}

/// What it said; the exit code behind it.
std::string RunAsNobodyElse(const std::string& command) {
  const std::string user = std::to_string(kNobodyElse), most = std::to_string(kProcessesMax);
  const std::string line = "cd / && TMPDIR=/tmp prlimit --nproc=" + most + ":" + most +
                           " setpriv --reuid=" + user + " --regid=" + user +
                           " --clear-groups timeout -k 5 150 " + command +
                           " 2>&1; echo \"exit $?\"";
  std::string output;
  FILE* const pipe = popen(line.c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::array<char, 4096> bytes;
  for (size_t got = 0; (got = fread(bytes.data(), 1, bytes.size(), pipe)) > 0;) {
    output.append(bytes.data(), got);
  }
  pclose(pipe);
  return output;
}

}  // namespace

TEST_CASE("AForkBombInASandboxEnds") {
  if (geteuid() != 0) {
    ExpectBombEnds(SandboxKind::kBubblewrap, false);
    return;
  }
  if (!RunAsNobodyElse("true").ends_with("exit 0\n")) {
    std::cout << "SKIPPED: nothing of this test runs where root can't become another user\n";
    return;
  }
  REQUIRE(ProcessesOf(kNobodyElse) == 0);
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  if (!RunAsNobodyElse("test -x '" + self + "'").ends_with("exit 0\n")) {
    std::cout << "SKIPPED: nothing of this test runs from a folder that others can't read\n";
    return;
  }
  const std::string said = RunAsNobodyElse("'" + self + "' TheBombOfAUserOfItsOwn");
  std::cout << said;
  INFO(said);
  CHECK(said.ends_with("exit 0\n"));
  CHECK(ProcessesOf(kNobodyElse) == 0);
  // Whatever the sandbox has let live.
  RunAsNobodyElse("bash -c 'kill -KILL -1'");
}

// Started by the one above.
TEST_CASE("TheBombOfAUserOfItsOwn", "[.bomb]") {
  rlimit most = {};
  getrlimit(RLIMIT_NPROC, &most);
  REQUIRE(geteuid() == kNobodyElse);
  REQUIRE(most.rlim_max == kProcessesMax);
  ExpectBombEnds(SandboxKind::kBubblewrap, true);
  ExpectBombEnds(SandboxKind::kLandlock, true);
}

}  // namespace baleen
