// Child: a program with its standard input and output on pipes. For tests that hold, trace or kill
// it.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

namespace baleen {

class Child {
 public:
  explicit Child(const std::vector<std::string>& arguments) {
    int in[2] = {-1, -1};
    int out[2] = {-1, -1};
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) return;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    std::vector<char*> argv;
    for (const std::string& argument : arguments)
      argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    // Leak checks can't run under a tracer; everything else of a sanitizer stays on.
    std::string sanitizer = "ASAN_OPTIONS=detect_leaks=0";
    std::string path = "PATH=/usr/local/bin:/usr/bin:/bin";
    char* environment[] = {sanitizer.data(), path.data(), nullptr};
    if (posix_spawnp(&pid_, argv[0], &actions, nullptr, argv.data(), environment) != 0) pid_ = -1;
    posix_spawn_file_actions_destroy(&actions);
    close(in[0]);
    close(out[1]);
    in_ = in[1];
    out_ = out[0];
  }
  ~Child() {
    Kill();
    Wait();
    CloseInput();
    if (out_ >= 0) close(out_);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  bool started() const { return pid_ > 0; }
  pid_t pid() const { return pid_; }

  /// Next line of output without its end; empty at the end.
  std::string ReadLine() {
    std::string line;
    char c = 0;
    while (read(out_, &c, 1) == 1 && c != '\n') line.push_back(c);
    return line;
  }
  /// All lines until the end of output.
  std::vector<std::string> ReadAll() {
    std::vector<std::string> lines;
    for (std::string line = ReadLine(); !line.empty(); line = ReadLine()) lines.push_back(line);
    return lines;
  }
  void CloseInput() {
    if (in_ >= 0) close(in_);
    in_ = -1;
  }
  void Kill() {
    if (pid_ > 0 && !waited_) kill(pid_, SIGKILL);
  }
  /// Exit status, or 128 + signal.
  int Wait() {
    if (pid_ <= 0) return -1;
    if (!waited_) waitpid(pid_, &status_, 0);
    waited_ = true;
    return WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
  }

 private:
  pid_t pid_ = -1;
  int in_ = -1;
  int out_ = -1;
  int status_ = 0;
  bool waited_ = false;
};

}  // namespace baleen
