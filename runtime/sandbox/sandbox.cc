#include "runtime/sandbox/sandbox.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <set>
#include <utility>
#include <vector>

#include "runtime/sandbox/landlock_rules.h"
#include "runtime/sandbox/seccomp_filter.h"

namespace baleen {
namespace {

namespace fs = std::filesystem;

constexpr const char* kBubblewrap = "/usr/bin/bwrap";
constexpr const char* kShell = "/bin/sh";
constexpr const char* kBash = "/bin/bash";
constexpr const char* kTemporaryBytes = "1073741824";  // of each private file system in memory

/// The system, to read. Home folders, /var, /run, /srv, /mnt and /root aren't among them.
constexpr const char* kSystemFolders[] = {"/usr",   "/bin",   "/sbin", "/lib",
                                          "/lib32", "/lib64", "/opt"};

/// Of /etc: what only the administrator should read, in case that is who we are.
const std::set<std::string>& SecretsInEtc() {
  static const std::set<std::string> kSecrets = {
      "shadow",      "shadow-",  "gshadow",       "gshadow-",       "sudoers",   "sudoers.d",
      "ssh",         "security", "krb5.keytab",   "NetworkManager", "wireguard", "wpa_supplicant",
      "ppp",         "openvpn",  "ipsec.secrets", "ipsec.d",        "docker",    "kubernetes",
      "letsencrypt", "mysql",    "postgresql",    "machine-id"};
  return kSecrets;
}

/// Of a repository, if they are there: what git would run, outside, later.
constexpr const char* kProtectedInGit[] = {"hooks", "config"};

std::vector<std::string> Environment(const std::string& temporary) {
  return {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
          "HOME=" + temporary,
          "TMPDIR=" + temporary,
          "LANG=C.UTF-8",
          "TERM=dumb",
          "GIT_PAGER=cat",
          "PAGER=cat"};
}

/// What is bound on top of the workspace: files as they were when we looked.
struct Protected {
  std::vector<std::string> paths, identities;  ///< Identity: device and inode.
};

/// The last step, in the sandbox: limits for all that follows, hard ones; and a look whether what
/// was bound is what we meant, for a job that runs meanwhile may put a link in its place.
/// `own_users`: the namespace's users are its own. The kernel's limit of processes counts all of a
/// user's, so elsewhere it would count the daemon's threads and whatever else the user runs.
std::vector<std::string> LimitedShell(const SandboxedCommand& command, const Protected& bound,
                                      bool own_users) {
  const CommandLimits& limits = command.limits;
  const auto number = [](int64_t value) { return std::to_string(value); };
  // dash counts files by 512 bytes and data by 1024. A limit that is lower already stays.
  const std::string limit = "ulimit -c 0; ulimit -t " + number(limits.cpu_seconds) +
                            "; ulimit -f " + number(limits.file_bytes / 512) + "; ulimit -d " +
                            number(limits.memory_bytes / 1024) + "; ulimit -n " +
                            number(limits.open_files) +
                            (own_users ? "; ulimit -p " + number(limits.processes) : "");
  const std::string script =
      "{ " + limit +
      "; } 2>/dev/null; c=$1; i=$2; shift 2; "
      "[ $# = 0 ] || [ \"$(stat -c %d:%i -- \"$@\")\" = \"$i\" ] || "
      "{ echo 'the repository changed while the command was started; try again'; exit 125; }; "
      "exec " +
      std::string(kBash) + " -c \"$c\"";
  std::string identities;
  for (const std::string& one : bound.identities) {
    identities += (identities.empty() ? "" : "\n") + one;
  }
  std::vector<std::string> shell = {kShell, "-c", script, "bash", command.command, identities};
  shell.insert(shell.end(), bound.paths.begin(), bound.paths.end());
  return shell;
}

/// False: not there, or a link, which is never followed.
bool Protect(const std::string& path, Protected* bound) {
  struct stat status = {};
  if (lstat(path.c_str(), &status) != 0 || (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode))) {
    return false;
  }
  bound->paths.push_back(path);
  bound->identities.push_back(std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino));
  return true;
}

/// A workspace that holds the system would make all of it writable.
Status CheckWorkspace(const std::string& workspace) {
  for (const char* folder : {"/usr", "/bin", "/sbin", "/lib", "/etc", "/proc", "/dev"}) {
    const std::string system = folder;
    if (workspace == "/" || workspace == system || workspace.starts_with(system + "/")) {
      return FailedPreconditionError("no command runs in the workspace '" + workspace +
                                     "': it is, or holds, a part of the system");
    }
  }
  return OkStatus();
}

Result<int> MemoryFile(const char* name) {
  const int fd = memfd_create(name, MFD_CLOEXEC);
  if (fd < 0) return UnavailableError(std::string("no memory for ") + name);
  return fd;
}

