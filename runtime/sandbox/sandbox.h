// Where commands and plugins run: the workspace to write, the system to read, nothing else, and no
// network but what a proxy of ours lets through.
//
// bubblewrap if it works here, else Landlock with seccomp, else nothing runs. Probed once. Called
// by the command runner and for plugins; launcher.h starts the process.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/sandbox/launcher.h"
#include "runtime/sandbox/network_proxy.h"
#include "runtime/sandbox/private_folder.h"
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
  std::string workspace;    ///< Absolute, plain path, to read and write; empty: none.
  bool reads_only = false;  ///< The workspace is to be read alone.
  /// Patterns, as SecretOf's, of its secret files that are not hidden.
  std::vector<std::string> readable_secrets;
  std::string folder;   ///< Below the workspace, to start in; "" is its root.
  std::string command;  ///< For bash -c.
  /// Instead of `command`: a program's absolute, plain path, and its arguments.
  std::vector<std::string> program;
  /// Files to read, wherever they are; absolute, plain paths. The program is one.
  std::vector<std::string> readable;
  std::vector<int> files;  ///< Become file 3, 4, ...
  /// Its only way out; null: no network. Needs a namespace: bubblewrap.
  const NetworkProxy* network = nullptr;
  int output = -1;  ///< Gets standard output and error.
  CommandLimits limits;
  bool waits = false;  ///< For its `command`, until HandOver. Needs bubblewrap.
};

/// A process on its way. With bubblewrap it is the monitor: killing it ends all.
struct StartedCommand {
  pid_t process = -1;
  std::unique_ptr<FileDescriptor> status;  ///< What bubblewrap reports; null with Landlock.
  std::unique_ptr<PrivateFolder> scratch;  ///< For /tmp, where there are no mounts; else null.
  // Of one that waits.
  std::unique_ptr<FileDescriptor> text{};  ///< Where its command is put.
  std::unique_ptr<FileDescriptor> go{};    ///< Through which it hears that it is there.
  std::string view{};                      ///< What was bound for it.
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

  /// Gives `command.command` to `waiting`, which was started for the same command but that text.
  /// False: it isn't of use any more, as something that is bound changed since; nothing of the
  /// command ran.
  bool HandOver(const SandboxedCommand& command, const StartedCommand& waiting) const;

  /// Why it must end now, for what all its processes have together; empty: it need not.
  std::string Excess(pid_t process, const CommandLimits& limits) const;
  /// Kills all that is left of it, and waits until nothing of it runs: the kernel takes its time
  /// over many processes. Requires: `command.process` isn't reaped.
  static void End(const StartedCommand& command);
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

/// What this machine has, looked at when the first process wants to run.
/// Threads: any.
class LazySandbox {
 public:
  explicit LazySandbox(SandboxKind wanted = SandboxKind::kNone) : wanted_(wanted) {}
  /// Of what was found already.
  explicit LazySandbox(const Sandbox& found) : sandbox_(found) {
    std::call_once(once_, [] {});
  }
  const Sandbox& Get() {
    std::call_once(once_, [this] { sandbox_ = Sandbox::Probe(wanted_); });
    return sandbox_;
  }

 private:
  const SandboxKind wanted_ = SandboxKind::kNone;
  std::once_flag once_;
  Sandbox sandbox_;
};

}  // namespace baleen
