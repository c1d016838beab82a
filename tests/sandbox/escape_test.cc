// Ways out of the sandbox, each tried by a real command, each judged from outside: nothing there
// has changed, nothing of it was read, and nothing that the command started is left.
#include <catch2/catch.hpp>
#include <chrono>
#include <iostream>
#include <thread>

#include "runtime/sandbox/command_job.h"
#include "runtime/workspace/secret_walk.h"
#include "tests/sandbox/escape_attempts.h"
#include "tests/sandbox/outside_world.h"

namespace baleen {
namespace {

std::vector<SandboxKind> Kinds() {
  std::vector<SandboxKind> kinds;
  for (const SandboxKind kind : {SandboxKind::kBubblewrap, SandboxKind::kLandlock}) {
    const Sandbox sandbox = Sandbox::Probe(kind);
    if (sandbox.kind() == kind) {
      kinds.push_back(kind);
    } else {
      WARN("SKIP " << SandboxKindName(kind) << ": " << sandbox.reason());
    }
  }
  // ctest then says so, too: it doesn't show warnings of what passes.
  if (kinds.empty()) std::cout << "SKIPPED: nothing of this test runs without a sandbox\n";
  return kinds;
}

struct Ran {
  JobState state;
  std::string output, mark;
};

/// In a sandbox that was made before. Null: there is none of this kind, or it isn't of use within
/// `patience_ms`.
std::unique_ptr<CommandJob> StartPrepared(const Sandbox& sandbox, const SandboxedCommand& spec,
                                          int64_t timeout_ms, int64_t patience_ms) {
  auto job = CommandJob::Prepare(sandbox, spec);
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(patience_ms);
  while (job != nullptr && !job->Begin(spec.command, timeout_ms)) {
    if (std::chrono::steady_clock::now() >= until) return nullptr;
    std::this_thread::yield();
  }
  return job;
}

/// Every other one in a sandbox that was made before, if one is of use.
Ran RunCommand(const Sandbox& sandbox, const OutsideWorld& world, const std::string& command,
               int64_t timeout_ms = 60'000, CommandLimits limits = {}) {
  static int number = 0;
  Ran ran;
  ran.mark = "mark-" + std::to_string(getpid()) + "-" + std::to_string(++number) + "-";
  SandboxedCommand spec;
  spec.workspace = world.workspace();
  spec.command = "export MARK=" + ran.mark + "; " + world.Filled(command);
  spec.limits = limits;
  auto job = number % 2 == 0 ? StartPrepared(sandbox, spec, timeout_ms, 300) : nullptr;
  if (job == nullptr) {
    auto started = CommandJob::Start(sandbox, spec, timeout_ms);
    INFO(started.status().message());
    REQUIRE(started.ok());
    job = std::move(*started);
  }
  ran.state = job->Wait(120'000);
  ran.output = job->Output(0, 1 << 20);
  return ran;
}

void ExpectNoEscape(const std::vector<Attempt>& attempts) {
  for (const SandboxKind kind : Kinds()) {
    const Sandbox sandbox = Sandbox::Probe(kind);
    const OutsideWorld world;
    // What is denied must be denied by the sandbox, not by a command that can't run at all.
    const Ran control = RunCommand(sandbox, world, "cat inside.txt; echo made > made.txt");
    REQUIRE(control.output == "inside");
    REQUIRE(ReadText(world.workspace() + "/made.txt") == "made\n");
    for (const Attempt& attempt : attempts) {
      const Ran ran = RunCommand(sandbox, world, attempt.command);
      INFO(SandboxKindName(kind) << ", " << attempt.name << ", exit code " << ran.state.exit_code
                                 << ", said:\n"
                                 << ran.output);
      CHECK(ran.state.ended);
      CHECK(ran.state.failed.ok());
      CHECK(ran.state.stopped.empty());
      // On a line of its own: bash shows the text of what the kernel ended.
      CHECK(("\n" + ran.output).find("\nREACHED") == std::string::npos);
      CHECK(ran.output.find(world.secret()) == std::string::npos);
      REQUIRE(world.Changes().empty());
      CHECK(OutsideWorld::Marked(ran.mark) == 0);
      CHECK(!std::filesystem::exists("/usr/bin/baleen-escape"));
      CHECK(!std::filesystem::exists("/etc/baleen-escape"));
    }
  }
}

TEST_CASE("AttemptsAreAtLeastSixty") {
  CHECK(PathAttempts().size() + ProcAttempts().size() + KernelAttempts().size() +
            NetworkAttempts().size() + ProcessAttempts().size() >=
        60);
}
TEST_CASE("NoPathLeadsOut") { ExpectNoEscape(PathAttempts()); }
TEST_CASE("NothingOfOthersIsInProc") { ExpectNoEscape(ProcAttempts()); }
TEST_CASE("NoCallLeadsOut") { ExpectNoEscape(KernelAttempts()); }
TEST_CASE("NoSocketLeadsOut") { ExpectNoEscape(NetworkAttempts()); }
TEST_CASE("NoProcessReachesOthersOrStays") { ExpectNoEscape(ProcessAttempts()); }

TEST_CASE("HooksOfARepositoryStay") {
  for (const SandboxKind kind : Kinds()) {
    if (kind == SandboxKind::kLandlock) continue;  // It can't except a part of a folder.
    const Sandbox sandbox = Sandbox::Probe(kind);
    const OutsideWorld world;
    for (const char* command :
         {"echo x > .git/hooks/pre-commit", "echo x > .git/config", "rm -rf .git/hooks .git/config",
          "mv .git .old; mkdir -p .git/hooks; echo x > .git/hooks/pre-commit",
          "mv .git/hooks .git/old; mkdir .git/hooks; echo x > .git/hooks/pre-commit",
          "mkdir n; mv n .git/hooks; ln -sf /tmp .git/hooks", "rm -rf .git"}) {
      RunCommand(sandbox, world, command);
      INFO(command);
      CHECK(world.HooksAreAsBefore());
    }
    CHECK(RunCommand(sandbox, world, "echo x > .git/index && echo done").output == "done\n");
  }
}

/// Ways to a workspace's own secrets, which commands may not read where there are mounts.
const std::vector<Attempt>& SecretAttempts() {
  static const std::vector<Attempt> kAttempts = {
      {"Cat", "cat .env config/.env.test certs/server.key .ssh/id_rsa && echo REACHED"},
      {"Grep", "grep -r secret . && echo REACHED"},
      {"Copy", "cp .env copy && cat copy && echo REACHED"},
      {"Link", "ln -s .env l; cat l && echo REACHED"},
      {"HardLink", "ln .env h && cat h && echo REACHED"},
      {"Move", "mv .env m && cat m && echo REACHED"},
      {"MoveTheFolder", "mv config c2; cat c2/.env.test && echo REACHED; mv c2 config"},
      {"RemoveAndFind", "rm -f .env .ssh/id_rsa; cat .env .ssh/id_rsa && echo REACHED"},
      {"MoveTheSecretFolder", "mv .ssh s && cat s/id_rsa && echo REACHED"},
      {"ChangeMode", "chmod 600 .env; chmod 700 .ssh; cat .env .ssh/id_rsa && echo REACHED"},
      {"Unmount", "umount .env; umount -l .ssh; cat .env .ssh/id_rsa && echo REACHED"},
      {"Target", "cat key-of-link linked/value && echo REACHED"},
      {"ProcRoot", "cat /proc/self/root$PWD/.env && echo REACHED"},
      {"ProcCwd", "cat /proc/self/cwd/.env && echo REACHED"},
      {"OpenPath", PYTHON("fd = os.open('.env', os.O_PATH)\n"
                          "print(open('/proc/self/fd/%d' % fd).read())\nprint('REACHED')")},
      {"ParentOfFolder", "cat certs/../.env ../root/.env && echo REACHED"},
      {"Tar", "tar cf - . 2>/dev/null | grep -a secret && echo REACHED"},
  };
  return kAttempts;
}

TEST_CASE("SecretFilesOfAWorkspaceAreHidden") {
  for (const SandboxKind kind : Kinds()) {
    if (kind == SandboxKind::kLandlock) continue;  // It can't except a part of a folder.
    const Sandbox sandbox = Sandbox::Probe(kind);
    const OutsideWorld world;
    const auto put = [&](const std::string& name) {
      const std::filesystem::path path = world.workspace() + "/" + name;
      std::filesystem::create_directories(path.parent_path());
      std::ofstream(path) << world.secret();
    };
    const std::vector<std::string> secrets = {".env", "config/.env.test", "certs/server.key",
                                              ".ssh/id_rsa", "linked/value"};
    for (const std::string& name : secrets) put(name);
    std::filesystem::create_symlink("linked/value", world.workspace() + "/client-key.pem");
    std::filesystem::create_symlink("client-key.pem", world.workspace() + "/key-of-link");
    for (const Attempt& attempt : SecretAttempts()) {
      const Ran ran = RunCommand(sandbox, world, attempt.command);
      INFO(attempt.name << ", said:\n" << ran.output);
      CHECK(ran.state.failed.ok());
      CHECK(ran.output.find(world.secret()) == std::string::npos);
      CHECK(("\n" + ran.output).find("\nREACHED") == std::string::npos);
      for (const std::string& name : secrets) {
        CHECK(ReadText(world.workspace() + "/" + name) == world.secret());
      }
    }
    // What is open stays so, and a name alone is no secret.
    CHECK(RunCommand(sandbox, world, "cat inside.txt; ls -A .ssh 2>&1; [ -e .env ] && echo there")
              .output.starts_with("inside"));
    // git may not take one that it can't read for one that is gone.
    CHECK(RunCommand(sandbox, world, "[ -f .env ] && echo file").output == "file\n");
    SandboxedCommand spec;
    spec.workspace = world.workspace();
    spec.readable_secrets = {"config/*"};
    spec.command = "cat config/.env.test; cat .env";
    auto job = CommandJob::Start(sandbox, spec, 60'000);
    REQUIRE(job.ok());
    (*job)->Wait(60'000);
    CHECK((*job)->Output(0, 4096).starts_with(world.secret()));
    CHECK((*job)->Output(0, 4096).find("Permission denied") != std::string::npos);
  }
}

TEST_CASE("AsManySecretFilesAreHiddenAsAreLookedFor") {
  for (const SandboxKind kind : Kinds()) {
    if (kind == SandboxKind::kLandlock) continue;
    const Sandbox sandbox = Sandbox::Probe(kind);
    const OutsideWorld world;
    for (size_t i = 0; i < kSecretPlacesMax + 5; ++i) {
      std::ofstream(world.workspace() + "/" + std::to_string(i) + ".key") << "text of a key";
    }
    const Ran ran = RunCommand(sandbox, world, "cat *.key 2>/dev/null | grep -o 'text of' | wc -l");
    INFO(ran.output);
    CHECK(ran.output == "5\n");  // the rest is beyond the bound, and said to be
  }
}

TEST_CASE("ASecretThatCameMeanwhileIsHiddenFromACommandThatWaits") {
  for (const SandboxKind kind : Kinds()) {
    if (kind != SandboxKind::kBubblewrap) continue;
    const Sandbox sandbox = Sandbox::Probe(kind);
    const OutsideWorld world;
    SandboxedCommand spec;
    spec.workspace = world.workspace();
    auto waiting = CommandJob::Prepare(sandbox, spec);
    REQUIRE(waiting != nullptr);
    while (OutsideWorld::Marked(spec.workspace) == 0) std::this_thread::yield();
    std::ofstream(world.workspace() + "/.env") << world.secret();
    CHECK_FALSE(waiting->Begin("cat .env", 60'000));
    const Ran ran = RunCommand(sandbox, world, "cat .env");
    CHECK(ran.output.find(world.secret()) == std::string::npos);
  }
}

TEST_CASE("WhatOthersObeyIsNotChangedByCommands") {
  for (const SandboxKind kind : Kinds()) {
    if (kind == SandboxKind::kLandlock) continue;  // It can't except a part of a folder.
    const Sandbox sandbox = Sandbox::Probe(kind);
    const OutsideWorld world;
    const std::vector<std::string> kept = {"AGENTS.md", ".github/workflows/ci.yml",
                                           ".vscode/tasks.json"};
    for (const std::string& name : kept) {
      const std::filesystem::path path = world.workspace() + "/" + name;
      std::filesystem::create_directories(path.parent_path());
      std::ofstream(path) << "kept";
    }
    for (const char* command :
         {"echo x > AGENTS.md; echo x > .github/workflows/ci.yml; echo x > .vscode/tasks.json",
          "rm -rf AGENTS.md .github .vscode", "sed -i s/kept/x/ AGENTS.md",
          "mv .github .old; mkdir -p .github/workflows; echo x > .github/workflows/ci.yml",
          "mv AGENTS.md a.md; echo x > AGENTS.md", "echo x > y; mv -f y AGENTS.md",
          "echo x > .github/workflows/new.yml", "ln -f inside.txt .vscode/tasks.json"}) {
      RunCommand(sandbox, world, command);
      INFO(command);
      for (const std::string& name : kept) {
        CHECK(ReadText(world.workspace() + "/" + name) == "kept");
      }
    }
    CHECK(!std::filesystem::exists(world.workspace() + "/.github/workflows/new.yml"));
    CHECK(RunCommand(sandbox, world, "cat AGENTS.md").output == "kept");
  }
}

TEST_CASE("LinksInPlaceOfARepositoryAreNotFollowed") {
  for (const SandboxKind kind : Kinds()) {
    const Sandbox sandbox = Sandbox::Probe(kind);
    for (const char* plant :
         {"ln -s @OUT@ .git", "mkdir .git; ln -s @OUT@ .git/hooks",
          "mkdir .git; ln -s @OUT@/secret.txt .git/config", "ln -s @OUT@/secret.txt baleen.toml"}) {
      const OutsideWorld world;
      std::filesystem::remove_all(world.workspace() + "/.git");
      RunCommand(sandbox, world, plant);
      const Ran ran = RunCommand(
          sandbox, world, "cat .git/secret.txt .git/hooks/secret.txt .git/config baleen.toml");
      INFO(SandboxKindName(kind) << ", " << plant << ", said:\n" << ran.output);
      CHECK(ran.output.find(world.secret()) == std::string::npos);
    }
    // And while a job swaps one for the other as fast as it can.
    const OutsideWorld world;
    SandboxedCommand swap;
    swap.workspace = world.workspace();
    std::filesystem::remove_all(world.workspace() + "/.git");
    swap.command = world.Filled(
        "mkdir -p .git/real; ln -s @OUT@ .git/link; while :; do mv -T .git/real .git/hooks; mv -T "
        ".git/hooks .git/real; mv -T .git/link .git/hooks; mv -T .git/hooks .git/link; done");
    auto job = CommandJob::Start(sandbox, swap, 120'000);
    REQUIRE(job.ok());
    for (int i = 0; i < 20; ++i) {
      const Ran ran = RunCommand(sandbox, world, "cat .git/hooks/secret.txt");
      CHECK(ran.output.find(world.secret()) == std::string::npos);
    }
  }
}

TEST_CASE("RunawaysEndAtTheirLimits") {
  for (const SandboxKind kind : Kinds()) {
    const Sandbox sandbox = Sandbox::Probe(kind);
    const OutsideWorld world;
    CommandLimits limits;
    limits.processes = 64;
    limits.memory_bytes = 256 << 20;
    limits.file_bytes = 1 << 20;
    limits.output_bytes = 512 << 10;
    const auto run = [&](const char* command, int64_t timeout_ms = 60'000) {
      Ran ran = RunCommand(sandbox, world, command, timeout_ms, limits);
      CHECK(ran.state.ended);
      CHECK(OutsideWorld::Marked(ran.mark) == 0);
      CHECK(world.Changes().empty());
      return ran;
    };
    INFO(SandboxKindName(kind));
    // The kernel holds back what isn't root's, in a namespace of its own; the watch all else. What
    // might outrun that has a test of its own, as a user of its own: fork_bomb_test.cc.
    const bool held = kind == SandboxKind::kBubblewrap && geteuid() != 0;
    Ran ran = run("for i in $(seq 500); do sleep 60 & done; wait");
    CHECK(!ran.state.timed_out);
    CHECK((ran.state.stopped.find("processes") != std::string::npos ||
           (held && ran.state.exit_code != 0)));
    ran = run("python3 -c \"x = bytearray(1 << 30); print('REACHED')\"");
    CHECK(ran.output.find("REACHED") == std::string::npos);
    run("dd if=/dev/zero of=big bs=64k count=100");
    CHECK(std::filesystem::file_size(world.workspace() + "/big") <= 1 << 20);
    ran = run("yes");
    CHECK(ran.state.exit_code != 0);
    CHECK(ran.state.elapsed_ms < 30'000);
    ran = run("while :; do :; done", 300);
    CHECK(ran.state.timed_out);
    ran = run("trap '' TERM INT HUP; sleep 300", 300);
    CHECK(ran.state.timed_out);
  }
}

TEST_CASE("MemoryThatFilesTakeIsBoundedWhereverACommandMayWrite") {
  for (const SandboxKind kind : Kinds()) {
    if (kind != SandboxKind::kBubblewrap) continue;  // Elsewhere files are on the disk.
    const Sandbox sandbox = Sandbox::Probe(kind);
    const OutsideWorld world;
    const Ran ran = RunCommand(sandbox, world,
                               "stat -f -c '%b %S' / /tmp /var/tmp /run /dev/shm /etc/ssh /home; "
                               "touch /dev/x /proc/x /usr/x /etc/x && echo REACHED");
    std::istringstream lines(ran.output);
    int64_t blocks = 0, bytes = 0;
    int places = 0;
    for (; lines >> blocks >> bytes; ++places) CHECK(blocks * bytes <= int64_t{1} << 30);
    INFO(ran.output);
    CHECK(places >= 5);
    CHECK(ran.output.find("REACHED") == std::string::npos);
  }
}

TEST_CASE("ACommandGetsItsLimitsAndNothingOfHowTheyWereSet") {
  for (const SandboxKind kind : Kinds()) {
    const Sandbox sandbox = Sandbox::Probe(kind);
    const OutsideWorld world;
    CommandLimits limits;
    limits.processes = 77;
    limits.open_files = 99;
    const Ran ran =
        RunCommand(sandbox, world,
                   "ulimit -n; ulimit -Hc; ulimit -u; env | grep BASH_ENV; for f in 3 4 5 "
                   "6; do { : <&$f; } 2>/dev/null && echo open $f; done; true",
                   60'000, limits);
    INFO(SandboxKindName(kind) << ": " << ran.output);
    CHECK(ran.output.starts_with("99\n0\n"));
    if (kind == SandboxKind::kBubblewrap) CHECK(ran.output == "99\n0\n77\n");
    CHECK(ran.output.find("BASH_ENV") == std::string::npos);
    CHECK(ran.output.find("open") == std::string::npos);
  }
}

TEST_CASE("ASandboxThatWasMadeBeforeIsLikeANewOne") {
  for (const SandboxKind kind : Kinds()) {
    const Sandbox sandbox = Sandbox::Probe(kind);
    const OutsideWorld world;
    SandboxedCommand spec;
    spec.workspace = world.workspace();
    spec.command =
        "env | sort; echo \"$0 $# $- $SHLVL $PWD\"; ulimit -a; ls -A / /tmp /dev/shm; umask\n"
        "cut -d' ' -f4-6 /proc/self/mountinfo; ls /proc/self/fd; grep -v ^Uid /proc/self/status | "
        "grep -E 'NoNew|Seccomp|Cap|Sig'\ntouch /tmp/left /dev/shm/left; echo \"it's\" | cat\n\n";
    if (kind != SandboxKind::kBubblewrap) {
      CHECK(CommandJob::Prepare(sandbox, spec) == nullptr);
      continue;
    }
    auto fresh = CommandJob::Start(sandbox, spec, 60'000);
    REQUIRE(fresh.ok());
    REQUIRE((*fresh)->Wait(60'000).exit_code == 0);
    const std::string expected = (*fresh)->Output(0, 1 << 20);
    CHECK(expected.find("/bin/bash 0") != std::string::npos);
    for (int i = 0; i < 2; ++i) {  // none gets what another one left
      const auto job = StartPrepared(sandbox, spec, 60'000, 60'000);
      REQUIRE(job != nullptr);
      CHECK(job->Wait(60'000).exit_code == 0);
      CHECK(job->Output(0, 1 << 20) == expected);
      CHECK(!job->Begin("echo again", 60'000));
    }
    // What a new one would be bound has changed: it isn't used.
    const auto stale = CommandJob::Prepare(sandbox, spec);
    while (OutsideWorld::Marked(spec.workspace) == 0) std::this_thread::yield();
    std::filesystem::rename(spec.workspace + "/.git", spec.workspace + "/.old");
    std::filesystem::create_directories(spec.workspace + "/.git/hooks");
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(200);
    while (std::chrono::steady_clock::now() < until) {
      if (stale->Begin("touch begun", 60'000)) FAIL("a sandbox with an old view was used");
      std::this_thread::yield();
    }
    CHECK(!std::filesystem::exists(spec.workspace + "/begun"));
    // Nobody wants it: it goes.
    stale->Stop();
    CHECK(stale->Wait(60'000).ended);
    CHECK(OutsideWorld::Marked(spec.workspace) == 0);
  }
}

TEST_CASE("CommandEndsThoughItsChildrenHoldItsOutput") {
  for (const SandboxKind kind : Kinds()) {
    const Sandbox sandbox = Sandbox::Probe(kind);
    const OutsideWorld world;
    const Ran ran = RunCommand(sandbox, world, "sleep 300 & echo told; exit 7");
    INFO(SandboxKindName(kind));
    CHECK(ran.output == "told\n");
    CHECK(ran.state.exit_code == 7);
    CHECK(ran.state.elapsed_ms < 30'000);
  }
}

TEST_CASE("WithoutASandboxNothingRuns") {
  const OutsideWorld world;
  const Sandbox none;
  SandboxedCommand spec;
  spec.workspace = world.workspace();
  spec.command = "touch ran";
  const auto job = CommandJob::Start(none, spec, 1000);
  CHECK(job.status().code() == StatusCode::kFailedPrecondition);
  CHECK(job.status().message().find("apt-get install bubblewrap") != std::string::npos);
  CHECK(!std::filesystem::exists(world.workspace() + "/ran"));
  for (const char* workspace : {"/", "/etc", "/usr/share", "/proc/self"}) {
    spec.workspace = workspace;
    CHECK(Sandbox::Probe().Start(spec).status().code() == StatusCode::kFailedPrecondition);
  }
}

}  // namespace
}  // namespace baleen