std::string JoinPath(const std::string& folder, const std::string& below) {
  return below.empty() ? folder : folder + "/" + below;
}

}  // namespace

const char* SandboxKindName(SandboxKind kind) {
  switch (kind) {
    case SandboxKind::kBubblewrap: return "bubblewrap";
    case SandboxKind::kLandlock: return "landlock";
    case SandboxKind::kNone: break;
  }
  return "none";
}

Sandbox Sandbox::Probe(SandboxKind wanted) {
  Sandbox sandbox;
  std::string problems;
  for (const SandboxKind kind : {SandboxKind::kBubblewrap, SandboxKind::kLandlock}) {
    if (wanted != SandboxKind::kNone && wanted != kind) continue;
    // Nothing limits how many processes root starts, and outside of a namespace they are the
    // host's.
    const bool as_root =
        wanted == SandboxKind::kNone && kind == SandboxKind::kLandlock && geteuid() == 0;
    const std::string problem =
        as_root ? "not for root, whose processes it can't bound" : sandbox.Try(kind);
    if (problem.empty()) {
      sandbox.kind_ = kind;
      sandbox.reason_ = problems;
      return sandbox;
    }
    problems +=
        (problems.empty() ? "" : "; ") + std::string(SandboxKindName(kind)) + ": " + problem;
  }
  sandbox.kind_ = SandboxKind::kNone;
  sandbox.reason_ = problems;
  return sandbox;
}

std::string Sandbox::Try(SandboxKind kind) {
  if (kind == SandboxKind::kBubblewrap && access(kBubblewrap, X_OK) != 0) {
    return "not installed (Debian's package is bubblewrap)";
  }
  if (kind == SandboxKind::kLandlock && LandlockVersion() < kLandlockVersionNeeded) {
    return "version " + std::to_string(LandlockVersion()) + " of the kernel, needed is " +
           std::to_string(kLandlockVersionNeeded) + " (Linux 6.12, and landlock among lsm=)";
  }
  std::string folder = fs::temp_directory_path() / "baleen-sandbox-XXXXXX";
  if (mkdtemp(folder.data()) == nullptr) return "no folder can be made in the temporary one";
  kind_ = kind;
  const auto output = MemoryFile("sandbox-output");
  std::string problem = "no memory";
  if (output.ok()) {
    const FileDescriptor file(*output);
    SandboxedCommand command;
    command.workspace = command.scratch = folder;
    command.command = "(exit 42); exit $?";  // one that forks
    command.output = file.get();
    auto started = Start(command);
    if (started.ok()) {
      int status = 0;
      while (waitpid(started->process, &status, 0) < 0 && errno == EINTR) {
      }
      problem.clear();
      if (!WIFEXITED(status) || WEXITSTATUS(status) != 42) {
        char said[500] = {};
        const ssize_t bytes = pread(file.get(), said, sizeof(said) - 1, 0);
        problem = "it doesn't run here: " +
                  std::string(said, static_cast<size_t>(std::max<ssize_t>(bytes, 0)));
        while (!problem.empty() && problem.back() == '\n') problem.pop_back();
      }
    } else {
      problem = started.status().message();
    }
  }
  std::error_code ignored;  // an empty folder in the temporary one
  fs::remove_all(folder, ignored);
  return problem;
}

Result<StartedCommand> Sandbox::Start(const SandboxedCommand& command) const {
  RETURN_IF_ERROR(CheckWorkspace(command.workspace));
  switch (kind_) {
    case SandboxKind::kBubblewrap: return StartBubblewrap(command);
    case SandboxKind::kLandlock: return StartLandlock(command);
    case SandboxKind::kNone: break;
  }
  return FailedPreconditionError(
      "no command runs, for there is no sandbox on this machine (" + reason_ +
      "). Install bubblewrap (apt-get install bubblewrap) and allow user namespaces");
}

