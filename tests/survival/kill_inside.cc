// kill_inside: runs a program and kills it with SIGKILL while it is inside a chosen function.
//
//   kill_inside PROGRAM ARGUMENTS...      commands on standard input, answers on standard output
//
//   inside MICROSECONDS OFFSET[:low-high] ...   waits until a thread calls one of the functions at
//              these offsets of PROGRAM's file, lets it run for the time and kills; if the function
//              returned before, again with half the time. low-high: only calls whose fifth integer
//              argument lies between. Answers "killed OFFSET inside".
//              "refused": this process may not trace.
//   cancel     gives up waiting. Answers "cancelled".
//   stop       sends SIGTERM and waits for the end.
//   kill       kills at once. Answers "killed".
//
// "ended STATUS" tells of a program that ended by itself. End of input kills it. The program is not
// changed on disk and not slowed down: a breakpoint is an instruction in its memory, there only
// while a command waits for it. x86-64 Linux.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

namespace {

void Say(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

int64_t NowMicroseconds() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000 + now.tv_nsec / 1000;
}

struct Target {
  std::string name;  ///< As given.
  uint64_t offset = 0;
  uint64_t low = 0;
  uint64_t high = ~uint64_t{0};
};

class Tracee {
 public:
  explicit Tracee(pid_t pid) : pid_(pid) {}

  /// Stops every thread and makes this process their tracer.
  bool Attach() {
    const std::string tasks = "/proc/" + std::to_string(pid_) + "/task";
    bool found = true;
    while (found) {  // Threads may be born meanwhile.
      found = false;
      std::error_code gone;
      for (const auto& task : std::filesystem::directory_iterator(tasks, gone)) {
        const pid_t tid = std::atoi(task.path().filename().c_str());
        if (threads_.contains(tid)) continue;
        if (ptrace(PTRACE_SEIZE, tid, nullptr, PTRACE_O_TRACECLONE) != 0) continue;
        if (ptrace(PTRACE_INTERRUPT, tid, nullptr, nullptr) != 0) continue;
        int status = 0;
        if (waitpid(tid, &status, __WALL) != tid || !WIFSTOPPED(status)) continue;
        threads_[tid] = true;
        found = true;
      }
    }
    return !threads_.empty();
  }

  /// Where the program's file begins in its memory.
  std::optional<uint64_t> Base() const {
    const std::string program =
        std::filesystem::read_symlink("/proc/" + std::to_string(pid_) + "/exe").string();
    std::ifstream maps("/proc/" + std::to_string(pid_) + "/maps");
    for (std::string line; std::getline(maps, line);) {
      if (line.ends_with(" " + program)) return std::stoull(line, nullptr, 16);
    }
    return std::nullopt;
  }

  void Break(uint64_t address) {
    if (saved_.contains(address)) return;
    uint8_t byte = 0;
    Access(address, &byte, sizeof(byte), false);
    saved_[address] = byte;
    byte = 0xCC;
    Access(address, &byte, sizeof(byte), true);
  }
  void Unbreak(uint64_t address) {
    const auto saved = saved_.find(address);
    if (saved == saved_.end()) return;
    Access(address, &saved->second, sizeof(uint8_t), true);
    saved_.erase(saved);
  }
  bool IsBreak(uint64_t address) const { return saved_.contains(address); }

  user_regs_struct Registers(pid_t tid) const {
    user_regs_struct registers = {};
    iovec vector = {&registers, sizeof(registers)};
    ptrace(PTRACE_GETREGSET, tid, 1 /* NT_PRSTATUS */, &vector);
    return registers;
  }
  void SetRegisters(pid_t tid, user_regs_struct registers) {
    iovec vector = {&registers, sizeof(registers)};
    ptrace(PTRACE_SETREGSET, tid, 1, &vector);
  }
  uint64_t Word(uint64_t address) {
    uint64_t word = 0;
    Access(address, &word, sizeof(word), false);
    return word;
  }

