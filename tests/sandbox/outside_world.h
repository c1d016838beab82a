// What a sandboxed command must not reach: secrets in files and processes, sockets that hear
// whoever connects, a process that notices signals, a terminal. Looked at from outside.
#pragma once

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/testing/temp_directory.h"

namespace baleen {

inline std::string ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

class OutsideWorld {
 public:
  OutsideWorld() {
    secret_ = "secret-" + std::to_string(getpid()) + "-" + std::to_string(::time(nullptr));
    temp_.Write("outside/secret.txt", secret_);
    temp_.Write("root/inside.txt", "inside");
    temp_.Write("root/.git/hooks/keep", "hook");
    temp_.Write("root/.git/config", "config");
    temp_.Write("root/.git/HEAD", "ref: refs/heads/main");
    shared_ = "/dev/shm/baleen-test-" + std::to_string(getpid());
    std::ofstream(shared_) << secret_;
    // On purpose without O_CLOEXEC: what a careless host leaves open.
    leaked_file_ = open(Out("secret.txt").c_str(), O_RDONLY);
    leaked_folder_ = open(Out("").c_str(), O_RDONLY | O_DIRECTORY);
    uname(&name_);
    Listen();
    OpenTerminal();
    StartVictim();
  }
  ~OutsideWorld() {
    if (victim_ > 0) kill(victim_, SIGKILL);
    waitpid(victim_, nullptr, 0);
    for (const int fd : {leaked_file_, leaked_folder_, tcp_, udp_, unix_, abstract_,
                         abstract_datagram_, terminal_, terminal_end_, noticed_}) {
      close(fd);
    }
    unlink(shared_.c_str());
  }
  OutsideWorld(const OutsideWorld&) = delete;
  OutsideWorld& operator=(const OutsideWorld&) = delete;

  std::string workspace() const { return temp_.File("root"); }
  std::string Out(const std::string& name) const { return temp_.File("outside/" + name); }
  const std::string& secret() const { return secret_; }

  /// `text` with @OUT@, @PID@ and so on filled in.
  std::string Filled(std::string text) const {
    const auto fill = [&text](const std::string& name, const std::string& value) {
      for (size_t at = text.find(name); at != std::string::npos; at = text.find(name)) {
        text.replace(at, name.size(), value);
      }
    };
    fill("echo REACHED", "printf '\\nREACHED\\n'");
    fill("@OUT@", temp_.File("outside"));
    fill("@PID@", std::to_string(victim_));
    fill("@SELF@", std::to_string(getpid()));
    fill("@FD@", std::to_string(leaked_file_));
    fill("@PORT@", std::to_string(port_));
    fill("@UDP@", std::to_string(udp_port_));
    fill("@ABSTRACT@", abstract_name_);
    fill("@ADDRESS@", std::to_string(reinterpret_cast<uintptr_t>(secret_.data())));
    fill("@PTY@", terminal_name_);
    fill("@SHM@", shared_);
    return text;
  }

  /// What of it all is no longer as it was; empty: nothing.
  std::string Changes() const {
    std::string out;
    const auto note = [&out](bool changed, const char* what) {
      if (changed) out += std::string(out.empty() ? "" : ", ") + what;
    };
    note(ReadText(Out("secret.txt")) != secret_, "the secret file");
    std::error_code missing;
    note(
        std::distance(std::filesystem::directory_iterator(temp_.File("outside"), missing), {}) != 2,
        "the folder outside");
    note(ReadText(shared_) != secret_, "the file in /dev/shm");
    note(ReadText(temp_.File("root/.git/HEAD")).empty(), "the repository");
    note(Heard(tcp_), "somebody connected by TCP");
    note(Heard(udp_), "a datagram came");
    note(Heard(unix_), "somebody connected by a Unix socket");
    note(Heard(abstract_), "somebody connected by an abstract socket");
    note(Heard(abstract_datagram_), "a datagram came to an abstract socket");
    note(Heard(noticed_), "the victim got a signal or ended");
    note(Heard(terminal_), "something was written to the terminal");
    note(Heard(terminal_end_), "something was typed into the terminal");
    note(kill(victim_, 0) != 0 || waitpid(victim_, nullptr, WNOHANG) != 0, "the victim is gone");
    note(shmget(0x62616c65, 0, 0) >= 0, "shared memory was left");
    rlimit files = {};
    prlimit(victim_, RLIMIT_NOFILE, nullptr, &files);
    note(files.rlim_max == 0, "the victim's limits");
    utsname name = {};
    uname(&name);
    note(std::strcmp(name.nodename, name_.nodename) != 0, "the host's name");
    return out;
  }
  bool HooksAreAsBefore() const {
    return ReadText(temp_.File("root/.git/hooks/keep")) == "hook" &&
           ReadText(temp_.File("root/.git/config")) == "config" &&
           !std::filesystem::exists(temp_.File("root/.git/hooks/pre-commit"));
  }