Result<StartedCommand> Sandbox::StartBubblewrap(const SandboxedCommand& command) const {
  const std::vector<sock_filter> filter = MakeSeccompFilter(SocketRule::kLocalFamilies);
  if (filter.empty()) return UnimplementedError("no seccomp filter for this architecture");
  ASSIGN_OR_RETURN(const int filter_fd, MemoryFile("seccomp"));
  const FileDescriptor program(filter_fd);
  ASSIGN_OR_RETURN(const int status_fd, MemoryFile("bwrap-status"));
  StartedCommand started{-1, std::make_unique<FileDescriptor>(status_fd)};
  const size_t bytes = filter.size() * sizeof(sock_filter);
  if (write(program.get(), filter.data(), bytes) != static_cast<ssize_t>(bytes) ||
      lseek(program.get(), 0, SEEK_SET) != 0) {
    return UnavailableError("the seccomp filter can't be handed over");
  }
  std::vector<std::string> args = {kBubblewrap,        "--unshare-user",
                                   "--unshare-all",    "--die-with-parent",
                                   "--cap-drop",       "ALL",
                                   "--seccomp",        "3",
                                   "--json-status-fd", "4",
                                   "--hostname",       "sandbox"};
  const auto add = [&args](std::initializer_list<std::string> more) {
    args.insert(args.end(), more.begin(), more.end());
  };
  for (const char* folder : kSystemFolders) {
    std::error_code missing;
    if (fs::is_symlink(folder, missing)) {
      add({"--symlink", fs::read_symlink(folder, missing).string(), folder});
    } else if (fs::is_directory(folder, missing)) {
      add({"--ro-bind", folder, folder});
    }
  }
  add({"--ro-bind", "/etc", "/etc"});
  for (const std::string& name : SecretsInEtc()) {
    std::error_code missing;
    const std::string path = "/etc/" + name;
    if (fs::is_directory(fs::symlink_status(path, missing)))
      add({"--tmpfs", path, "--remount-ro", path});
    if (fs::is_regular_file(fs::symlink_status(path, missing)))
      add({"--ro-bind", "/dev/null", path});
  }
  // Read-only: whom the kernel knows as root may write /proc/sys from any user namespace.
  add({"--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev"});
  for (const char* folder : {"/tmp", "/var/tmp", "/run", "/dev/shm"}) {
    add({"--size", kTemporaryBytes, "--tmpfs", folder});
  }
  add({"--bind", command.workspace, command.workspace});
  Protected bound;
  // A mount point of its own can't be moved away to make room for another '.git'.
  const std::string repository = command.workspace + "/.git";
  struct stat is_folder = {};
  if (lstat(repository.c_str(), &is_folder) == 0 && S_ISDIR(is_folder.st_mode) &&
      Protect(repository, &bound)) {
    add({"--bind", repository, repository});
    for (const char* name : kProtectedInGit) {
      const std::string path = repository + "/" + name;
      if (Protect(path, &bound)) add({"--ro-bind", path, path});
    }
  }
  if (const std::string path = command.workspace + "/baleen.toml"; Protect(path, &bound)) {
    add({"--ro-bind", path, path});
  }
  add({"--chdir", JoinPath(command.workspace, command.folder), "--"});
  for (const std::string& argument : LimitedShell(command, bound, true)) args.push_back(argument);
  Launch launch;
  launch.arguments = std::move(args);
  launch.environment = Environment("/tmp");
  launch.output = command.output;
  launch.files = {program.get(), started.status->get()};
  ASSIGN_OR_RETURN(started.process, StartProcess(launch));
  return started;
}

Result<StartedCommand> Sandbox::StartLandlock(const SandboxedCommand& command) const {
  LandlockPaths paths;
  for (const char* folder : kSystemFolders) paths.read_only.emplace_back(folder);
  std::error_code missing;
  for (const auto& entry : fs::directory_iterator("/etc", missing)) {
    const std::string name = entry.path().filename();
    if (SecretsInEtc().count(name) == 0) paths.read_only.push_back(entry.path());
  }
  paths.read_write = {command.workspace, command.scratch, "/dev/null",   "/dev/zero",
                      "/dev/full",       "/dev/random",   "/dev/urandom"};
  ASSIGN_OR_RETURN(const int rules, MakeLandlockRules(paths));
  const FileDescriptor ruleset(rules);
  Launch launch;
  launch.arguments = LimitedShell(command, {}, false);
  launch.environment = Environment(command.scratch);
  launch.folder = JoinPath(command.workspace, command.folder);
  launch.output = command.output;
  launch.landlock = ruleset.get();
  launch.filter = MakeSeccompFilter(SocketRule::kNone);
  if (launch.filter.empty()) return UnimplementedError("no seccomp filter for this architecture");
  StartedCommand started{-1, nullptr};
  ASSIGN_OR_RETURN(started.process, StartProcess(launch));
  return started;
}

pid_t Sandbox::NamespaceOf(const StartedCommand& command) {
  if (command.status == nullptr) return -1;
  char said[256] = {};
  const ssize_t bytes = pread(command.status->get(), said, sizeof(said) - 1, 0);
  const char* number = bytes <= 0 ? nullptr : std::strstr(said, "\"child-pid\": ");
  return number == nullptr ? -1 : static_cast<pid_t>(std::atoi(number + 13));
}

bool Sandbox::NeverBegan(const StartedCommand& command) {
  if (command.status == nullptr) return false;
  char said[4096] = {};
  const ssize_t bytes = pread(command.status->get(), said, sizeof(said) - 1, 0);
  return bytes <= 0 || std::string(said).find("\"exit-code\"") == std::string::npos;
}

}  // namespace baleen