  void Continue(pid_t tid, int signal = 0) { ptrace(PTRACE_CONT, tid, nullptr, signal); }
  void ContinueAll() {
    for (const auto& [tid, stopped] : threads_) Continue(tid);
  }
  /// One instruction of one thread with its breakpoint lifted.
  void StepOver(pid_t tid, uint64_t address) {
    const uint8_t original = saved_[address];
    Access(address, &original, sizeof(original), true);
    ptrace(PTRACE_SINGLESTEP, tid, nullptr, nullptr);
    int status = 0;
    waitpid(tid, &status, __WALL);
    const uint8_t trap = 0xCC;
    Access(address, &trap, sizeof(trap), true);
    Continue(tid);
  }
  void Add(pid_t tid) { threads_[tid] = true; }
  void Remove(pid_t tid) { threads_.erase(tid); }
  /// Lets go of every thread, which runs on as if nothing had been.
  void Detach() {
    while (!saved_.empty()) Unbreak(saved_.begin()->first);
    for (const auto& [tid, stopped] : threads_) {
      ptrace(PTRACE_INTERRUPT, tid, nullptr, nullptr);
      int status = 0;
      if (waitpid(tid, &status, __WALL) != tid || !WIFSTOPPED(status)) continue;
      Repair(tid, status);
      ptrace(PTRACE_DETACH, tid, nullptr, nullptr);
    }
    threads_.clear();
  }

 private:
  void Access(uint64_t address, const void* bytes, size_t count, bool write) {
    const int memory = open(("/proc/" + std::to_string(pid_) + "/mem").c_str(), O_RDWR);
    if (memory < 0) return;
    const auto at = static_cast<off_t>(address);
    [[maybe_unused]] const ssize_t done = write
                                              ? pwrite(memory, bytes, count, at)
                                              : pread(memory, const_cast<void*>(bytes), count, at);
    close(memory);
  }
  /// A thread that trapped just before its breakpoint was lifted has to run that instruction again.
  void Repair(pid_t tid, int status) {
    if (WSTOPSIG(status) != SIGTRAP || status >> 16 != 0) return;
    user_regs_struct registers = Registers(tid);
    --registers.rip;
    SetRegisters(tid, registers);
  }

  pid_t pid_;
  std::map<pid_t, bool> threads_;
  std::map<uint64_t, uint8_t> saved_;
};

bool InputWaits() {
  pollfd input = {STDIN_FILENO, POLLIN, 0};
  return poll(&input, 1, 0) > 0;
}

class Killer {
 public:
  explicit Killer(pid_t pid) : pid_(pid) {}

  /// True: the program is dead.
  bool Inside(int64_t delay_us, const std::vector<Target>& targets) {
    Tracee tracee(pid_);
    if (!tracee.Attach()) {
      if (!Ended()) Say("refused");
      return false;
    }
    const auto base = tracee.Base();
    std::map<uint64_t, const Target*> entries;
    for (const Target& target : targets) entries[base.value_or(0) + target.offset] = &target;
    for (const auto& [address, target] : entries) tracee.Break(address);
    tracee.ContinueAll();
    const Target* inside = nullptr;
    pid_t inside_thread = 0;
    uint64_t return_address = 0;
    int64_t deadline_us = 0;
    while (true) {
      int status = 0;
      const pid_t tid = waitpid(-1, &status, __WALL | WNOHANG);
      if (tid == 0) {
        if (inside != nullptr && NowMicroseconds() >= deadline_us) {
          kill(pid_, SIGKILL);
          Reap();
          Say("killed " + inside->name + " inside");
          return true;
        }
        if (inside == nullptr && InputWaits()) {
          tracee.Detach();
          return false;
        }
        if (inside == nullptr) usleep(50);
        continue;
      }
      if (tid < 0) return Ended();
      if (WIFEXITED(status) || WIFSIGNALED(status)) {
        tracee.Remove(tid);
        if (tid == pid_) return SayEnded(status);
        continue;
      }
      const int signal = WSTOPSIG(status);
      const int event = status >> 16;
      if (event == PTRACE_EVENT_CLONE) {
        tracee.Continue(tid);
        continue;
      }
      if (event == PTRACE_EVENT_STOP) {  // A new thread's first stop.
        tracee.Add(tid);
        tracee.Continue(tid);
        continue;
      }
      if (signal != SIGTRAP) {
        tracee.Continue(tid, signal);
        continue;
      }
      user_regs_struct registers = tracee.Registers(tid);
      const uint64_t address = registers.rip - 1;
      const auto entry = entries.find(address);
      registers.rip = address;
      tracee.SetRegisters(tid, registers);
      if (!tracee.IsBreak(address)) {  // Lifted meanwhile.
        tracee.Continue(tid);
        continue;
      }
      if (address == return_address && entry == entries.end()) {
        if (tid == inside_thread) {  // Too late: it has returned. Wait for the next call.
          tracee.Unbreak(return_address);
          return_address = 0;
          inside = nullptr;
          delay_us /= 2;
          tracee.Continue(tid);
        } else {
          tracee.StepOver(tid, address);
        }
        continue;
      }
      const bool wanted = entry != entries.end() && inside == nullptr &&
                          registers.r8 >= entry->second->low && registers.r8 <= entry->second->high;
      if (wanted) {
        inside = entry->second;
        inside_thread = tid;
        return_address = tracee.Word(registers.rsp);
        tracee.Break(return_address);
        deadline_us = NowMicroseconds() + delay_us;
      }
      tracee.StepOver(tid, address);
    }
  }

