#include "runtime/mcp/stdio_wire.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <deque>
#include <mutex>
#include <utility>

#include "runtime/clock.h"
#include "runtime/sandbox/launcher.h"
#include "runtime/sandbox/process_end.h"
#include "runtime/worker.h"
#include "tools_sdk/file_descriptor.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

constexpr size_t kReadBytes = 64 << 10;
constexpr size_t kWordsBytesMax = 4096;
constexpr size_t kQueueBytesMax = 32 << 20;
/// A server that has said so often message_bytes_max since its last answer is ended.
constexpr int64_t kUnaskedMessages = 8;
/// After its input was closed, and after it was asked to end.
constexpr int64_t kCloseGraceMs = 1000;
constexpr int64_t kTermGraceMs = 500;

constexpr std::string_view kPath = "/usr/local/bin:/usr/bin:/bin";

std::string HomeOfUser() {
  std::array<char, 4096> text;
  passwd entry{};
  passwd* found = nullptr;
  if (getpwuid_r(geteuid(), &entry, text.data(), text.size(), &found) != 0 || found == nullptr) {
    return "/";
  }
  return found->pw_dir;
}

/// Later ones win over earlier ones of the same name.
std::vector<std::string> EnvironmentOf(const McpServerOptions& options) {
  std::vector<std::string> all = {"PATH=" + std::string(kPath), "HOME=" + HomeOfUser(),
                                  "LANG=C.UTF-8"};
  for (const std::string& entry : options.environment) {
    const std::string name = entry.substr(0, entry.find('=') + 1);
    std::erase_if(all, [&](const std::string& other) { return other.starts_with(name); });
    all.push_back(entry);
  }
  return all;
}

Result<std::string> FindProgram(const std::string& name,
                                const std::vector<std::string>& environment) {
  if (name.find('/') != std::string::npos) return name;
  std::string path(kPath);
  for (const std::string& entry : environment) {
    if (entry.starts_with("PATH=")) path = entry.substr(5);
  }
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find(':', begin), path.size());
    const std::string file = path.substr(begin, end - begin) + "/" + name;
    if (file.starts_with('/') && access(file.c_str(), X_OK) == 0) return file;
    begin = end + 1;
  }
  return UnavailableError("there is no program '" + name + "' in " + path, "MCP_REFUSED");
}

struct Pipe {
  FileDescriptor read{-1};
  FileDescriptor write{-1};
};

Result<std::unique_ptr<Pipe>> MakePipe() {
  int ends[2] = {-1, -1};
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return ResourceExhaustedError("no pipe: " + std::string(std::strerror(errno)), "MCP_REFUSED");
  }
  return std::unique_ptr<Pipe>(new Pipe{FileDescriptor(ends[0]), FileDescriptor(ends[1])});
}

void NeverBlock(const FileDescriptor& file) {
  fcntl(file.get(), F_SETFL, fcntl(file.get(), F_GETFL) | O_NONBLOCK);
}

class StdioWire final : public RpcWire {
 public:
  StdioWire(const McpServerOptions& options, RpcListener* listener)
      : options_(options),
        listener_(listener),
        wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        lines_(static_cast<size_t>(options.message_bytes_max)),
        thread_(1, 1) {
    thread_.queue().Push([this] { Run(); });
  }
  ~StdioWire() override {
    stop_.store(true);
    eventfd_write(wake_.get(), 1);
    thread_.Stop();
  }

