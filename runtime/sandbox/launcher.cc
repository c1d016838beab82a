#include "runtime/sandbox/launcher.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "tools_sdk/file_descriptor.h"

namespace baleen {
namespace {

constexpr size_t kStackBytes = 64 << 10;
constexpr int kNice = 5;
constexpr int kFilesFrom = 3;
constexpr int kFilesMax = 96;  // of a sandbox, one for each file that it hides
constexpr int kParking = 100;  // Above every number that a file gets.

/// What the child needs, made before: it shares our memory and must not allocate.
struct ChildPlan {
  const Launch* launch;
  char* const* arguments;
  char* const* environment;
  int input;
  const char* failed = nullptr;  ///< The step, written by the child.
  int error = 0;
};

bool PlaceFiles(const ChildPlan& plan) {
  const Launch& launch = *plan.launch;
  // First out of the way, so that none overwrites another that is still to move.
  int parked[kFilesMax + 3];
  int count = 0;
  const auto park = [&](int fd) {
    parked[count] = fcntl(fd, F_DUPFD, kParking);
    return parked[count++] >= 0;
  };
  const int errors = launch.errors < 0 ? launch.output : launch.errors;
  if (!park(plan.input) || !park(launch.output) || !park(errors)) return false;
  for (const int fd : launch.files) {
    if (!park(fd)) return false;
  }
  for (int i = 0; i < count; ++i) {
    if (dup2(parked[i], i) < 0) return false;
  }
  return true;
}

bool SetLimits(const std::vector<ProcessLimit>& limits) {
  for (const ProcessLimit& one : limits) {
    rlimit limit = {};
    // By number, since the C library's type of it is an enumeration in C++.
    if (syscall(SYS_prlimit64, 0, one.resource, nullptr, &limit) != 0) return false;
    limit.rlim_max = std::min(limit.rlim_max, static_cast<rlim_t>(one.most));
    limit.rlim_cur = std::min(limit.rlim_cur, limit.rlim_max);
    if (syscall(SYS_prlimit64, 0, one.resource, &limit, nullptr) != 0) return false;
  }
  return true;
}

int RunChild(void* argument) {
  ChildPlan& plan = *static_cast<ChildPlan*>(argument);
  const Launch& launch = *plan.launch;
  const auto fail = [&plan](const char* step) {
    plan.error = errno;
    plan.failed = step;
    return 127;
  };
  for (int number = 1; number < NSIG; ++number) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  if (setsid() < 0) return fail("setsid");
  // The engine and the watch come first.
  setpriority(PRIO_PROCESS, 0, kNice);
  // Before PlaceFiles, which may put another file in its place.
  const int landlock = launch.landlock < 0 ? -1 : fcntl(launch.landlock, F_DUPFD, kParking);
  if (launch.landlock >= 0 && landlock < 0) return fail("Landlock's rules");
  if (!PlaceFiles(plan)) return fail("files");
  if (chdir(launch.folder.c_str()) != 0) return fail("the folder to start in");
  const unsigned first = kFilesFrom + static_cast<unsigned>(launch.files.size());
  if (syscall(SYS_close_range, first, ~0U, CLOSE_RANGE_CLOEXEC) != 0) return fail("close_range");
  if (!SetLimits(launch.limits)) return fail("its limits");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail("no_new_privs");
  if (launch.dies_with_thread && prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return fail("its end");
  if (landlock >= 0 && syscall(SYS_landlock_restrict_self, landlock, 0) != 0) {
    return fail("Landlock");
  }
  if (!launch.filter.empty()) {
    const sock_fprog program = {static_cast<unsigned short>(launch.filter.size()),
                                const_cast<sock_filter*>(launch.filter.data())};
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) return fail("seccomp");
  }
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execve(plan.arguments[0], plan.arguments, plan.environment);
  return fail("execve");
}

std::vector<char*> Pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (const std::string& text : texts) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

}  // namespace

Result<pid_t> StartProcess(const Launch& launch) {
  if (launch.arguments.empty() || launch.files.size() > kFilesMax) {
    return InvalidArgumentError("a process needs a program, and takes at most " +
                                std::to_string(kFilesMax) + " files");
  }
  const std::vector<char*> arguments = Pointers(launch.arguments);
  const std::vector<char*> environment = Pointers(launch.environment);
  const FileDescriptor nothing(open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (nothing.get() < 0) return UnavailableError("/dev/null can't be opened");
  const int input = launch.input < 0 ? nothing.get() : launch.input;
  ChildPlan plan{&launch, arguments.data(), environment.data(), input};
  std::vector<char> stack(kStackBytes);
  // No handler of ours may run in the child, which has our memory until it is another program.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  char* top = stack.data() + stack.size();
  top -= reinterpret_cast<uintptr_t>(top) % 16;
  const pid_t child = clone(RunChild, top, CLONE_VM | CLONE_VFORK | SIGCHLD, &plan);
  const int error = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (child < 0) {
    return UnavailableError("no process can be started: " + std::generic_category().message(error));
  }
  if (plan.failed == nullptr) return child;
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return UnavailableError("'" + launch.arguments[0] + "' can't be started (" + plan.failed +
                          "): " + std::generic_category().message(plan.error));
}

}  // namespace baleen
