#include "runtime/sandbox/process_end.h"

#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstring>

namespace baleen {

std::string HowItEnded(int wait_status) {
  if (WIFSIGNALED(wait_status)) {
    return "was ended by signal " + std::to_string(WTERMSIG(wait_status)) + " (" +
           strsignal(WTERMSIG(wait_status)) + ")";
  }
  if (WIFEXITED(wait_status)) {
    return "exited with status " + std::to_string(WEXITSTATUS(wait_status));
  }
  return "ended";
}

GroupEnd EndProcessGroup(pid_t leader, const std::function<void()>& before_reaping) {
  GroupEnd end;
  siginfo_t state{};
  const bool ours =
      waitid(P_PID, static_cast<id_t>(leader), &state, WEXITED | WNOHANG | WNOWAIT) == 0;
  end.itself = ours && state.si_pid == leader;
  // Whether it lives or waits to be reaped, the group is still its own.
  if (ours) kill(-leader, SIGKILL);
  if (ours && before_reaping) before_reaping();
  pid_t reaped = 0;
  do {
    reaped = waitpid(leader, &end.status, 0);
  } while (reaped < 0 && errno == EINTR);
  end.known = reaped == leader;
  return end;
}

void SignalProcessGroup(pid_t leader, int signal_number) {
  siginfo_t state{};
  if (waitid(P_PID, static_cast<id_t>(leader), &state, WEXITED | WNOHANG | WNOWAIT) == 0) {
    kill(-leader, signal_number);
  }
}

}  // namespace baleen
