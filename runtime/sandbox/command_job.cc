#include "runtime/sandbox/command_job.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <utility>
#include <vector>

namespace baleen {
namespace {

using Clock = std::chrono::steady_clock;

// A fork bomb makes a thousand processes in such a time, which a machine bears.
constexpr int kWatchMs = 20;

int64_t MsSince(Clock::time_point begin) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin).count();
}

/// A child that isn't reaped yet.
bool HasEnded(pid_t child) {
  siginfo_t ended = {};
  return waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         ended.si_pid == child;
}

/// A file without a name, on disk if that can be.
int MakeOutputFile() {
  const std::string folder = std::filesystem::temp_directory_path();
  const int fd = open(folder.c_str(), O_TMPFILE | O_RDWR | O_APPEND | O_CLOEXEC, 0600);
  return fd >= 0 ? fd : memfd_create("command-output", MFD_CLOEXEC);
}

}  // namespace

Result<std::unique_ptr<CommandJob>> CommandJob::Start(
    const Sandbox& sandbox, SandboxedCommand command, int64_t timeout_ms,
    std::shared_ptr<const NetworkBounds> network) {
  const int output = MakeOutputFile();
  if (output < 0) return UnavailableError("no file for the command's output can be made");
  std::unique_ptr<CommandJob> job(new CommandJob(sandbox, std::move(command), timeout_ms, output));
  if (network != nullptr) {
    ASSIGN_OR_RETURN(job->proxy_, NetworkProxy::Start(std::move(network)));
  }
  std::mutex ready_mutex;
  std::condition_variable ready;
  bool known = false;
  Status status;
  // Started by its watch: what dies with the thread that started it then dies with the watch alone.
  job->watch_ = std::thread([&, owned = job.get()] {
    auto started = owned->StartSandbox(false);
    {
      const std::lock_guard<std::mutex> lock(ready_mutex);
      status = started.status();
      known = true;
      ready.notify_one();
    }
    if (started.ok()) owned->Run(std::move(started).value());
  });
  std::unique_lock<std::mutex> lock(ready_mutex);
  ready.wait(lock, [&] { return known; });
  if (!status.ok()) {
    lock.unlock();
    job->watch_.join();
    return status;
  }
  return job;
}

std::unique_ptr<CommandJob> CommandJob::Prepare(const Sandbox& sandbox, SandboxedCommand command,
                                                std::shared_ptr<const NetworkBounds> network) {
  const int output = sandbox.kind() == SandboxKind::kBubblewrap ? MakeOutputFile() : -1;
  if (output < 0) return nullptr;
  std::unique_ptr<CommandJob> job(new CommandJob(sandbox, std::move(command), 0, output));
  if (network != nullptr) {
    auto proxy = NetworkProxy::Start(std::move(network));
    if (!proxy.ok()) return nullptr;
    job->proxy_ = std::move(proxy).value();
  }
  job->watch_ = std::thread([owned = job.get()] { owned->Await(); });
  return job;
}

bool CommandJob::Begin(const std::string& command, int64_t timeout_ms) {
  std::unique_lock<std::mutex> lock(mutex_);
  // One that is being made is sooner ready than a new one.
  changed_.wait(lock,
                [this] { return waiting_ != nullptr || begun_ || state_.ended || stop_.load(); });
  if (waiting_ == nullptr || begun_ || HasEnded(waiting_->process)) return false;
  SandboxedCommand spec = command_;
  spec.command = command;
  spec.network = proxy_.get();
  if (!sandbox_.HandOver(spec, *waiting_)) return false;
  timeout_ms_ = timeout_ms;
  begun_ = true;
  changed_.notify_all();
  return true;
}

Result<StartedCommand> CommandJob::StartSandbox(bool waits) {
  SandboxedCommand spec = command_;
  spec.output = output_.get();
  spec.network = proxy_.get();
  spec.waits = waits;
  auto started = sandbox_.Start(spec);
  if (proxy_ != nullptr) proxy_->CloseDoor();
  return started;
}

void CommandJob::Await() {
  auto started = StartSandbox(true);
  {
    std::unique_lock<std::mutex> lock(mutex_);
    if (!started.ok()) {
      state_.ended = true;
      state_.failed = started.status();
      return changed_.notify_all();
    }
    waiting_ = &*started;
    changed_.notify_all();
    changed_.wait_for(lock, std::chrono::milliseconds(kSpareMs),
                      [this] { return begun_ || stop_.load(); });
    waiting_ = nullptr;
    if (!begun_) stop_.store(true);
  }
  Run(std::move(started).value());
}

CommandJob::~CommandJob() {
  Stop();
  if (watch_.joinable()) watch_.join();
}

void CommandJob::Stop() {
  const std::lock_guard<std::mutex> lock(mutex_);
  stop_.store(true);
  changed_.notify_all();
}

JobState CommandJob::Wait(int64_t wait_ms) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait_for(lock, std::chrono::milliseconds(wait_ms), [this] { return state_.ended; });
  return state_;
}

int64_t CommandJob::OutputBytes() const {
  struct stat status = {};
  return fstat(output_.get(), &status) == 0 ? status.st_size : 0;
}

std::string CommandJob::Output(int64_t offset, int64_t bytes_max) const {
  std::string out(static_cast<size_t>(std::max<int64_t>(0, bytes_max)), '\0');
  const ssize_t got = pread(output_.get(), out.data(), out.size(), offset);
  out.resize(static_cast<size_t>(std::max<ssize_t>(got, 0)));
  return out;
}

void CommandJob::Run(StartedCommand started) {
  const Clock::time_point begin = Clock::now();
  const FileDescriptor pidfd(static_cast<int>(syscall(SYS_pidfd_open, started.process, 0)));
  JobState end;
  bool killed = false;
  for (;;) {
    pollfd poller = {pidfd.get(), POLLIN, 0};
    const int polled = poll(&poller, 1, kWatchMs);
    if (polled > 0 || (pidfd.get() < 0 && HasEnded(started.process))) break;
    if (killed) continue;
    if (stop_.load()) {
      end.stopped = "it was stopped";
    } else if (MsSince(begin) >= timeout_ms_) {
      end.timed_out = true;
      end.stopped = "it ran longer than " + std::to_string(timeout_ms_) + " ms";
    } else if (OutputBytes() > command_.limits.output_bytes) {
      end.stopped = "it wrote more than " + std::to_string(command_.limits.output_bytes) + " bytes";
    } else {
      end.stopped = sandbox_.Excess(started.process, command_.limits);
    }
    if (end.stopped.empty()) continue;
    killed = true;
    kill(-started.process, SIGKILL);
  }
  Sandbox::End(started);
  int status = 0;
  while (waitpid(started.process, &status, 0) < 0 && errno == EINTR) {
  }
  end.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  if (end.stopped.empty() && Sandbox::NeverBegan(started)) {
    end.failed = UnavailableError("the sandbox failed before the command began: " + Output(0, 500));
  }
  if (proxy_ != nullptr) {
    for (const std::string& one : proxy_->Refusals()) {
      end.refused_hosts += (end.refused_hosts.empty() ? "" : "; ") + one;
    }
    proxy_.reset();
  }
  end.elapsed_ms = MsSince(begin);
  end.ended = true;
  const std::lock_guard<std::mutex> lock(mutex_);
  state_ = end;
  changed_.notify_all();
}

}  // namespace baleen
