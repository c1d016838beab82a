#include "runtime/plugins/tool_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "runtime/clock.h"
#include "runtime/sandbox/process_end.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

constexpr int64_t kLookMs = 20;  ///< Between two looks at the cancel flag.
constexpr size_t kWordsBytesMax = 2048;
constexpr size_t kReadBytes = 64 * 1024;
constexpr int kLastReads = 2 * kFrameBytesMax / kReadBytes;

int64_t NowMs() { return Clock().SteadyMs(); }

Status NoDescriptors() {
  return ResourceExhaustedError("no descriptors for a plugin's process: " +
                                std::string(std::strerror(errno)));
}

/// The talk with one process.
class Exchange {
 public:
  Exchange(const ToolHostCommand& command, std::unique_ptr<ToolHostProcess> host,
           std::string request, const ToolHostLimits& limits)
      : command_(command), host_(std::move(host)), request_(std::move(request)), limits_(limits) {}

  ToolHostAnswer Run() {
    const int64_t deadline = NowMs() + limits_.time_ms;
    int64_t kill_at = INT64_MAX;
    while (!answer_.Answered() && !broken_ && !exited_) {
      const int64_t now = NowMs();
      if (now >= kill_at) break;
      if (kill_at == INT64_MAX) {
        answer_.cancelled = limits_.cancelled != nullptr && limits_.cancelled->load();
        answer_.timed_out = now >= deadline;
        if (answer_.timed_out || answer_.cancelled) {
          kill_at = now + kStopGraceMs;
          eventfd_write(host_->cancel.get(), 1);
        }
      }
      Step(std::min({kLookMs, std::max<int64_t>(deadline - now, 1), kill_at - now}));
      Watch();
    }
    return Finish();
  }

 private:
  /// Ends a process whose family has grown too large.
  void Watch() {
    if (command_.sandbox == nullptr || NowMs() < watch_at_) return;
    watch_at_ = NowMs() + kLookMs;
    const std::string excess =
        command_.sandbox->Get().Excess(host_->started.process, CommandLimits());
    if (!excess.empty()) Break("was ended: " + excess);
  }

