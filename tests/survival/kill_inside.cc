// kill_inside: runs a program and kills it with SIGKILL while it is inside a chosen function.
//
//   kill_inside PROGRAM ARGUMENTS...      commands on standard input, answers on standard output
//
//   inside MICROSECONDS TARGET ...   waits until a thread calls one of the functions, lets it run
//   for
//              the time and kills; if the function returned before, again with half the time.
//              Answers "killed TARGET inside". "refused": this process may not trace.
//              TARGET is CALL, or CALL<CALL: inside the first function, once its thread has called
//              the second one in it. CALL is OFFSET, in PROGRAM's file, or OFFSET:n=low-high: only
//              calls whose nth integer argument (from 1 to 6; its low 32 bits) lies between.
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

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>
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

struct Call {
  uint64_t offset = 0;
  int argument = 0;  ///< 0: any call.
  uint32_t low = 0;
  uint32_t high = 0;

  bool Fits(uint64_t called, const user_regs_struct& registers) const {
    if (called != offset) return false;
    const std::array arguments = {registers.rdi, registers.rsi, registers.rdx,
                                  registers.rcx, registers.r8,  registers.r9};
    if (argument == 0) return true;
    const auto value = static_cast<uint32_t>(arguments[static_cast<size_t>(argument - 1)]);
    return value >= low && value <= high;
  }
};

struct Target {
  std::string name;  ///< As given.
  std::optional<Call> outer;
  Call call;
  std::map<pid_t, uint64_t> returns = {};  ///< Of threads inside `outer`: where it returns to.
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
  bool Inside(int64_t delay_us, std::vector<Target> targets) {
    Tracee tracee(pid_);
    if (!tracee.Attach()) {
      if (!Ended()) Say("refused");
      return false;
    }
    const auto base = tracee.Base();
    std::set<uint64_t> entries;
    for (const Target& target : targets) {
      entries.insert(base.value_or(0) + target.call.offset);
      if (target.outer) entries.insert(base.value_or(0) + target.outer->offset);
    }
    for (const uint64_t address : entries) tracee.Break(address);
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
      registers.rip = address;
      tracee.SetRegisters(tid, registers);
      if (!tracee.IsBreak(address)) {  // Lifted meanwhile.
        tracee.Continue(tid);
        continue;
      }
      if (inside != nullptr && tid == inside_thread && address == return_address) {
        inside = nullptr;  // Too late: it has returned. Wait for the next call.
        delay_us /= 2;
      }
      const uint64_t offset = address - base.value_or(0);
      for (Target& target : targets) {
        const auto outer = target.returns.find(tid);
        if (outer != target.returns.end() && outer->second == address) target.returns.erase(outer);
        if (target.outer && target.outer->Fits(offset, registers)) {
          target.returns[tid] = tracee.Word(registers.rsp);
          tracee.Break(target.returns[tid]);
        }
        if (inside != nullptr || !target.call.Fits(offset, registers)) continue;
        if (target.outer && !target.returns.contains(tid)) continue;
        inside = &target;
        inside_thread = tid;
        return_address = target.outer ? target.returns[tid] : tracee.Word(registers.rsp);
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

Call ReadCall(const std::string& word) {
  Call call;
  call.offset = std::stoull(word, nullptr, 16);
  const size_t colon = word.find(':');
  if (colon == std::string::npos) return call;
  call.argument = std::stoi(word.substr(colon + 1));
  call.low = static_cast<uint32_t>(std::stoul(word.substr(word.find('=', colon) + 1)));
  call.high = static_cast<uint32_t>(std::stoul(word.substr(word.find('-', colon) + 1)));
  return call;
}

std::vector<Target> ReadTargets(std::istringstream& words) {
  std::vector<Target> targets;
  for (std::string word; words >> word;) {
    Target target;
    target.name = word;
    const size_t inner = word.find('<');
    if (inner != std::string::npos) {
      target.outer = ReadCall(word.substr(0, inner));
      word = word.substr(inner + 1);
    }
    target.call = ReadCall(word);
    targets.push_back(std::move(target));
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
