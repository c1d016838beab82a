// Where commands run: the workspace to write, the system to read, nothing else, and no network.
//
// bubblewrap if it works here, else Landlock with seccomp, else nothing runs. Probed once. Called
// by the command runner; launcher.h starts the process.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "runtime/sandbox/launcher.h"
#include "tools_sdk/file_descriptor.h"
#include "tools_sdk/status.h"

namespace baleen {

enum class SandboxKind { kNone, kLandlock, kBubblewrap };

const char* SandboxKindName(SandboxKind kind);

/// Of one command and all that it starts.
struct CommandLimits {
  int64_t processes = 256;
  int64_t memory_bytes = int64_t{4} << 30;  ///< Resident, of all processes; and data of each.
  int64_t file_bytes = int64_t{1} << 30;    ///< Of one file.
  int64_t output_bytes = int64_t{64} << 20;
  int64_t open_files = 1024;  ///< Of each process.
  int64_t cpu_seconds = 600;  ///< Of each process.
};

struct SandboxedCommand {
  std::string workspace;  ///< Absolute, plain path.
  std::string folder;     ///< Below the workspace, to start in; "" is its root.
  std::string command;    ///< For bash -c.
  std::string scratch;    ///< Private folder of the command, for /tmp where there are no mounts.
  int output = -1;        ///< Gets standard output and error.
  CommandLimits limits;
};

/// A process on its way. With bubblewrap it is the monitor: killing it ends all.
struct StartedCommand {
  pid_t process = -1;
  std::unique_ptr<FileDescriptor> status;  ///< What bubblewrap reports; null with Landlock.
};

/// Threads: const methods from any thread.
class Sandbox {
 public:
  /// Tries what this machine can do, by running a command in it. `wanted` kNone: the best.
  static Sandbox Probe(SandboxKind wanted = SandboxKind::kNone);

  SandboxKind kind() const { return kind_; }
  /// Why not better, and what to install. Empty: it is bubblewrap.
  const std::string& reason() const { return reason_; }

  /// Errors: FAILED_PRECONDITION (no sandbox here: nothing runs; what to install); UNAVAILABLE.
  Result<StartedCommand> Start(const SandboxedCommand& command) const;

  /// The first process of its namespace, whose end is the end of all in it; negative: none known.
  static pid_t NamespaceOf(const StartedCommand& command);
  /// bubblewrap reported no end of the command itself: it failed before.
  static bool NeverBegan(const StartedCommand& command);

 private:
  Result<StartedCommand> StartBubblewrap(const SandboxedCommand& command) const;
  Result<StartedCommand> StartLandlock(const SandboxedCommand& command) const;
  /// Empty: it works.
  std::string Try(SandboxKind kind);

  SandboxKind kind_ = SandboxKind::kNone;
  std::string reason_;
};

}  // namespace baleen