  /// Waits for something to happen, and takes it.
  void Step(int64_t wait_ms) {
    const auto frames_wanted = static_cast<short>(POLLIN | (sent_ < request_.size() ? POLLOUT : 0));
    pollfd fds[3] = {{host_->frames.get(), frames_wanted, 0},
                     {host_->words.get(), POLLIN, 0},
                     {host_->exit.get(), POLLIN, 0}};
    if (poll(fds, 3, static_cast<int>(wait_ms)) <= 0) return;
    if ((fds[0].revents & POLLOUT) != 0) Send();
    if ((fds[1].revents & (POLLIN | POLLHUP)) != 0) ReadWords();
    exited_ = (fds[2].revents & POLLIN) != 0;
    // Its last frames may have come after poll looked for them.
    if (exited_ || (fds[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0) ReadFrames();
  }

  void Send() {
    const ssize_t sent = send(host_->frames.get(), request_.data() + sent_, request_.size() - sent_,
                              MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) sent_ += static_cast<size_t>(sent);
  }

  /// One read, so that time is looked at; what is left of a process that has ended, whose
  /// children may still hold the other end.
  void ReadFrames() {
    std::string bytes(kReadBytes, '\0');
    const int reads = exited_ ? kLastReads : 1;
    for (int i = 0; i < reads && !broken_ && !answer_.Answered(); ++i) {
      const ssize_t count = recv(host_->frames.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
      if (count < 0) return;
      if (count == 0) {
        hung_up_ = true;
        return Break("closed its socket without an answer, and was ended");
      }
      reader_.Append(std::string_view(bytes).substr(0, static_cast<size_t>(count)));
      TakeFrames();
    }
  }

  void TakeFrames() {
    while (!answer_.Answered() && !broken_) {
      auto next = reader_.Next();
      if (!next.ok()) return Break("sent " + next.status().message() + ", and was ended");
      if (!next->has_value()) return;
      Take(**next);
    }
  }

  void Take(const Frame& frame) {
    switch (frame.kind) {
      case FrameKind::kBegun: answer_.begun = true; return;
      case FrameKind::kProgress:
        answer_.progress = ReplaceInvalidUtf8(frame.body.substr(0, 200));
        return Tell({});
      case FrameKind::kOutput: {
        const auto room = static_cast<size_t>(limits_.output_bytes_max) - answer_.output.size();
        const std::string_view taken = std::string_view(frame.body).substr(0, room);
        answer_.output += taken;
        Tell(taken);
        if (frame.body.size() > room) Break("sent more output than it may, and was ended");
        return;
      }
      case FrameKind::kResult: return Parse(ResultFrameFromJson(frame.body), &answer_.result);
      case FrameKind::kManifest: return Parse(ManifestFromJson(frame.body), &answer_.manifest);
      case FrameKind::kRefusal:
        answer_.refusal = ReplaceInvalidUtf8(frame.body.substr(0, 4096));
        if (answer_.refusal.empty()) answer_.refusal = "it doesn't say why";
        return;
      case FrameKind::kCall:
      case FrameKind::kDescribe:
        return Break("sent a frame that only the runtime sends, and was ended");
    }
  }

  void Tell(std::string_view output) {
    if (!limits_.progress) return;
    CallProgress news;
    news.output = output;
    news.output_bytes = static_cast<int64_t>(answer_.output.size());
    news.message = answer_.progress;
    limits_.progress(news);
  }

  template <typename T>
  void Parse(Result<T> parsed, std::optional<T>* to) {
    if (!parsed.ok())
      return Break("sent rubbish: " + parsed.status().message() + ", and was ended");
    *to = std::move(parsed).value();
  }

  void ReadWords() {
    char bytes[4096];
    const ssize_t count = read(host_->words.get(), bytes, sizeof(bytes));
    if (count <= 0) {
      if (count == 0) host_->words.Close();
      return;
    }
    answer_.words.append(bytes, static_cast<size_t>(count));
    if (answer_.words.size() > kWordsBytesMax) {
      answer_.words.erase(0, answer_.words.size() - kWordsBytesMax);
    }
  }

  void Break(const std::string& how) {
    broken_ = true;
    answer_.end = how;
  }

  ToolHostAnswer Finish() {
    // One that has answered, or hung up, may be about to end by itself: its status tells more.
    const int64_t until = NowMs() + (answer_.Answered() || hung_up_ ? kExitGraceMs : 0);
    while (!exited_ && NowMs() < until && host_->exit.get() >= 0) {
      pollfd exit = {host_->exit.get(), POLLIN, 0};
      if (poll(&exit, 1, static_cast<int>(std::max<int64_t>(until - NowMs(), 1))) > 0) break;
    }
    GroupEnd group = EndProcessGroup(host_->started.process, [this] {
      if (command_.sandbox != nullptr) Sandbox::End(host_->started);
    });
    // bubblewrap tells of a signal as shells do.
    if (host_->started.status != nullptr && WIFEXITED(group.status) &&
        WEXITSTATUS(group.status) > 128) {
      group.status = WEXITSTATUS(group.status) - 128;
    }
    for (int i = 0; i < 64 && host_->words.get() >= 0; ++i) {
      pollfd words = {host_->words.get(), POLLIN, 0};
      if (poll(&words, 1, 0) <= 0) break;
      ReadWords();
    }
    answer_.words = ReplaceInvalidUtf8(answer_.words);
    const bool says_how = group.known && group.itself;
    if (!answer_.Answered() && (answer_.end.empty() || (hung_up_ && says_how))) {
      const bool by_signal = group.known && WIFSIGNALED(group.status);
      answer_.end = group.known ? HowItEnded(group.status) : "ended";
      if (!by_signal) answer_.end += " without an answer";
    }
    return std::move(answer_);
  }

  const ToolHostCommand& command_;
  const std::unique_ptr<ToolHostProcess> host_;
  std::string request_;
  const ToolHostLimits limits_;
  size_t sent_ = 0;
  int64_t watch_at_ = 0;
  FrameReader reader_;
  bool exited_ = false;
  bool broken_ = false;
  bool hung_up_ = false;
  ToolHostAnswer answer_;
};

}  // namespace

Result<std::unique_ptr<ToolHostProcess>> StartToolHost(const ToolHostCommand& command,
                                                       const ProcessBounds& bounds) {
  int frames[2] = {-1, -1};
  int words[2] = {-1, -1};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, frames) != 0) return NoDescriptors();
  FileDescriptor frames_here(frames[0]);
  const FileDescriptor frames_there(frames[1]);
  if (pipe2(words, O_CLOEXEC) != 0) return NoDescriptors();
  FileDescriptor words_here(words[0]);
  const FileDescriptor words_there(words[1]);
  FileDescriptor cancel(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (cancel.get() < 0) return NoDescriptors();
  StartedCommand started;
  std::unique_ptr<NetworkProxy> proxy;
  // The first two are kFrameFd and kCancelFd.
  const std::vector<int> files = {frames_there.get(), cancel.get()};
  if (command.sandbox != nullptr) {
    SandboxedCommand sandboxed;
    sandboxed.workspace = bounds.workspace;
    sandboxed.readable_secrets = bounds.readable_secrets;
    if (bounds.network != nullptr) {
      ASSIGN_OR_RETURN(proxy, NetworkProxy::Start(bounds.network));
      sandboxed.network = proxy.get();
    }
    sandboxed.program = {command.program, command.plugin};
    sandboxed.readable = sandboxed.program;
    sandboxed.files = files;
    sandboxed.output = words_there.get();
    ASSIGN_OR_RETURN(started, command.sandbox->Get().Start(sandboxed));
    if (proxy != nullptr) proxy->CloseDoor();
  } else {
    Launch launch;
    launch.arguments = {command.program, command.plugin};
    launch.environment = {"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8"};
    if (!bounds.workspace.empty()) launch.folder = bounds.workspace;
    launch.files = files;
    launch.output = words_there.get();
    ASSIGN_OR_RETURN(started.process, StartProcess(launch));
  }
  const pid_t process = started.process;
  // The braces keep the order: nothing is open before it has an owner.
  return std::unique_ptr<ToolHostProcess>(
      new ToolHostProcess{std::move(started), std::move(proxy),
                          FileDescriptor(static_cast<int>(syscall(SYS_pidfd_open, process, 0))),
                          FileDescriptor(frames_here.Release()), FileDescriptor(cancel.Release()),
                          FileDescriptor(words_here.Release())});
}

Result<ToolHostAnswer> AskToolHost(const ToolHostCommand& command, const std::string& request,
                                   const ToolHostLimits& limits) {
  ASSIGN_OR_RETURN(auto process, StartToolHost(command, limits.bounds));
  return Exchange(command, std::move(process), request, limits).Run();
}

}  // namespace baleen
