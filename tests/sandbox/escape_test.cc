// Ways out of the sandbox, each tried by a real command, each judged from outside: nothing there
// has changed, nothing of it was read, and nothing that the command started is left.
#include <catch2/catch.hpp>
#include <chrono>
#include <iostream>
#include <thread>

#include "runtime/sandbox/command_job.h"
#include "tests/sandbox/outside_world.h"

namespace baleen {
namespace {

struct Attempt {
  const char* name;
  const char* command;
};

// Prints REACHED if it thinks that it got somewhere. A call by number, as the C library may not
// have it; `import` lines are shared.
#define PYTHON(text)                                                                            \
  "python3 - <<'END'\nimport ctypes, os, socket, struct, signal, fcntl\n"                       \
  "libc = ctypes.CDLL(None, use_errno=True)\n"                                                  \
  "def call(*a):\n  r = libc.syscall(*[ctypes.c_long(x) if isinstance(x, int) else x for x in " \
  "a])\n  return r\n" text "\nEND"

const std::vector<Attempt>& PathAttempts() {
  static const std::vector<Attempt> kAttempts = {
      {"AbsolutePath", "cat @OUT@/secret.txt && echo REACHED"},
      {"DotDot", "cat ../outside/secret.txt && echo REACHED"},
      {"SymlinkToFile", "ln -s @OUT@/secret.txt l1; cat l1 && echo REACHED"},
      {"SymlinkToFolder", "ln -s @OUT@ l2; echo x > l2/new && echo REACHED"},
      {"HardLink", "ln @OUT@/secret.txt hard; cat hard && echo REACHED"},
      {"MoveIn", "mv @OUT@/secret.txt moved && echo REACHED"},
      {"RemoveOutside", "rm -rf @OUT@/secret.txt @OUT@/socket; true"},
      {"WriteOutside", "echo x > @OUT@/new && echo REACHED"},
      {"Truncate", "truncate -s 0 @OUT@/secret.txt && echo REACHED"},
      {"ChangeMode", "chmod 777 @OUT@ @OUT@/secret.txt && echo REACHED"},
      {"SharedMemoryFile", "cat @SHM@ && echo REACHED"},
      {"WriteSharedMemoryFile", "[ -e @SHM@ ] && echo x > @SHM@ && echo REACHED"},
      {"WriteUsr", "touch /usr/bin/baleen-escape && echo REACHED"},
      {"WriteEtc", "touch /etc/baleen-escape && echo REACHED"},
      {"Shadow", "grep -q '^root:' /etc/shadow && echo REACHED"},
      {"HomeOfRoot", "cat /root/.bashrc /root/.profile 2>/dev/null | grep -q . && echo REACHED"},
      {"VarLib", "cat /var/lib/dpkg/status | grep -q . && echo REACHED"},
      {"Devices",
       "for d in /dev/mem /dev/kmsg /dev/sda /dev/vda /dev/kvm; do head -c1 $d && echo "
       "REACHED; done"},
      {"MakeBlockDevice",
       PYTHON("import stat\nos.mknod('blk', 0o600 | stat.S_IFBLK, os.makedev(254, 0))\n"
              "os.open('blk', os.O_RDONLY)\nprint('REACHED')")},
      {"MakeCharacterDevice",
       PYTHON("import stat\nos.mknod('chr', 0o600 | stat.S_IFCHR, os.makedev(1, 1))\n"
              "os.open('chr', os.O_RDONLY)\nprint('REACHED')")},
      {"OpenByHandle",
       PYTHON(
           "b = ctypes.create_string_buffer(b'\\x80' + bytes(200))\nm = ctypes.c_int()\n"
           "r = call(303, -100, b'.', b, ctypes.byref(m), 0)\nprint('REACHED' if r == 0 else r)")},
      {"InheritedFiles",
       PYTHON("for fd in range(3, 256):\n  try:\n    print(os.pread(fd, 100, 0))\n  except "
              "OSError:\n    pass")},
      {"InheritedFolders",
       PYTHON(
           "for fd in range(3, 256):\n  try:\n    os.open('secret.txt', os.O_RDONLY, dir_fd=fd)\n"
           "    print('REACHED')\n  except OSError:\n    pass")},
      {"InheritedFolderParent",
       PYTHON(
           "for fd in range(0, 256):\n  try:\n    os.open('../outside/secret.txt', 0, dir_fd=fd)\n"
           "    print('REACHED')\n  except OSError:\n    pass")},
      {"Environment", "env"},
  };
  return kAttempts;
}

const std::vector<Attempt>& ProcAttempts() {
  static const std::vector<Attempt> kAttempts = {
      {"ProcSelfRoot", "cat /proc/self/root/@OUT@/secret.txt && echo REACHED"},
      {"ProcSelfCwd", "cat /proc/self/cwd/../outside/secret.txt && echo REACHED"},
      {"ProcInitRoot", "cat /proc/1/root/@OUT@/secret.txt && echo REACHED"},
      {"ProcVictimRoot", "cat /proc/@PID@/root/@OUT@/secret.txt && echo REACHED"},
      {"ProcVictimEnvironment", "cat /proc/@PID@/environ; cat /proc/@SELF@/environ"},
      {"ProcEverybody", "cat /proc/[0-9]*/environ /proc/[0-9]*/task/*/environ"},
      {"ProcFileOfAnother", "cat /proc/@SELF@/fd/@FD@ && echo REACHED"},
      {"ProcMemory", "head -c1 /proc/@SELF@/mem && echo REACHED"},
      {"ProcHostname", "echo escaped > /proc/sys/kernel/hostname && echo REACHED"},
      {"ProcCorePattern",
       "p=$(cat /proc/sys/kernel/core_pattern); echo \"$p\" > "
       "/proc/sys/kernel/core_pattern && echo REACHED"},
      {"ProcSysrq", "echo h > /proc/sysrq-trigger && echo REACHED"},
      {"Cgroups",
       "echo $$ > /sys/fs/cgroup/cgroup.procs && echo REACHED; echo $$ > "
       "/sys/fs/cgroup/pids/cgroup.procs && echo REACHED"},
  };
  return kAttempts;
}

const std::vector<Attempt>& KernelAttempts() {
  static const std::vector<Attempt> kAttempts = {
      {"MountBind", "mkdir -p m; mount --bind @OUT@ m && echo REACHED"},
      {"MountTmpfs", "mkdir -p m; mount -t tmpfs none m && echo REACHED"},
      {"Unmount", "umount /tmp && echo REACHED; umount -l . && echo REACHED"},
      {"PivotRoot", PYTHON("print('REACHED' if call(155, b'.', b'.') == 0 else 'no')")},
      {"Chroot", PYTHON("os.chroot('.')\nprint('REACHED')")},
      {"Unshare", "unshare -Ur true && echo REACHED; unshare -m true && echo REACHED"},
      {"SetNamespace",
       PYTHON(
           "for n in ('mnt', 'user', 'net', 'pid'):\n  try:\n    fd = os.open('/proc/@PID@/ns/' + "
           "n, 0)\n    print('REACHED' if call(308, fd, 0) == 0 else 'no')\n  except OSError:\n    "
           "pass")},
      {"SetOwnNamespace",
       PYTHON("fd = os.open('/proc/self/ns/mnt', 0)\nprint('REACHED' if call(308, fd, 0) == 0 else "
              "'no')")},
      {"CloneNewUser",
       PYTHON(
           "r = call(56, 0x10000000 | 17, 0, 0, 0, 0)\nif r == 0: os._exit(0)\nprint('REACHED' if "
           "r > 0 else 'no')")},
      {"Clone3NewUser",
       PYTHON("a = struct.pack('11Q', 0x10000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0)\nr = call(435, a, "
              "88)\nif r == 0: os._exit(0)\nprint('REACHED' if r > 0 else 'no')")},
      {"FileSystemContext", PYTHON("print('REACHED' if call(430, b'tmpfs', 0) >= 0 else 'no')\n"
                                   "print('REACHED' if call(428, -100, b'/', 1) >= 0 else 'no')")},
      {"X32Call", PYTHON("print('REACHED' if call(0x40000000 + 39) > 0 else 'no')")},
      {"X32Unshare",
       PYTHON("print('REACHED' if call(0x40000000 + 272, 0x10000000) == 0 else 'no')")},
      {"Int80",
       PYTHON("import mmap\nm = mmap.mmap(-1, 4096, prot=7)\n"
              "m.write(bytes.fromhex('b814000000cd80c3'))\n"
              "f = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))\n"
              "print('REACHED' if f() > 0 else 'no')")},
      {"PtraceAttach", PYTHON("print('REACHED' if call(101, 16, @PID@, 0, 0) == 0 else 'no')")},
      {"PtraceSeizeParent",
       PYTHON("print('REACHED' if call(101, 0x4206, os.getppid(), 0, 0) == 0 else 'no')")},
      {"ReadMemory",
       PYTHON(
           "b = ctypes.create_string_buffer(8)\niov = struct.pack('QQ', ctypes.addressof(b), 8)\n"
           "print('REACHED' if call(310, @SELF@, iov, 1, iov, 1, 0) >= 0 else 'no')")},
      {"TakeFile",
       PYTHON("p = call(434, @SELF@, 0)\nprint('REACHED' if p >= 0 and call(438, p, @FD@, 0) >= 0 "
              "else 'no')")},
      {"Keyring",
       PYTHON("print('REACHED' if call(248, b'user', b'baleen', b'x', 1, -5) > 0 else 'no')")},
      {"Bpf", PYTHON("print('REACHED' if call(321, 0, bytes(72), 72) >= 0 else 'no')")},
      {"PerfEvents",
       PYTHON(
           "a = struct.pack('II', 1, 112) + bytes(104)\nprint('REACHED' if call(298, a, 0, -1, -1, "
           "0) >= 0 else 'no')")},
      {"IoUring", PYTHON("print('REACHED' if call(425, 1, bytes(120)) >= 0 else 'no')")},
      {"UserFaults", PYTHON("print('REACHED' if call(323, 1) >= 0 else 'no')")},
      {"Personality", PYTHON("print('REACHED' if call(135, 0x0040000) >= 0 else 'no')")},
      {"KernelLog",
       PYTHON("b = bytes(4096)\nprint('REACHED' if call(103, 3, b, 4096) >= 0 else 'no')")},
      {"HostName", "hostname escaped && echo REACHED"},
      {"Clock", "date -s \"$(date)\" && echo REACHED"},
      {"SuperUser", "echo | su -c 'echo REACHED' nobody; sudo -n echo REACHED"},
      {"SystemVMemory",
       // To have one of its own is no escape; that anybody else sees it is.
       PYTHON("call(29, 0x62616c65, 4096, 0o1666)")},
  };
  return kAttempts;
}

const std::vector<Attempt>& NetworkAttempts() {
  static const std::vector<Attempt> kAttempts = {
      {"TcpToLoopback", "echo hi > /dev/tcp/127.0.0.1/@PORT@ && echo REACHED"},
      {"TcpToLocalhostName",
       "timeout 5 bash -c 'echo hi > /dev/tcp/localhost/@PORT@' && echo REACHED"},
      {"TcpOutside", "timeout 5 bash -c 'echo hi > /dev/tcp/1.1.1.1/53' && echo REACHED"},
      {"MetadataAddress",
       "timeout 5 bash -c 'echo hi > /dev/tcp/169.254.169.254/80' && echo REACHED"},
      {"Udp", "echo hi > /dev/udp/127.0.0.1/@UDP@"},
      {"NameService", "timeout 5 getent hosts example.org && echo REACHED"},
      {"UnixSocket", PYTHON("s = socket.socket(socket.AF_UNIX)\ns.connect('@OUT@/socket')\n"
                            "print('REACHED')")},
      {"AbstractSocket",
       PYTHON("s = socket.socket(socket.AF_UNIX)\ns.connect('\\0@ABSTRACT@')\nprint('REACHED')")},
      {"AbstractDatagram",
       PYTHON("s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\ns.sendto(b'x', "
              "'\\0@ABSTRACT@')\nprint('REACHED')")},
      {"VirtualMachineSocket",
       PYTHON("s = socket.socket(40, socket.SOCK_STREAM)\nprint('REACHED')")},
      {"PacketSocket", PYTHON("s = socket.socket(17, socket.SOCK_RAW)\nprint('REACHED')")},
      {"RawSocket", PYTHON("s = socket.socket(2, socket.SOCK_RAW, 1)\nprint('REACHED')")},
      {"CryptoSocket", PYTHON("s = socket.socket(38, 5, 0)\nprint('REACHED')")},
  };
  return kAttempts;
}

const std::vector<Attempt>& ProcessAttempts() {
  static const std::vector<Attempt> kAttempts = {
      {"KillVictim", "kill -TERM @PID@ && echo REACHED"},
      {"KillHost", "kill -URG @SELF@ && echo REACHED"},
      {"SignalByDescriptor",
       PYTHON("p = call(434, @PID@, 0)\nprint('REACHED' if p >= 0 and call(424, p, 23, 0, 0) == 0 "
              "else 'no')")},
      {"SignalThread", PYTHON("print('REACHED' if call(234, @PID@, @PID@, 23) == 0 else 'no')")},
      {"QueueSignal",
       PYTHON("print('REACHED' if call(129, @PID@, 23, bytes(128)) == 0 else 'no')")},
      {"SignalEverybody", "kill -URG -1; true"},
      {"LimitsOfVictim",
       PYTHON("r = struct.pack('QQ', 0, 0)\nprint('REACHED' if call(302, @PID@, 7, r, 0) == 0 "
              "else 'no')")},
      {"PriorityOfVictim", "renice -n 19 -p @PID@ && echo REACHED"},
      {"SchedulerOfVictim", "taskset -p 1 @PID@ && echo REACHED"},
      {"ControllingTerminal", "echo REACHED > /dev/tty; cat < /dev/tty && echo REACHED"},
      {"WriteTerminal", "echo hi > @PTY@ && echo REACHED"},
      {"TypeIntoTerminal",
       PYTHON("fd = os.open('@PTY@', os.O_RDWR | os.O_NOCTTY)\nfcntl.ioctl(fd, 0x5412, b'x')\n"
              "print('REACHED')")},
      {"TypeIntoOwnTerminal",
       PYTHON("m, s = os.openpty()\nos.setsid() if os.fork() == 0 else os._exit(0)\n"
              "fcntl.ioctl(s, 0x540e, 0)\nfcntl.ioctl(s, 0x5412, b'x')\nprint('REACHED')")},
      {"TakeTerminal",
       PYTHON("fd = os.open('@PTY@', os.O_RDWR)\nfcntl.ioctl(fd, 0x540e, 1)\nprint('REACHED')")},
      {"Daemon", "setsid sleep 300 & setsid bash -c 'sleep 300; :' & (sleep 300 &) ; exit 0"},
      {"DoubleFork",
       PYTHON("import time\nif os.fork() == 0:\n  try:\n    os.setsid()\n  except OSError:\n    "
              "pass\n  if os.fork() == 0:\n    time.sleep(300)\n  os._exit(0)")},
      {"HeldOutput", "sleep 300 & nohup sleep 300 & disown -a; echo told"},
      {"DeafToSignals", "trap '' TERM INT HUP QUIT; (trap '' TERM; sleep 300) & exit 0"},
  };
  return kAttempts;
}

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
    // The kernel holds back what isn't root's, in a namespace of its own; the watch all else, which
    // a bomb might outrun: this is the machine of whoever runs the tests.
    const bool held = kind == SandboxKind::kBubblewrap && geteuid() != 0;
    if (held) {
      run("bomb() { bomb | bomb & }; bomb; sleep 60");
    } else {
      WARN("SKIP the fork bomb: only the watch would hold it");
    }
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
