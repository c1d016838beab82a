// One sandboxed command from its start to the end of all that it started, watched by a thread.
//
// The watch ends it at its deadline, on request, and when it has too many processes, too much
// memory or too much output. Its output goes to a nameless file: nothing that its children hold
// open keeps anybody waiting. Called by bash_tools.h.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "runtime/sandbox/sandbox.h"

namespace baleen {

struct JobState {
  bool ended = false;
  int exit_code = 0;    ///< 128 + N: ended by signal N.
  std::string stopped;  ///< Why it was ended from here; empty: it ended by itself.
  bool timed_out = false;
  Status failed;  ///< It never began.
  int64_t elapsed_ms = 0;
  std::string refused_hosts;  ///< To which it wanted to connect and may not, with reasons.
};

/// Threads: any.
class CommandJob {
 public:
  /// Borrows: the sandbox, until the job is gone. `command.output` and `command.network` are the
  /// job's own; `network` null: none. Errors: as Sandbox::Start and NetworkProxy::Start;
  /// UNAVAILABLE.
  static Result<std::unique_ptr<CommandJob>> Start(
      const Sandbox& sandbox, SandboxedCommand command, int64_t timeout_ms,
      std::shared_ptr<const NetworkBounds> network = {});
  /// One whose command comes later, while its sandbox is made already; nothing is waited for. It
  /// has its namespaces to itself like any other, and ends when none has come for kSpareMs. Null:
  /// not in this sandbox. Borrows: as Start.
  static std::unique_ptr<CommandJob> Prepare(const Sandbox& sandbox, SandboxedCommand command,
                                             std::shared_ptr<const NetworkBounds> network = {});
  /// Gives a prepared one its command; waits until its process was started. False: it has ended, or
  /// what its sandbox shows isn't what a new one would show. Then nothing ran; start another one.
  bool Begin(const std::string& command, int64_t timeout_ms);
  static constexpr int64_t kSpareMs = 300'000;

  /// Ends it, and waits until nothing of it runs.
  ~CommandJob();
  CommandJob(const CommandJob&) = delete;
  CommandJob& operator=(const CommandJob&) = delete;

  /// Waits until it has ended, at most so long.
  JobState Wait(int64_t wait_ms);
  /// Asks for its end; Wait tells when it came.
  void Stop();

  int64_t OutputBytes() const;
  std::string Output(int64_t offset, int64_t bytes_max) const;

 private:
  CommandJob(const Sandbox& sandbox, SandboxedCommand command, int64_t timeout_ms, int output)
      : sandbox_(sandbox), command_(std::move(command)), timeout_ms_(timeout_ms), output_(output) {}
  /// Runs in watch_: starts the sandbox, then as Run.
  void Await();
  void Run(StartedCommand started);
  Result<StartedCommand> StartSandbox(bool waits);

  const Sandbox& sandbox_;
  const SandboxedCommand command_;
  int64_t timeout_ms_;  ///< Of a prepared one: set before its watch goes on.
  const FileDescriptor output_;
  std::unique_ptr<NetworkProxy> proxy_;  ///< Null: no network.
  std::atomic<bool> stop_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
  // Under mutex_.
  JobState state_;
  const StartedCommand* waiting_ = nullptr;  ///< For its command.
  bool begun_ = false;
  std::thread watch_;
};

}  // namespace baleen