  Status Send(OutgoingMessage message) override {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      queued_bytes_ += message.text.size() + 1;
      queue_.push_back(std::move(message.text) + "\n");
    }
    eventfd_write(wake_.get(), 1);
    return OkStatus();
  }
  void Forget(int64_t) override {}
  std::string Words() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    return ReplaceInvalidUtf8(words_);
  }

 private:
  Status Start() {
    const std::vector<std::string> environment = EnvironmentOf(options_);
    ASSIGN_OR_RETURN(const std::string program, FindProgram(options_.command[0], environment));
    ASSIGN_OR_RETURN(const auto input, MakePipe());
    ASSIGN_OR_RETURN(const auto output, MakePipe());
    ASSIGN_OR_RETURN(const auto errors, MakePipe());
    Launch launch;
    launch.arguments = options_.command;
    launch.arguments[0] = program;
    launch.environment = environment;
    launch.folder = options_.folder;
    launch.input = input->read.get();
    launch.output = output->write.get();
    launch.errors = errors->write.get();
    launch.dies_with_thread = true;
    const auto started = StartProcess(launch);
    if (!started.ok()) return UnavailableError(started.status().message(), "MCP_REFUSED");
    process_ = *started;
    exit_ =
        std::make_unique<FileDescriptor>(static_cast<int>(syscall(SYS_pidfd_open, process_, 0)));
    input_ = std::make_unique<FileDescriptor>(input->write.Release());
    output_ = std::make_unique<FileDescriptor>(output->read.Release());
    errors_ = std::make_unique<FileDescriptor>(errors->read.Release());
    for (const auto* file : {&input_, &output_, &errors_}) NeverBlock(**file);
    return OkStatus();
  }

  void Run() {
    // A server that is gone must not raise a signal in the host.
    sigset_t broken_pipe;
    sigemptyset(&broken_pipe);
    sigaddset(&broken_pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &broken_pipe, nullptr);
    if (Status started = Start(); !started.ok()) return listener_->OnLost(0, started);
    while (!stop_.load() && lost_.empty()) Step(-1);
    if (stop_.load()) {
      AskToEnd();
    } else if (lost_.starts_with("closed")) {
      WaitForExit(kTermGraceMs);  // its status tells more
    }
    const GroupEnd end = EndProcessGroup(process_);
    ReadWords();
    if (stop_.load()) return;
    if (end.known && end.itself) lost_ = HowItEnded(end.status);
    const std::string words = Words();
    listener_->OnLost(
        0, UnavailableError("the server " + lost_ +
                            (words.empty() ? "" : "; the end of what it printed: " + words)));
  }

  /// Waits for something to happen, and takes it. Negative: without limit.
  void Step(int wait_ms) {
    const bool more = Pending();
    pollfd fds[5] = {{output_->get(), POLLIN, 0},
                     {errors_->get(), POLLIN, 0},
                     {wake_.get(), POLLIN, 0},
                     {exit_->get(), POLLIN, 0},
                     {more ? input_->get() : -1, POLLOUT, 0}};
    if (poll(fds, 5, wait_ms) <= 0) return;
    if (fds[2].revents != 0) {
      eventfd_t count = 0;
      eventfd_read(wake_.get(), &count);
    }
    if (fds[4].revents != 0) Write();
    if (fds[1].revents != 0) ReadWords();
    if (fds[0].revents != 0) ReadMessages();
    // What it had said before its end has been read, up to the pipe's size.
    if (fds[3].revents != 0 && lost_.empty()) {
      for (int i = 0; i < 32 && ReadMessages(); ++i) {
      }
      if (lost_.empty()) lost_ = "ended";
    }
  }

  /// Whether there is something to write.
  bool Pending() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (queued_bytes_ > kQueueBytesMax) lost_ = "doesn't read what it is sent, and was ended";
    return !queue_.empty();
  }

  void Write() {
    const std::lock_guard<std::mutex> lock(mutex_);
    while (!queue_.empty()) {
      const std::string_view rest = std::string_view(queue_.front()).substr(written_);
      const ssize_t count = write(input_->get(), rest.data(), rest.size());
      if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
      if (count < 0) {
        lost_ = "closed its input";
        return;
      }
      written_ += static_cast<size_t>(count);
      if (written_ < queue_.front().size()) return;
      queued_bytes_ -= queue_.front().size();
      queue_.pop_front();
      written_ = 0;
    }
  }

  /// false: there was nothing to read.
  bool ReadMessages() {
    std::string bytes(kReadBytes, '\0');
    const ssize_t count = read(output_->get(), bytes.data(), bytes.size());
    if (count < 0) return false;
    if (count == 0) {
      lost_ = "closed its output";
      return false;
    }
    unasked_bytes_ += count;
    std::vector<std::string> lines;
    const Status read =
        lines_.Push(std::string_view(bytes).substr(0, static_cast<size_t>(count)), &lines);
    for (const std::string& line : lines) Take(line);
    if (!read.ok()) lost_ = "sent rubbish, and was ended: " + read.message();
    const int64_t unasked_max = kUnaskedMessages * options_.message_bytes_max;
    if (unasked_bytes_ > unasked_max) {
      lost_ = "said " + std::to_string(unasked_max) +
              " bytes without an answer among them, and was ended";
    }
    return true;
  }

  /// Some servers print more than messages: such a line is only a word of theirs.
  void Take(const std::string& line) {
    auto messages = ReadRpcMessages(line);
    if (!messages.ok()) return AddWords("[not a message] " + line.substr(0, 200) + "\n");
    for (RpcMessage& message : *messages) {
      if (listener_->OnMessage(std::move(message))) unasked_bytes_ = 0;
    }
  }

  void ReadWords() {
    char bytes[4096];
    for (int i = 0; i < 16 && errors_->get() >= 0; ++i) {
      const ssize_t count = read(errors_->get(), bytes, sizeof(bytes));
      if (count == 0) errors_->Close();
      if (count <= 0) return;
      AddWords(std::string_view(bytes, static_cast<size_t>(count)));
    }
  }

  void AddWords(std::string_view words) {
    const std::lock_guard<std::mutex> lock(mutex_);
    words_ += words;
    if (words_.size() > kWordsBytesMax) words_.erase(0, words_.size() - kWordsBytesMax);
  }

  /// As MCP has it: its input ends, then it is asked, then it is not asked.
  void AskToEnd() {
    WaitForExit(0);
    Write();
    input_->Close();
    if (WaitForExit(kCloseGraceMs)) return;
    SignalProcessGroup(process_, SIGTERM);
    WaitForExit(kTermGraceMs);
  }

  /// Reads away what it still says.
  bool WaitForExit(int64_t wait_ms) {
    const Clock clock;
    const int64_t until = clock.SteadyMs() + wait_ms;
    bool open = true;
    while (true) {
      const int64_t left = until - clock.SteadyMs();
      pollfd fds[2] = {{exit_->get(), POLLIN, 0}, {open ? output_->get() : -1, POLLIN, 0}};
      if (poll(fds, 2, static_cast<int>(std::max<int64_t>(left, 0))) < 0 && errno != EINTR) {
        return false;
      }
      if ((fds[0].revents & POLLIN) != 0) return true;
      if (fds[1].revents != 0) {
        char away[4096];
        open = read(output_->get(), away, sizeof(away)) > 0;
      }
      if (left <= 0) return false;
    }
  }

  const McpServerOptions options_;
  RpcListener* const listener_;
  const FileDescriptor wake_;
  std::atomic<bool> stop_ = false;
  std::mutex mutex_;
  std::deque<std::string> queue_;  ///< Under mutex_, as the next three.
  size_t queued_bytes_ = 0;
  size_t written_ = 0;  ///< Of the first of queue_.
  std::string words_;
  // The thread's alone:
  pid_t process_ = -1;
  std::unique_ptr<FileDescriptor> exit_, input_, output_, errors_;
  LineReader lines_;
  int64_t unasked_bytes_ = 0;
  std::string lost_;  ///< How it came to an end.
  Worker thread_;     ///< Last: it is there as long as all it works with.
};

}  // namespace

std::unique_ptr<RpcWire> NewStdioWire(const McpServerOptions& options, RpcListener* listener) {
  return std::make_unique<StdioWire>(options, listener);
}

}  // namespace baleen