  void Kill() {
    kill(pid_, SIGKILL);
    Reap();
    Say("killed");
  }

  void Stop() {
    kill(pid_, SIGTERM);
    int status = 0;
    waitpid(pid_, &status, 0);
    SayEnded(status);
  }

  /// Says so if the program has ended.
  bool Ended() {
    int status = 0;
    const pid_t ended = waitpid(pid_, &status, WNOHANG);
    return ended == pid_ && (WIFEXITED(status) || WIFSIGNALED(status)) && SayEnded(status);
  }

 private:
  void Reap() {
    int status = 0;
    while (waitpid(-1, &status, __WALL) > 0) {
    }
  }
  bool SayEnded(int status) {
    Say("ended " +
        std::to_string(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status)));
    return true;
  }

  pid_t pid_;
};

std::vector<Target> ReadTargets(std::istringstream& words) {
  std::vector<Target> targets;
  for (std::string word; words >> word;) {
    Target target;
    target.name = word;
    target.offset = std::stoull(word, nullptr, 16);
    const size_t colon = word.find(':');
    if (colon != std::string::npos) {
      const size_t dash = word.find('-', colon);
      target.low = std::stoull(word.substr(colon + 1));
      target.high = std::stoull(word.substr(dash + 1));
    }
    targets.push_back(target);
  }
  return targets;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int nothing = open("/dev/null", O_RDONLY);
    dup2(nothing, STDIN_FILENO);
    dup2(STDERR_FILENO, STDOUT_FILENO);
    execvp(argv[1], argv + 1);
    _exit(127);
  }
  Killer killer(pid);
  std::string line;
  while (true) {
    pollfd input = {STDIN_FILENO, POLLIN, 0};
    if (poll(&input, 1, 20) == 0) {
      if (killer.Ended()) return 0;
      continue;
    }
    char c = 0;
    if (read(STDIN_FILENO, &c, 1) != 1) break;
    if (c != '\n') {
      line.push_back(c);
      continue;
    }
    std::istringstream words(line);
    std::string command;
    words >> command;
    line.clear();
    if (command == "inside") {
      int64_t delay_us = 0;
      words >> delay_us;
      if (killer.Inside(delay_us, ReadTargets(words))) return 0;
    } else if (command == "cancel") {
      if (killer.Ended()) return 0;
      Say("cancelled");
    } else if (command == "stop") {
      killer.Stop();
      return 0;
    } else {
      killer.Kill();
      return 0;
    }
  }
  kill(pid, SIGKILL);
  return 0;
}
