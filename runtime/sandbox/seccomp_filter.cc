#include "runtime/sandbox/seccomp_filter.h"

#include <asm/unistd.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <span>
#include <utility>

namespace baleen {
namespace {

#if defined(__x86_64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
constexpr uint32_t kArchitecture = 0;
#endif
constexpr uint32_t kX32Bit = 0x40000000;
constexpr uint32_t kDeny = SECCOMP_RET_ERRNO | EPERM;
constexpr uint32_t kNoSuchCall = SECCOMP_RET_ERRNO | ENOSYS;
constexpr uint32_t kNamespaces = CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET |
                                 CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;

/// Namespaces and mounts, other processes' memory, the kernel itself, keys, and rings of calls that
/// no filter sees.
constexpr uint32_t kDenied[] = {
    __NR_unshare,
    __NR_setns,
    __NR_mount,
    __NR_umount2,
    __NR_pivot_root,
    __NR_chroot,
    __NR_open_tree,
    __NR_move_mount,
    __NR_fsopen,
    __NR_fsconfig,
    __NR_fsmount,
    __NR_fspick,
    __NR_mount_setattr,
    __NR_ptrace,
    __NR_process_vm_readv,
    __NR_process_vm_writev,
    __NR_pidfd_getfd,
    __NR_kcmp,
    __NR_bpf,
    __NR_perf_event_open,
    __NR_userfaultfd,
    __NR_io_uring_setup,
    __NR_io_uring_enter,
    __NR_io_uring_register,
    __NR_add_key,
    __NR_request_key,
    __NR_keyctl,
    __NR_kexec_load,
    __NR_init_module,
    __NR_finit_module,
    __NR_delete_module,
    __NR_reboot,
    __NR_swapon,
    __NR_swapoff,
    __NR_syslog,
    __NR_acct,
    __NR_quotactl,
    __NR_settimeofday,
    __NR_clock_settime,
    __NR_adjtimex,
    __NR_clock_adjtime,
    __NR_sethostname,
    __NR_setdomainname,
    __NR_vhangup,
    __NR_name_to_handle_at,
    __NR_open_by_handle_at,
    __NR_fanotify_init,
    __NR_lookup_dcookie,
    __NR_move_pages,
    __NR_migrate_pages,
    __NR_personality,
    __NR_nfsservctl,
    __NR_memfd_secret,
#if defined(__x86_64__)
    __NR_kexec_file_load,
    __NR_iopl,
    __NR_ioperm,
    __NR_modify_ldt,
    __NR_uselib,
    __NR_create_module,
#endif
};

constexpr uint32_t kFchmodat2 = 452;  // Newer than Debian 12's headers.
constexpr uint32_t kChangesOfAttributes[] = {
    __NR_fchmod,      __NR_fchmodat,     kFchmodat2,        __NR_fchown,
    __NR_fchownat,    __NR_setxattr,     __NR_lsetxattr,    __NR_fsetxattr,
    __NR_removexattr, __NR_lremovexattr, __NR_fremovexattr,
#if defined(__x86_64__)
    __NR_chmod,       __NR_chown,        __NR_lchown,       __NR_utime,
    __NR_utimes,      __NR_futimesat,
#endif
};

constexpr uint32_t kWithoutNamespaces[] = {
    __NR_socket, __NR_setsid,  __NR_setpgid,     __NR_shmget,     __NR_semget,
    __NR_msgget, __NR_mq_open, __NR_setpriority, __NR_ioprio_set,
};

class Program {
 public:
  void Add(uint16_t code, uint32_t value, uint8_t yes = 0, uint8_t no = 0) {
    filter_.push_back({code, yes, no, value});
  }
  void Load(size_t offset) { Add(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offset)); }
  void Return(uint32_t action) { Add(BPF_RET | BPF_K, action); }
  /// If the loaded word is `value`: `action`.
  void On(uint32_t value, uint32_t action) {
    Add(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
    Return(action);
  }
  /// If the loaded word is one of `values`, which ascend: `action`. Found by halving, since the
  /// kernel tries the program on every call's number before it begins.
  void OnAny(std::span<const uint32_t> values, uint32_t action) {
    const std::vector<sock_filter> branch = Branch(values, action);
    filter_.insert(filter_.end(), branch.begin(), branch.end());
  }
  /// Passes the next `count` instructions over unless the loaded word is `value`.
  void Unless(uint32_t value, uint8_t count) { Add(BPF_JMP | BPF_JEQ | BPF_K, value, 0, count); }
  std::vector<sock_filter> Take() { return std::move(filter_); }

 private:
  /// Goes on behind its last instruction, unless it returns.
  static std::vector<sock_filter> Branch(std::span<const uint32_t> values, uint32_t action) {
    constexpr size_t kLeaf = 4;
    Program out;
    if (values.size() <= kLeaf) {
      for (size_t i = 0; i < values.size(); ++i) {
        out.Add(BPF_JMP | BPF_JEQ | BPF_K, values[i], static_cast<uint8_t>(values.size() - i), 0);
      }
      out.Add(BPF_JMP | BPF_JA, 1);
      out.Return(action);
      return out.Take();
    }
    const size_t half = values.size() / 2;
    const std::vector<sock_filter> low = Branch(values.first(half), action);
    const std::vector<sock_filter> high = Branch(values.subspan(half), action);
    // What is skipped fits a byte: a hundred values are two hundred instructions.
    out.Add(BPF_JMP | BPF_JGE | BPF_K, values[half], static_cast<uint8_t>(low.size() + 1), 0);
    out.filter_.insert(out.filter_.end(), low.begin(), low.end());
    out.Add(BPF_JMP | BPF_JA, static_cast<uint32_t>(high.size()));
    out.filter_.insert(out.filter_.end(), high.begin(), high.end());
    return out.Take();
  }

  std::vector<sock_filter> filter_;
};

/// The low word of an argument.
constexpr size_t ArgumentAt(size_t index) {
  return offsetof(seccomp_data, args) + index * sizeof(uint64_t);  // both are little-endian
}

}  // namespace

std::vector<sock_filter> MakeSeccompFilter(SocketRule sockets) {
  if (kArchitecture == 0) return {};
  Program program;
  program.Load(offsetof(seccomp_data, arch));
  program.Add(BPF_JMP | BPF_JEQ | BPF_K, kArchitecture, 1, 0);
  program.Return(SECCOMP_RET_KILL_PROCESS);
  program.Load(offsetof(seccomp_data, nr));
#if defined(__x86_64__)
  program.Add(BPF_JMP | BPF_JGE | BPF_K, kX32Bit, 0, 1);
  program.Return(SECCOMP_RET_KILL_PROCESS);
#endif
  std::vector<uint32_t> denied(std::begin(kDenied), std::end(kDenied));
  if (sockets == SocketRule::kNone) {
    // What no namespace of their own keeps apart, and changes of files that Landlock doesn't judge.
    denied.insert(denied.end(), std::begin(kChangesOfAttributes), std::end(kChangesOfAttributes));
    denied.insert(denied.end(), std::begin(kWithoutNamespaces), std::end(kWithoutNamespaces));
  }
  std::sort(denied.begin(), denied.end());
  program.OnAny(denied, kDeny);
  // Its flags are in memory, where no filter can look; the C library falls back to clone.
  program.On(__NR_clone3, kNoSuchCall);
  program.Unless(__NR_clone, 4);
  program.Load(ArgumentAt(0));
  program.Add(BPF_JMP | BPF_JSET | BPF_K, kNamespaces, 0, 1);
  program.Return(kDeny);
  program.Return(SECCOMP_RET_ALLOW);
  // Of others; one's own are 0.
  for (const uint32_t call : {__NR_prlimit64, __NR_sched_setaffinity, __NR_sched_setscheduler,
                              __NR_sched_setattr, __NR_sched_setparam}) {
    program.Unless(call, 4);
    program.Load(ArgumentAt(0));
    program.On(0, SECCOMP_RET_ALLOW);
    program.Return(kDeny);
  }
  // Typing into somebody's terminal.
  program.Unless(__NR_ioctl, 6);
  program.Load(ArgumentAt(1));
  program.On(TIOCSTI, kDeny);
  program.On(TIOCLINUX, kDeny);
  program.Return(SECCOMP_RET_ALLOW);
  if (sockets == SocketRule::kNone) {
    program.Unless(__NR_utimensat, 4);
    program.Load(ArgumentAt(1));
    program.On(0, SECCOMP_RET_ALLOW);  // of an open file
    program.Return(kDeny);
  } else {
    program.Unless(__NR_socket, 10);
    program.Load(ArgumentAt(0));
    for (const uint32_t family : {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK}) {
      program.On(family, SECCOMP_RET_ALLOW);
    }
    program.Return(kDeny);
  }
  program.Return(SECCOMP_RET_ALLOW);
  return program.Take();
}

}  // namespace baleen
