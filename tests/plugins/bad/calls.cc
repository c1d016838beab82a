// A plugin whose tools misbehave, one way each.
#include <baleen/plugin_tool.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

using baleen::plugin::Call;
using baleen::plugin::Tool;

constexpr int kFrameFd = 3;

[[noreturn]] void Hang() {
  while (true) pause();
}

std::string Flood(Call& call) {
  const std::string chunk(1 << 20, 'x');
  int full = 0;
  for (int i = 0; i < 100; ++i) full += call.Write(chunk) ? 0 : 1;
  return std::to_string(full);
}

/// Writes to the runtime's socket past the host.
std::string Forge(const std::string& bytes) {
  for (int i = 0; i < 64; ++i) {
    if (send(kFrameFd, bytes.data(), bytes.size(), MSG_NOSIGNAL) < 0) break;
  }
  Hang();
}

/// A frame of output, as the host would send it.
std::string OutputFrame(size_t size) {
  std::string frame;
  for (int i = 0; i < 4; ++i) frame += static_cast<char>((size + 1) >> (8 * i) & 0xFF);
  return frame + 'o' + std::string(size, 'y');
}

std::string WaitForCancel(Call& call) {
  pollfd fd = {call.cancel_fd(), POLLIN, 0};
  call.Write("waiting");
  if (poll(&fd, 1, 60'000) != 1) return "never cancelled";
  call.CheckCancelled();
  return "readable, and yet not cancelled";
}

/// Leaves a child behind that holds everything that is open.
std::string LeaveChild(Call&) {
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGTERM, SIG_IGN);
    Hang();
  }
  return std::to_string(child);
}

/// Goes on, whatever it is told, until the file is there.
std::string Stubborn(Call& call) {
  const std::string path = *call.Get<std::string>("text");
  while (access(path.c_str(), F_OK) != 0) usleep(10'000);
  return "at last";
}

std::string Remember(Call& call) {
  static int calls = 0;
  return std::to_string(++calls) + " " + std::string(call.id());
}

}  // namespace

BALEEN_PLUGIN(
    "bad calls", "1", Tool("crash", "Ends by a signal.").Run([](Call& call) -> std::string {
      call.Write("so far so good");
      call.Progress("1 of 2");
      std::fprintf(stderr, "about to crash\n");
      std::signal(SIGSEGV, SIG_DFL);  // sanitizers have an action of their own
      std::raise(SIGSEGV);
      return "";
    }),
    Tool("crash_pure", "Ends by a signal.").Pure().Run([](Call&) -> std::string { std::abort(); }),
    Tool("leave", "Exits.").Run([](Call&) -> std::string { _exit(0); }),
    Tool("hang", "Ignores everything.").TimeoutMs(300).Run([](Call&) -> std::string { Hang(); }),
    Tool("hang_pure", "Ignores all.").Pure().TimeoutMs(60'000).Run([](Call& call) -> std::string {
      call.Progress("hanging");
      Hang();
    }),
    Tool("hang_effect", "Ignores all.").TimeoutMs(60'000).Run([](Call&) -> std::string { Hang(); }),
    Tool("print", "Prints.").Pure().Run([](Call&) -> std::string {
      for (int i = 0; i < 10'000; ++i) std::printf("line %d of what nobody asked for\n", i);
      std::fflush(stdout);
      return "printed";
    }),
    Tool("rubbish", "No UTF-8.").Pure().Run([](Call&) { return std::string("a\xff\xfe\0b", 5); }),
    Tool("flood", "100 MB.").Pure().OutputBytesMax(1000).Run(Flood),
    Tool("forge", "Sends rubbish frames.").Run([](Call&) { return Forge("rubbish"); }),
    Tool("forge_output", "Too much, past the host.").OutputBytesMax(1000).Run([](Call&) {
      return Forge(OutputFrame(50'000));
    }),
    Tool("forge_length", "A huge frame.").Run([](Call&) { return Forge("\xff\xff\xff\x7fo"); }),
    Tool("hang_up", "Closes the socket.").Run([](Call&) -> std::string {
      close(kFrameFd);
      Hang();
    }),
    Tool("throw", "Throws.").Run([](Call&) -> std::string { throw std::runtime_error("thrown"); }),
    Tool("unknown", "Doesn't know.").Run([](Call&) -> std::string {
      throw baleen::plugin::Failure("the line broke", BALEEN_FAILURE_UNKNOWN);
    }),
    Tool("wait", "Waits for its end.").Pure().TimeoutMs(60'000).Run(WaitForCancel),
    Tool("leave_child", "Leaves a child.").Pure().Run(LeaveChild),
    Tool("stubborn", "Waits for a file.")
        .Argument<std::string>("text", "Its path.")
        .TimeoutMs(200)
        .Run(Stubborn),
    Tool("remember", "Counts its calls.").Pure().Run(Remember),
    Tool("types", "Reads arguments.")
        .Argument<std::string>("text", "A text.")
        .Optional<int64_t>("integer", "An integer.")
        .Optional<double>("number", "A number.")
        .Optional<bool>("boolean", "A boolean.")
        .Pure()
        .Run([](Call& call) {
          return *call.Get<std::string>("text") + "|" +
                 std::to_string(call.Get<int64_t>("integer").value_or(-1)) + "|" +
                 std::to_string(call.Get<double>("number").value_or(-1)) + "|" +
                 std::to_string(static_cast<int>(call.Get<bool>("boolean").value_or(false)));
        }));