  /// Processes whose command line or environment has `mark`.
  static int Marked(const std::string& mark) {
    int found = 0;
    std::error_code gone;
    for (std::filesystem::directory_iterator at("/proc", gone), end; at != end;
         at.increment(gone)) {
      const std::string folder = at->path();
      if (folder.find_first_of("0123456789") != 6) continue;
      found += ReadText(folder + "/cmdline").find(mark) != std::string::npos ||
                       ReadText(folder + "/environ").find(mark) != std::string::npos
                   ? 1
                   : 0;
    }
    return found;
  }

 private:
  static bool Heard(int fd) {
    pollfd poller = {fd, POLLIN, 0};
    return poll(&poller, 1, 0) > 0 && (poller.revents & (POLLIN | POLLHUP)) != 0;
  }

  void Listen() {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t bytes = sizeof(address);
    tcp_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bind(tcp_, reinterpret_cast<const sockaddr*>(&address), bytes);
    listen(tcp_, 8);
    getsockname(tcp_, reinterpret_cast<sockaddr*>(&address), &bytes);
    port_ = ntohs(address.sin_port);
    udp_ = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    address.sin_port = 0;
    bind(udp_, reinterpret_cast<const sockaddr*>(&address), bytes);
    getsockname(udp_, reinterpret_cast<sockaddr*>(&address), &bytes);
    udp_port_ = ntohs(address.sin_port);
    sockaddr_un local = {};
    local.sun_family = AF_UNIX;
    std::strncpy(local.sun_path, Out("socket").c_str(), sizeof(local.sun_path) - 1);
    unix_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bind(unix_, reinterpret_cast<const sockaddr*>(&local), sizeof(local));
    listen(unix_, 8);
    abstract_name_ = "baleen-test-" + std::to_string(getpid());
    local = {};
    local.sun_family = AF_UNIX;
    std::memcpy(local.sun_path + 1, abstract_name_.data(), abstract_name_.size());
    abstract_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const auto local_bytes =
        static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + abstract_name_.size());
    bind(abstract_, reinterpret_cast<const sockaddr*>(&local), local_bytes);
    listen(abstract_, 8);
    abstract_datagram_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bind(abstract_datagram_, reinterpret_cast<const sockaddr*>(&local), local_bytes);
  }

  void OpenTerminal() {
    terminal_ = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    grantpt(terminal_);
    unlockpt(terminal_);
    const char* name = ptsname(terminal_);
    if (name == nullptr) throw std::runtime_error("no terminal can be opened");
    terminal_name_ = name;
    terminal_end_ = open(terminal_name_.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC);
  }

  static void Notice(int) {
    if (write(victims_pipe_, "!", 1) < 0) _exit(1);
  }
  void StartVictim() {
    int pipes[2] = {-1, -1};
    if (pipe2(pipes, O_CLOEXEC) != 0) throw std::runtime_error("no pipe for the victim");
    noticed_ = pipes[0];
    setenv("BALEEN_VICTIM", secret_.c_str(), 1);
    victim_ = fork();
    if (victim_ == 0) {
      victims_pipe_ = pipes[1];
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      for (const int number : {SIGURG, SIGUSR1, SIGTERM, SIGHUP}) signal(number, Notice);
      for (;;) pause();
    }
    close(pipes[1]);
    // -1 as a target of kill() would be everybody.
    if (victim_ < 0) throw std::runtime_error("no victim can be started");
  }

  TempDirectory temp_;
  std::string secret_, shared_, abstract_name_, terminal_name_;
  int leaked_file_ = -1, leaked_folder_ = -1, tcp_ = -1, udp_ = -1, unix_ = -1, abstract_ = -1;
  int abstract_datagram_ = -1;
  int terminal_ = -1, terminal_end_ = -1, noticed_ = -1;
  int port_ = 0, udp_port_ = 0;
  pid_t victim_ = -1;
  utsname name_ = {};
  static inline int victims_pipe_ = -1;
};

}  // namespace baleen
