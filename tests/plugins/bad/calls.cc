// A plugin whose tools misbehave, one way each.
#include <baleen/plugin_tool.h>
#include <fcntl.h>
#include <netinet/in.h>
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
  call.Progress("0 of 1");
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

/// Runs a command, as any program may.
std::string Shell(Call& call) {
  const std::string command = *call.Get<std::string>("text") + " 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return "no pipe";
  std::string out;
  char bytes[4096];
  for (size_t count = 0; (count = fread(bytes, 1, sizeof(bytes), pipe)) > 0;) {
    out.append(bytes, count);
  }
  return out + "[" + std::to_string(pclose(pipe)) + "]";
}

/// "PATH": opened for writing, and to be read.
std::string Open(Call& call) {
  const std::string path = *call.Get<std::string>("text");
  const int made = open(path.c_str(), O_CREAT | O_WRONLY, 0600);
  const int there = open(path.c_str(), O_RDONLY);
  return std::string(made >= 0 ? "written" : "not written") +
         (there >= 0 ? ", read" : ", not read");
}

/// "PID": a signal for it, for whoever started this, and for everybody.
std::string Signal(Call& call) {
  const pid_t other = std::atoi(call.Get<std::string>("text")->c_str());
  std::string out = kill(other, SIGURG) == 0 ? "reached " : "not reached ";
  std::signal(SIGURG, SIG_IGN);
  kill(getppid(), SIGURG);
  kill(-1, SIGURG);
  return out;
}

/// "PORT": of the loopback.
std::string Connect(Call& call) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port =
      htons(static_cast<uint16_t>(std::atoi(call.Get<std::string>("text")->c_str())));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  const bool connected =
      connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  return connected ? "reached" : "not reached";
}

/// "MARK": children in sessions of their own, and as many as it gets.
std::string LeaveFamily(Call& call) {
  setenv("MARK", call.Get<std::string>("text")->c_str(), 1);
  int made = 0;
  for (int i = 0; i < 8; ++i) {
    const pid_t child = fork();
    made += child > 0 ? 1 : 0;
    if (child != 0) continue;
    setsid();
    if (fork() != 0) _exit(0);
    execl("/bin/sleep", "sleep", "300", nullptr);
    _exit(1);
  }
  return std::to_string(made);
}

/// As far as it gets, and then waits.
std::string Multiply(Call&) {
  for (int i = 0; i < 5000; ++i) {
    if (fork() == 0) Hang();
  }
  Hang();
}

std::string Tally(Call& call) {
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
    Tool("shell", "Runs a command.").Argument<std::string>("text", "It.").Run(Shell),
    Tool("open", "Opens a file.").Argument<std::string>("text", "Its path.").Run(Open),
    Tool("signal", "Signals.").Argument<std::string>("text", "Whom.").Run(Signal),
    Tool("connect", "Connects.").Argument<std::string>("text", "Port.").Run(Connect),
    Tool("leave_family", "Leaves.").Argument<std::string>("text", "Mark.").Run(LeaveFamily),
    Tool("multiply", "Forks.").TimeoutMs(5000).Run(Multiply),
    Tool("tally", "Counts its calls.").Pure().Run(Tally),
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
