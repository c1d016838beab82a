// The control of escape_test.cc: the same attempts without a sandbox. What fails there as well, for
// a slip in its text, say, would prove nothing about a sandbox.
//
// Only attempts that change nothing but what OutsideWorld has put there for them.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cstdio>
#include <iostream>
#include <set>

#include "tests/sandbox/escape_attempts.h"
#include "tests/sandbox/outside_world.h"

namespace baleen {
namespace {

// What everybody may do to his own files, processes, sockets and terminals.
const std::set<std::string>& MustReach() {
  static const std::set<std::string> kNames = {"AbsolutePath",
                                               "DotDot",
                                               "SymlinkToFile",
                                               "SymlinkToFolder",
                                               "HardLink",
                                               "MoveIn",
                                               "RemoveOutside",
                                               "WriteOutside",
                                               "Truncate",
                                               "ChangeMode",
                                               "SharedMemoryFile",
                                               "WriteSharedMemoryFile",
                                               "InheritedFiles",
                                               "InheritedFolders",
                                               "InheritedFolderParent",
                                               "Environment",
                                               "ProcSelfRoot",
                                               "ProcSelfCwd",
                                               "ProcVictimRoot",
                                               "ProcVictimEnvironment",
                                               "ProcFileOfAnother",
                                               "TcpToLoopback",
                                               "TcpToLocalhostName",
                                               "Udp",
                                               "UnixSocket",
                                               "AbstractSocket",
                                               "AbstractDatagram",
                                               "KillVictim",
                                               "KillHost",
                                               "SignalByDescriptor",
                                               "SignalThread",
                                               "LimitsOfVictim",
                                               "PriorityOfVictim",
                                               "WriteTerminal"};
  return kNames;
}

// What takes privileges, a kernel that was built for it, or a program: a machine may refuse it.
const std::set<std::string>& MayReach() {
  static const std::set<std::string> kNames = {
      "OpenByHandle",  "ProcInitRoot",      "PivotRoot",        "Chroot",
      "Unshare",       "SetNamespace",      "CloneNewUser",     "SetOwnNamespace",
      "Clone3NewUser", "FileSystemContext", "X32Call",          "Int80",
      "PtraceAttach",  "ReadMemory",        "TakeFile",         "Bpf",
      "PerfEvents",    "IoUring",           "UserFaults",       "Personality",
      "KernelLog",     "QueueSignal",       "PacketSocket",     "VirtualMachineSocket",
      "RawSocket",     "CryptoSocket",      "TypeIntoTerminal", "SchedulerOfVictim"};
  return kNames;
}

/// What it said, with its errors.
std::string RunHere(const OutsideWorld& world, const std::string& command) {
  const std::string file = world.workspace() + "/attempt.sh";
  std::ofstream(file) << world.Filled(command) << "\n";
  const std::string line =
      "cd '" + world.workspace() + "' && timeout -k 1 30 bash ./attempt.sh 2>&1 < /dev/null";
  std::string output;
  FILE* const pipe = popen(line.c_str(), "r");  // which hands on what is open: it is to be found
  REQUIRE(pipe != nullptr);
  std::array<char, 4096> bytes;
  for (size_t got = 0; (got = fread(bytes.data(), 1, bytes.size(), pipe)) > 0;) {
    output.append(bytes.data(), got);
  }
  pclose(pipe);
  return output;
}

/// By what ExpectNoEscape would have told it.
bool HasReached(const OutsideWorld& world, const std::string& output) {
  return ("\n" + output).find("\nREACHED") != std::string::npos ||
         output.find(world.secret()) != std::string::npos || !world.Changes().empty();
}

std::vector<Attempt> AllAttempts() {
  std::vector<Attempt> all;
  for (const auto* some : {&PathAttempts(), &ProcAttempts(), &KernelAttempts(), &NetworkAttempts(),
                           &ProcessAttempts()}) {
    all.insert(all.end(), some->begin(), some->end());
  }
  return all;
}

TEST_CASE("WithoutASandboxTheAttemptsReach") {
  size_t tried = 0, reached = 0;
  for (const Attempt& attempt : AllAttempts()) {
    const bool must = MustReach().contains(attempt.name);
    if (!must && !MayReach().contains(attempt.name)) continue;
    ++tried;
    const OutsideWorld world;
    const std::string output = RunHere(world, attempt.command);
    const bool has = HasReached(world, output);
    reached += has ? 1 : 0;
    INFO(attempt.name << " said:\n" << output);
    if (must) {
      CHECK(has);
    } else if (!has) {
      std::cout << "SKIP " << attempt.name << ": refused without a sandbox, too\n";
    }
  }
  std::cout << reached << " of " << tried << " attempts reach without a sandbox\n";
  CHECK(tried == MustReach().size() + MayReach().size());  // each name is one of an attempt
}

}  // namespace
}  // namespace baleen
