// baleen-tool-host PLUGIN: loads a plugin and makes one call of it, apart from everybody else.
// baleen-tool-host --door FILE PROGRAM ARGUMENT...: becomes PROGRAM, behind an open door: a port of
// its loopback, whose listening socket it has handed out through FILE.
//
// Started by the runtime (runtime/plugins/tool_process.h), which speaks through kFrameFd, and in
// the sandbox (runtime/sandbox/network_proxy.h). Of no use by hand.
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>

#include "runtime/sandbox/descriptor_message.h"
#include "tools_sdk/plugin/plugin_library.h"
#include "tools_sdk/plugin/tool_frames.h"

namespace baleen {
namespace {

constexpr rlim_t kMemoryBytesMax = rlim_t{4} << 30;
// Sanitizers reserve terabytes of addresses; clang has no macro of its own for them.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#elif defined(__has_feature)
constexpr bool kSanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
constexpr bool kSanitized = false;
#endif
constexpr rlim_t kFileBytesMax = rlim_t{1} << 30;
constexpr rlim_t kOpenFilesMax = 256;
constexpr size_t kChunkBytes = 64 * 1024;

void Limit(decltype(RLIMIT_CORE) what, rlim_t most) {
  const rlimit limit = {most, most};
  setrlimit(what, &limit);  // a lower one that holds already is as good
}

void LimitSelf() {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  Limit(RLIMIT_CORE, 0);
  Limit(RLIMIT_NOFILE, kOpenFilesMax);
  Limit(RLIMIT_FSIZE, kFileBytesMax);
  if (!kSanitized) Limit(RLIMIT_AS, kMemoryBytesMax);
}

bool SendAll(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(kFrameFd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

bool Send(FrameKind kind, std::string_view body) { return SendAll(EncodeFrame(kind, body)); }

Result<Frame> Receive() {
  FrameReader reader;
  std::string bytes(kChunkBytes, '\0');
  while (true) {
    ASSIGN_OR_RETURN(auto frame, reader.Next());
    if (frame.has_value()) return *std::move(frame);
    const ssize_t count = recv(kFrameFd, bytes.data(), bytes.size(), 0);
    if (count <= 0) return UnavailableError("nobody asks");
    reader.Append(std::string_view(bytes).substr(0, static_cast<size_t>(count)));
  }
}

class HostPort final : public PluginCallPort {
 public:
  explicit HostPort(int64_t time_left_ms)
      : end_(std::chrono::steady_clock::now() + std::chrono::milliseconds(time_left_ms)) {}

  bool Cancelled() const override {
    pollfd cancel = {kCancelFd, POLLIN, 0};
    return poll(&cancel, 1, 0) > 0;
  }
  int CancelFd() const override { return kCancelFd; }
  int64_t TimeLeftMs() const override {
    return std::chrono::duration_cast<std::chrono::milliseconds>(end_ -
                                                                 std::chrono::steady_clock::now())
        .count();
  }
  bool Write(std::string_view bytes) override {
    for (; !bytes.empty(); bytes.remove_prefix(std::min(bytes.size(), kChunkBytes))) {
      if (!Send(FrameKind::kOutput, bytes.substr(0, kChunkBytes))) return false;
    }
    return true;
  }
  bool Progress(std::string_view line) override { return Send(FrameKind::kProgress, line); }

 private:
  const std::chrono::steady_clock::time_point end_;
};

Status Serve(const std::string& path) {
  ASSIGN_OR_RETURN(const Frame frame, Receive());
  ASSIGN_OR_RETURN(const auto library, PluginLibrary::Load(path));
  const PluginManifest& manifest = library->manifest();
  if (frame.kind == FrameKind::kDescribe) {
    const std::string text = ManifestToJson(manifest);
    if (text.size() >= kFrameBytesMax) return OutOfRangeError("its manifest is over 4 MiB long");
    Send(FrameKind::kManifest, text);
    return OkStatus();
  }
  if (frame.kind != FrameKind::kCall) return InvalidArgumentError("a frame of another kind");
  ASSIGN_OR_RETURN(const CallFrame asked, CallFrameFromJson(frame.body));
  for (size_t i = 0; i < manifest.tools.size(); ++i) {
    if (manifest.tools[i].name != asked.call.name) continue;
    HostPort port(asked.time_left_ms);
    Send(FrameKind::kBegun, "");
    const ResultFrame result = library->Run(i, asked.call, port);
    Send(FrameKind::kResult, ResultFrameToJson(result));
    return OkStatus();
  }
  return NotFoundError("plugin '" + path + "' has no tool '" + asked.call.name + "' any more");
}

/// Comes back only if it fails. Neither socket is the program's.
int BecomeBehindDoor(int door, char** program) {
  constexpr int kFailed = 126;
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof(address);
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener < 0 || bind(listener, any, bytes) != 0 || listen(listener, SOMAXCONN) != 0 ||
      getsockname(listener, any, &bytes) != 0 || !SendDescriptor(door, listener) ||
      fcntl(door, F_SETFD, FD_CLOEXEC) != 0) {
    perror("baleen-tool-host: the way to the network's proxy");
    return kFailed;
  }
  const std::string proxy = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  for (const char* name :
       {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"}) {
    setenv(name, proxy.c_str(), 1);
  }
  execv(program[0], program);
  perror(program[0]);
  return kFailed;
}

}  // namespace
}  // namespace baleen

int main(int argc, char** argv) {
  constexpr std::string_view kUsage =
      "usage: baleen-tool-host PLUGIN, started by Baleen's runtime to run a plugin's tools\n";
  constexpr int kUsageExit = 2;
  if (argc >= 4 && std::string_view(argv[1]) == "--door") {
    return baleen::BecomeBehindDoor(std::atoi(argv[2]), argv + 3);
  }
  int kind = 0;
  socklen_t size = sizeof(kind);
  if (argc != 2 || getsockopt(baleen::kFrameFd, SOL_SOCKET, SO_TYPE, &kind, &size) != 0) {
    return write(STDERR_FILENO, kUsage.data(), kUsage.size()) < 0 ? kUsageExit + 1 : kUsageExit;
  }
  baleen::LimitSelf();
  const baleen::Status status = baleen::Serve(argv[1]);
  if (!status.ok()) baleen::Send(baleen::FrameKind::kRefusal, status.message());
  return status.ok() ? 0 : 1;
}
