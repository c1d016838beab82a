// Ways out of a sandbox, each a command. escape_test.cc tries them in one; escape_control_test.cc
// without, where they must lead somewhere.
#pragma once

#include <vector>

namespace baleen {

struct Attempt {
  const char* name;
  const char* command;
};

// Prints REACHED if it thinks that it got somewhere. A call by number, as the C library may not
// have it; `import` lines are shared.
#define PYTHON(text)                                                                            \
  "python3 - <<'END'\nimport ctypes, os, socket, struct, signal, fcntl\n"                       \
  "libc = ctypes.CDLL(None, use_errno=True)\n"                                                  \
  "def call(*a):\n  r = libc.syscall(*[ctypes.c_long(x) if isinstance(x, int) else x for x in " \
  "a])\n  return r\n" text "\nEND"

inline const std::vector<Attempt>& PathAttempts() {
  static const std::vector<Attempt> kAttempts = {
      {"AbsolutePath", "cat @OUT@/secret.txt && echo REACHED"},
      {"DotDot", "cat ../outside/secret.txt && echo REACHED"},
      {"SymlinkToFile", "ln -s @OUT@/secret.txt l1; cat l1 && echo REACHED"},
      {"SymlinkToFolder", "ln -s @OUT@ l2; echo x > l2/new && echo REACHED"},
      {"HardLink", "ln @OUT@/secret.txt hard; cat hard && echo REACHED"},
      {"MoveIn", "mv @OUT@/secret.txt moved && echo REACHED"},
      {"RemoveOutside", "rm -rf @OUT@/secret.txt @OUT@/socket; true"},
      {"WriteOutside", "echo x > @OUT@/new && echo REACHED"},
      {"Truncate", "truncate -s 0 @OUT@/secret.txt && echo REACHED"},
      {"ChangeMode", "chmod 777 @OUT@ @OUT@/secret.txt && echo REACHED"},
      {"SharedMemoryFile", "cat @SHM@ && echo REACHED"},
      {"WriteSharedMemoryFile", "[ -e @SHM@ ] && echo x > @SHM@ && echo REACHED"},
      {"WriteUsr", "touch /usr/bin/baleen-escape && echo REACHED"},
      {"WriteEtc", "touch /etc/baleen-escape && echo REACHED"},
      {"Shadow", "grep -q '^root:' /etc/shadow && echo REACHED"},
      {"HomeOfRoot", "cat /root/.bashrc /root/.profile 2>/dev/null | grep -q . && echo REACHED"},
      {"VarLib", "cat /var/lib/dpkg/status | grep -q . && echo REACHED"},
      {"Devices",
       "for d in /dev/mem /dev/kmsg /dev/sda /dev/vda /dev/kvm; do head -c1 $d && echo "
       "REACHED; done"},
      {"MakeBlockDevice",
       PYTHON("import stat\nos.mknod('blk', 0o600 | stat.S_IFBLK, os.makedev(254, 0))\n"
              "os.open('blk', os.O_RDONLY)\nprint('REACHED')")},
      {"MakeCharacterDevice",
       PYTHON("import stat\nos.mknod('chr', 0o600 | stat.S_IFCHR, os.makedev(1, 1))\n"
              "os.open('chr', os.O_RDONLY)\nprint('REACHED')")},
      {"OpenByHandle",
       PYTHON(
           "b = ctypes.create_string_buffer(b'\\x80' + bytes(200))\nm = ctypes.c_int()\n"
           "r = call(303, -100, b'.', b, ctypes.byref(m), 0)\nprint('REACHED' if r == 0 else r)")},
      {"InheritedFiles",
       PYTHON("for fd in range(3, 256):\n  try:\n    print(os.pread(fd, 100, 0))\n  except "
              "OSError:\n    pass")},
      {"InheritedFolders",
       PYTHON(
           "for fd in range(3, 256):\n  try:\n    os.open('secret.txt', os.O_RDONLY, dir_fd=fd)\n"
           "    print('REACHED')\n  except OSError:\n    pass")},
      {"InheritedFolderParent",
       PYTHON(
           "for fd in range(0, 256):\n  try:\n    os.open('../outside/secret.txt', 0, dir_fd=fd)\n"
           "    print('REACHED')\n  except OSError:\n    pass")},
      {"Environment", "env"},
  };
  return kAttempts;
}

inline const std::vector<Attempt>& ProcAttempts() {
  static const std::vector<Attempt> kAttempts = {
      {"ProcSelfRoot", "cat /proc/self/root/@OUT@/secret.txt && echo REACHED"},
      {"ProcSelfCwd", "cat /proc/self/cwd/../outside/secret.txt && echo REACHED"},
      {"ProcInitRoot", "cat /proc/1/root/@OUT@/secret.txt && echo REACHED"},
      {"ProcVictimRoot", "cat /proc/@PID@/root/@OUT@/secret.txt && echo REACHED"},
      {"ProcVictimEnvironment",
       "for p in @PID@ @SELF@; do tr '\\0' '\\n' < /proc/$p/environ | grep -q = && echo REACHED; "
       "done"},
      {"ProcEverybody", "cat /proc/[0-9]*/environ /proc/[0-9]*/task/*/environ"},
      {"ProcFileOfAnother", "cat /proc/@SELF@/fd/@FD@ && echo REACHED"},
      {"ProcMemory", "head -c1 /proc/@SELF@/mem && echo REACHED"},
      {"ProcHostname", "echo escaped > /proc/sys/kernel/hostname && echo REACHED"},
      {"ProcCorePattern",
       "p=$(cat /proc/sys/kernel/core_pattern); echo \"$p\" > "
       "/proc/sys/kernel/core_pattern && echo REACHED"},
      {"ProcSysrq", "echo h > /proc/sysrq-trigger && echo REACHED"},
      {"Cgroups",
       "echo $$ > /sys/fs/cgroup/cgroup.procs && echo REACHED; echo $$ > "
       "/sys/fs/cgroup/pids/cgroup.procs && echo REACHED"},
  };
  return kAttempts;
}

inline const std::vector<Attempt>& KernelAttempts() {
  static const std::vector<Attempt> kAttempts = {
      {"MountBind", "mkdir -p m; mount --bind @OUT@ m && echo REACHED"},
      {"MountTmpfs", "mkdir -p m; mount -t tmpfs none m && echo REACHED"},
      {"Unmount", "umount /tmp && echo REACHED; umount -l . && echo REACHED"},
      // On a mount of its own in a namespace of its own, so that it can only move its own root.
      {"PivotRoot", PYTHON("if call(272, 0x10020000) == 0:\n  call(165, b'.', b'.', 0, 4096, 0)\n"
                           "  os.chdir(os.getcwd())\n"
                           "print('REACHED' if call(155, b'.', b'.') == 0 else 'no')")},
      {"Chroot", PYTHON("os.chroot('.')\nprint('REACHED')")},
      {"Unshare", "unshare -Ur true && echo REACHED; unshare -m true && echo REACHED"},
      {"SetNamespace",
       PYTHON(
           "for n in ('mnt', 'user', 'net', 'pid'):\n  try:\n    fd = os.open('/proc/@PID@/ns/' + "
           "n, 0)\n    print('REACHED' if call(308, fd, 0) == 0 else 'no')\n  except OSError:\n    "
           "pass")},
      {"SetOwnNamespace",
       PYTHON("fd = os.open('/proc/self/ns/mnt', 0)\nprint('REACHED' if call(308, fd, 0) == 0 else "
              "'no')")},
      {"CloneNewUser",
       PYTHON(
           "r = call(56, 0x10000000 | 17, 0, 0, 0, 0)\nif r == 0: os._exit(0)\nprint('REACHED' if "
           "r > 0 else 'no')")},
      {"Clone3NewUser",
       PYTHON("a = struct.pack('11Q', 0x10000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0)\nr = call(435, a, "
              "88)\nif r == 0: os._exit(0)\nprint('REACHED' if r > 0 else 'no')")},
      {"FileSystemContext", PYTHON("print('REACHED' if call(430, b'tmpfs', 0) >= 0 else 'no')\n"
                                   "print('REACHED' if call(428, -100, b'/', 1) >= 0 else 'no')")},
      {"X32Call", PYTHON("print('REACHED' if call(0x40000000 + 39) > 0 else 'no')")},
      {"X32Unshare",
       PYTHON("print('REACHED' if call(0x40000000 + 272, 0x10000000) == 0 else 'no')")},
      {"Int80",
       PYTHON("import mmap\nm = mmap.mmap(-1, 4096, prot=7)\n"
              "m.write(bytes.fromhex('b814000000cd80c3'))\n"
              "f = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))\n"
              "print('REACHED' if f() > 0 else 'no')")},
      {"PtraceAttach", PYTHON("print('REACHED' if call(101, 16, @PID@, 0, 0) == 0 else 'no')")},
      {"PtraceSeizeParent",
       PYTHON("print('REACHED' if call(101, 0x4206, os.getppid(), 0, 0) == 0 else 'no')")},
      {"ReadMemory",
       PYTHON("b = ctypes.create_string_buffer(8)\n"
              "here = struct.pack('QQ', ctypes.addressof(b), 8)\n"
              "there = struct.pack('QQ', @ADDRESS@, 8)\n"
              "print('REACHED' if call(310, @SELF@, here, 1, there, 1, 0) >= 0 else 'no')")},
      {"TakeFile",
       PYTHON("p = call(434, @SELF@, 0)\nprint('REACHED' if p >= 0 and call(438, p, @FD@, 0) >= 0 "
              "else 'no')")},
      {"Keyring",
       PYTHON("print('REACHED' if call(248, b'user', b'baleen', b'x', 1, -5) > 0 else 'no')")},
      // A map of one number.
      {"Bpf", PYTHON("a = struct.pack('IIII', 2, 4, 4, 1) + bytes(56)\n"
                     "print('REACHED' if call(321, 0, a, 72) >= 0 else 'no')")},
      {"PerfEvents",
       PYTHON(
           "a = struct.pack('II', 1, 112) + bytes(104)\nprint('REACHED' if call(298, a, 0, -1, -1, "
           "0) >= 0 else 'no')")},
      {"IoUring", PYTHON("print('REACHED' if call(425, 1, bytes(120)) >= 0 else 'no')")},
      {"UserFaults", PYTHON("print('REACHED' if call(323, 1) >= 0 else 'no')")},
      {"Personality", PYTHON("print('REACHED' if call(135, 0x0040000) >= 0 else 'no')")},
      {"KernelLog",
       PYTHON("b = bytes(4096)\nprint('REACHED' if call(103, 3, b, 4096) >= 0 else 'no')")},
      {"HostName", "hostname escaped && echo REACHED"},
      {"Clock", "date -s \"$(date)\" && echo REACHED"},
      {"SuperUser", "echo | su -c 'echo REACHED' nobody; sudo -n echo REACHED"},
      {"SystemVMemory",
       // To have one of its own is no escape; that anybody else sees it is.
       PYTHON("call(29, 0x62616c65, 4096, 0o1666)")},
  };
  return kAttempts;
}

inline const std::vector<Attempt>& NetworkAttempts() {
  static const std::vector<Attempt> kAttempts = {
      {"TcpToLoopback", "echo hi > /dev/tcp/127.0.0.1/@PORT@ && echo REACHED"},
      {"TcpToLocalhostName",
       "timeout 5 bash -c 'echo hi > /dev/tcp/localhost/@PORT@' && echo REACHED"},
      {"TcpOutside", "timeout 5 bash -c 'echo hi > /dev/tcp/1.1.1.1/53' && echo REACHED"},
      {"MetadataAddress",
       "timeout 5 bash -c 'echo hi > /dev/tcp/169.254.169.254/80' && echo REACHED"},
      {"Udp", "echo hi > /dev/udp/127.0.0.1/@UDP@"},
      {"NameService", "timeout 5 getent hosts example.org && echo REACHED"},
      {"UnixSocket", PYTHON("s = socket.socket(socket.AF_UNIX)\ns.connect('@OUT@/socket')\n"
                            "print('REACHED')")},
      {"AbstractSocket",
       PYTHON("s = socket.socket(socket.AF_UNIX)\ns.connect('\\0@ABSTRACT@')\nprint('REACHED')")},
      {"AbstractDatagram",
       PYTHON("s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\ns.sendto(b'x', "
              "'\\0@ABSTRACT@')\nprint('REACHED')")},
      {"VirtualMachineSocket",
       PYTHON("s = socket.socket(40, socket.SOCK_STREAM)\nprint('REACHED')")},
      {"PacketSocket", PYTHON("s = socket.socket(17, socket.SOCK_RAW)\nprint('REACHED')")},
      {"RawSocket", PYTHON("s = socket.socket(2, socket.SOCK_RAW, 1)\nprint('REACHED')")},
      {"CryptoSocket", PYTHON("s = socket.socket(38, 5, 0)\nprint('REACHED')")},
  };
  return kAttempts;
}

inline const std::vector<Attempt>& ProcessAttempts() {
  static const std::vector<Attempt> kAttempts = {
      {"KillVictim", "kill -TERM @PID@ && echo REACHED"},
      {"KillHost", "kill -URG @SELF@ && echo REACHED"},
      {"SignalByDescriptor",
       PYTHON("p = call(434, @PID@, 0)\nprint('REACHED' if p >= 0 and call(424, p, 23, 0, 0) == 0 "
              "else 'no')")},
      {"SignalThread", PYTHON("print('REACHED' if call(234, @PID@, @PID@, 23) == 0 else 'no')")},
      {"QueueSignal", PYTHON("i = struct.pack('iii', 23, 0, -1) + bytes(116)\n"
                             "print('REACHED' if call(129, @PID@, 23, i) == 0 else 'no')")},
      {"SignalEverybody", "kill -URG -1; true"},
      {"LimitsOfVictim",
       PYTHON("r = struct.pack('QQ', 0, 0)\nprint('REACHED' if call(302, @PID@, 7, r, 0) == 0 "
              "else 'no')")},
      {"PriorityOfVictim", "renice -n 19 -p @PID@ && echo REACHED"},
      {"SchedulerOfVictim", "taskset -p 1 @PID@ && echo REACHED"},
      {"ControllingTerminal", "echo REACHED > /dev/tty; cat < /dev/tty && echo REACHED"},
      {"WriteTerminal", "echo hi > @PTY@ && echo REACHED"},
      {"TypeIntoTerminal",
       PYTHON("fd = os.open('@PTY@', os.O_RDWR | os.O_NOCTTY)\nfcntl.ioctl(fd, 0x5412, b'x')\n"
              "print('REACHED')")},
      {"TypeIntoOwnTerminal",
       PYTHON("m, s = os.openpty()\nos.setsid() if os.fork() == 0 else os._exit(0)\n"
              "fcntl.ioctl(s, 0x540e, 0)\nfcntl.ioctl(s, 0x5412, b'x')\nprint('REACHED')")},
      {"TakeTerminal",
       PYTHON("fd = os.open('@PTY@', os.O_RDWR)\nfcntl.ioctl(fd, 0x540e, 1)\nprint('REACHED')")},
      {"Daemon", "setsid sleep 300 & setsid bash -c 'sleep 300; :' & (sleep 300 &) ; exit 0"},
      {"DoubleFork",
       PYTHON("import time\nif os.fork() == 0:\n  try:\n    os.setsid()\n  except OSError:\n    "
              "pass\n  if os.fork() == 0:\n    time.sleep(300)\n  os._exit(0)")},
      {"HeldOutput", "sleep 300 & nohup sleep 300 & disown -a; echo told"},
      {"DeafToSignals", "trap '' TERM INT HUP QUIT; (trap '' TERM; sleep 300) & exit 0"},
  };
  return kAttempts;
}

}  // namespace baleen
