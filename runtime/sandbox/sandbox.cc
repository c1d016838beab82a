#include "runtime/sandbox/sandbox.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <initializer_list>
#include <iterator>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/sandbox/landlock_rules.h"
#include "runtime/sandbox/process_tree.h"
#include "runtime/sandbox/seccomp_filter.h"
#include "runtime/workspace/secret_walk.h"
#include "tools_sdk/special_files.h"

namespace baleen {
namespace {

namespace fs = std::filesystem;

constexpr const char* kBubblewrap = "/usr/bin/bwrap";
constexpr const char* kShell = "/bin/sh";
constexpr const char* kBash = "/bin/bash";
constexpr const char* kTemporaryBytes = "1073741824";  // of each private file system in memory
constexpr const char* kNoBytes = "4096";               // of one with nothing in it

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

/// What is bound on top of the workspace, and what holds that: as they were when we looked.
struct Protected {
  std::vector<std::string> paths, identities;  ///< Identity: device and inode.
};

/// Of each process, wherever it runs.
std::vector<ProcessLimit> LimitsOf(const CommandLimits& limits) {
  return {{RLIMIT_CORE, 0},
          {RLIMIT_CPU, limits.cpu_seconds},
          {RLIMIT_FSIZE, limits.file_bytes},
          {RLIMIT_DATA, limits.memory_bytes},
          {RLIMIT_NOFILE, limits.open_files}};
}

std::string Quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

/// The last step in the namespaces, for a shell: the limit of processes, a hard one, which out here
/// would count all of the user's, the daemon's threads among them; and a look whether what was
/// bound is what we meant, for a job that runs meanwhile may put a link in its place.
std::string LastStep(const CommandLimits& limits, const Protected& bound, const char* option) {
  std::string text =
      std::string("ulimit ") + option + " " + std::to_string(limits.processes) + " 2>/dev/null\n";
  if (bound.paths.empty()) return text;
  std::string paths, identities;
  for (const std::string& path : bound.paths) paths += " " + Quoted(path);
  for (const std::string& one : bound.identities) {
    identities += (identities.empty() ? "" : "\n") + one;
  }
  return text + "[ \"$(stat -c %d:%i --" + paths + ")\" = " + Quoted(identities) +
         " ] || { echo 'the workspace changed while the command was started; try again'; "
         "exit 125; }\n";
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
  if (workspace.empty()) return OkStatus();
  for (const char* folder : {"/usr", "/bin", "/sbin", "/lib", "/etc", "/proc", "/dev"}) {
    const std::string system = folder;
    if (workspace == "/" || workspace == system || workspace.starts_with(system + "/")) {
      return FailedPreconditionError("no command runs in the workspace '" + workspace +
                                     "': it is, or holds, a part of the system");
    }
  }
  return OkStatus();
}

/// A file in memory that has `content` to be read.
Result<int> MemoryFile(const char* name, std::string_view content = {}) {
  FileDescriptor file(memfd_create(name, MFD_CLOEXEC));
  const auto bytes = static_cast<ssize_t>(content.size());
  if (file.get() < 0 || write(file.get(), content.data(), content.size()) != bytes ||
      lseek(file.get(), 0, SEEK_SET) != 0) {
    return UnavailableError(std::string("no memory for ") + name);
  }
  return file.Release();
}

/// The first process of its namespace, whose end is the end of all in it; negative: none known.
pid_t NamespaceOf(const StartedCommand& command) {
  if (command.status == nullptr) return -1;
  char said[256] = {};
  const ssize_t bytes = pread(command.status->get(), said, sizeof(said) - 1, 0);
  const char* number = bytes <= 0 ? nullptr : std::strstr(said, "\"child-pid\": ");
  return number == nullptr ? -1 : static_cast<pid_t>(std::atoi(number + 13));
}

/// In what is there anyway, for every process to read.
bool IsOfTheSystem(const std::string& path) {
  return std::any_of(
      std::begin(kSystemFolders), std::end(kSystemFolders),
      [&path](const char* folder) { return path.starts_with(std::string(folder) + "/"); });
}

using BwrapArguments = std::vector<std::string>;

void Add(BwrapArguments& args, std::initializer_list<std::string> more) {
  args.insert(args.end(), more.begin(), more.end());
}

/// Each bind costs bubblewrap a look through all mounts: what need not be one isn't.
void AddSystem(BwrapArguments& args) {
  // The root is of the same memory as /tmp: nothing that isn't bounded can be written to.
  Add(args, {"--size", kTemporaryBytes, "--tmpfs", "/"});
  for (const char* folder : kSystemFolders) {
    std::error_code missing;
    if (fs::is_symlink(folder, missing)) {
      Add(args, {"--symlink", fs::read_symlink(folder, missing).string(), folder});
    } else if (fs::is_directory(folder, missing)) {
      Add(args, {"--ro-bind", folder, folder});
    }
  }
  Add(args, {"--ro-bind", "/etc", "/etc"});
  for (const std::string& name : SecretsInEtc()) {
    const std::string path = "/etc/" + name;
    struct stat status = {};
    if (lstat(path.c_str(), &status) != 0) continue;
    if (S_ISDIR(status.st_mode)) Add(args, {"--size", kNoBytes, "--tmpfs", path});
    // The command has our user and none of our privileges, and that is whom access() asks for.
    if (S_ISREG(status.st_mode) && access(path.c_str(), R_OK) == 0) {
      Add(args, {"--ro-bind", "/dev/null", path});
    }
  }
  // Read-only: whom the kernel knows as root may write /proc/sys from any user namespace.
  Add(args, {"--proc", "/proc", "--remount-ro", "/proc"});
  Add(args,
      {"--dev", "/dev", "--size", kTemporaryBytes, "--tmpfs", "/dev/shm", "--remount-ro", "/dev"});
  for (const char* folder : {"/tmp", "/var/tmp", "/run"}) {
    Add(args, {"--perms", "1777", "--dir", folder});
  }
}

/// What agents, CI, editors or git obey of a workspace's root, by name.
std::vector<std::string> GuardedIn(const std::string& workspace) {
  std::vector<std::string> names;
  std::error_code unreadable;  // then nothing of it is bound at all
  for (fs::directory_iterator entry(workspace, unreadable), end; !unreadable && entry != end;
       entry.increment(unreadable)) {
    const std::string name = entry->path().filename();
    for (const bool is_folder : {false, true}) {
      if (IsGuardedEntry(name, is_folder)) names.push_back(name);
    }
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

/// The workspace, with what of it may only be read.
Protected AddWorkspace(BwrapArguments& args, const std::string& workspace, bool reads_only) {
  Protected bound;
  if (workspace.empty()) return bound;
  Add(args, {reads_only ? "--ro-bind" : "--bind", workspace, workspace});
  if (reads_only) return bound;
  // A mount point of its own can't be moved away to make room for another '.git'.
  const std::string repository = workspace + "/.git";
  struct stat is_folder = {};
  if (lstat(repository.c_str(), &is_folder) == 0 && S_ISDIR(is_folder.st_mode) &&
      Protect(repository, &bound)) {
    Add(args, {"--bind", repository, repository});
    for (const char* name : kProtectedInGit) {
      const std::string path = repository + "/" + name;
      if (Protect(path, &bound)) Add(args, {"--ro-bind", path, path});
    }
  }
  for (const std::string& name : GuardedIn(workspace)) {
    const std::string path = workspace + "/" + name;
    if (Protect(path, &bound)) Add(args, {"--ro-bind", path, path});
  }
  return bound;
}

/// Hides the workspace's secret files: folders in `args`, and the files that are answered. What
/// holds them must be the same when they are hidden, or somebody moved them meanwhile.
std::vector<std::string> HideSecrets(BwrapArguments& args, const SandboxedCommand& command,
                                     Protected* bound) {
  if (command.workspace.empty()) return {};
  SecretPlaces secrets = FindSecrets(command.workspace, command.readable_secrets);
  std::set<std::string> holders;
  for (auto* paths : {&secrets.folders, &secrets.files}) {
    for (std::string& path : *paths) {
      path = command.workspace + "/" + path;
      holders.insert(path.substr(0, path.rfind('/')));
    }
  }
  for (const std::string& holder : holders) Protect(holder, bound);
  for (const std::string& folder : secrets.folders) {
    Add(args, {"--perms", "0000", "--size", kNoBytes, "--tmpfs", folder});
  }
  return std::move(secrets.files);
}

/// What a command sees of the file system.
struct View {
  BwrapArguments mounts;
  Protected bound;
  std::vector<std::string> hidden;  ///< Files in whose place nothing can be read.
};

View ViewOf(const SandboxedCommand& command) {
  View view;
  AddSystem(view.mounts);
  view.bound = AddWorkspace(view.mounts, command.workspace, command.reads_only);
  view.hidden = HideSecrets(view.mounts, command, &view.bound);
  for (const std::string& path : command.readable) {
    if (!IsOfTheSystem(path)) Add(view.mounts, {"--ro-bind", path, path});
  }
  const NetworkProxy* network = command.network;
  if (network != nullptr && !IsOfTheSystem(network->starter())) {
    Add(view.mounts, {"--ro-bind", network->starter(), network->starter()});
  }
  return view;
}

/// Equal for views that bind the same: by name, and where it may be changed, by identity.
std::string Described(const View& view, const std::string& workspace) {
  struct stat status = {};
  std::string out = "absent";
  if (lstat(workspace.c_str(), &status) == 0) {
    out = std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino);
  }
  for (const auto* parts : {&view.mounts, &view.bound.identities, &view.hidden}) {
    for (const std::string& part : *parts) out += std::string(1, '\0') + part;
  }
  return out;
}

std::string StartFolder(const SandboxedCommand& command) {
  if (command.workspace.empty()) return "/";
  return command.folder.empty() ? command.workspace : command.workspace + "/" + command.folder;
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
    command.workspace = folder;
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
  ASSIGN_OR_RETURN(const int filter_fd,
                   MemoryFile("seccomp", {reinterpret_cast<const char*>(filter.data()),
                                          filter.size() * sizeof(sock_filter)}));
  const FileDescriptor program(filter_fd);
  ASSIGN_OR_RETURN(const int status_fd, MemoryFile("bwrap-status"));
  StartedCommand started{-1, std::make_unique<FileDescriptor>(status_fd), nullptr};
  Launch launch;
  launch.environment = Environment("/tmp");
  launch.output = command.output;
  launch.limits = LimitsOf(command.limits);
  launch.files = command.files;
  const auto give = [&launch](int file) {
    launch.files.push_back(file);
    return std::to_string(2 + launch.files.size());
  };
  BwrapArguments& args = launch.arguments;
  args = {kBubblewrap, "--unshare-user", "--unshare-all", "--die-with-parent", "--cap-drop",
          "ALL",       "--hostname",     "sandbox"};
  Add(args, {"--seccomp", give(program.get()), "--json-status-fd", give(status_fd)});
  const View view = ViewOf(command);
  args.insert(args.end(), view.mounts.begin(), view.mounts.end());
  ASSIGN_OR_RETURN(const int nothing_fd, MemoryFile("hidden"));
  const FileDescriptor nothing(nothing_fd);
  for (const std::string& path : view.hidden) {
    // A regular file that can't be read: of an empty one, or none, git would keep a change.
    Add(args, {"--perms", "0000", "--ro-bind-data", give(nothing.get()), path});
  }
  const NetworkProxy* network = command.network;
  Add(args, {"--chdir", StartFolder(command), "--"});
  if (network != nullptr) {
    Add(args, {network->starter(), "--door", give(network->door())});
    if (!network->loopback_outside()) {
      for (const char* name : {"NO_PROXY=", "no_proxy="}) {
        launch.environment.push_back(std::string(name) + "localhost,127.0.0.1,::1");
      }
    }
  }
  std::unique_ptr<FileDescriptor> hears;  // until it is started
  std::string first = "unset BASH_ENV\n", last;
  if (command.waits) {
    ASSIGN_OR_RETURN(const int text_fd, MemoryFile("command"));
    started.text = std::make_unique<FileDescriptor>(text_fd);
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
      return UnavailableError("no socket for a command that waits can be made");
    }
    started.go = std::make_unique<FileDescriptor>(ends[0]);
    hears = std::make_unique<FileDescriptor>(ends[1]);
    started.view = Described(view, command.workspace);
    const std::string text = give(text_fd), go = give(ends[1]);
    first += "read -r -u " + go + " && mapfile -d '' -u " + text + " command || exit 125\nexec " +
             go + "<&- " + text + "<&-\n";
    last = std::string("exec ") + kBash + " -c \"${command[0]}\"\n";
  }
  // bash reads it before the command: a shell around bash would be one start more.
  const std::string own = std::to_string(3 + launch.files.size());
  ASSIGN_OR_RETURN(const int script_fd,
                   MemoryFile("last-step", first + "exec " + own + "<&-\n" +
                                               LastStep(command.limits, view.bound, "-u") + last));
  const FileDescriptor script(script_fd);
  if (command.program.empty()) {
    launch.environment.push_back("BASH_ENV=/dev/fd/" + give(script.get()));
    Add(args, {kBash, "-c", command.waits ? "exit 125" : command.command});
  } else {
    Add(args, {kShell, "-c", LastStep(command.limits, view.bound, "-p") + "exec \"$@\"", kShell});
    args.insert(args.end(), command.program.begin(), command.program.end());
  }
  ASSIGN_OR_RETURN(started.process, StartProcess(launch));
  return started;
}

bool Sandbox::HandOver(const SandboxedCommand& command, const StartedCommand& waiting) const {
  if (waiting.go == nullptr || Described(ViewOf(command), command.workspace) != waiting.view) {
    return false;
  }
  const auto bytes = static_cast<ssize_t>(command.command.size());
  return pwrite(waiting.text->get(), command.command.data(), command.command.size(), 0) == bytes &&
         send(waiting.go->get(), "\n", 1, MSG_NOSIGNAL) == 1;
}

Result<StartedCommand> Sandbox::StartLandlock(const SandboxedCommand& command) const {
  if (command.waits) return UnimplementedError("only bubblewrap waits for a command");
  if (command.network != nullptr) {
    return FailedPreconditionError(
        "no command runs: the session's network_hosts can be kept to under bubblewrap alone, and "
        "here is Landlock (" +
        reason_ + "). Install bubblewrap, or make a session without them");
  }
  StartedCommand started{-1, nullptr, std::make_unique<PrivateFolder>()};
  const std::string& scratch = started.scratch->path();
  if (scratch.empty()) return UnavailableError("no private folder can be made for a command");
  LandlockPaths paths;
  for (const char* folder : kSystemFolders) paths.read_only.emplace_back(folder);
  std::error_code missing;
  for (const auto& entry : fs::directory_iterator("/etc", missing)) {
    const std::string name = entry.path().filename();
    if (SecretsInEtc().count(name) == 0) paths.read_only.push_back(entry.path());
  }
  paths.read_only.insert(paths.read_only.end(), command.readable.begin(), command.readable.end());
  paths.read_write = {scratch,     "/dev/null",   "/dev/zero",
                      "/dev/full", "/dev/random", "/dev/urandom"};
  if (!command.workspace.empty()) {
    (command.reads_only ? paths.read_only : paths.read_write).push_back(command.workspace);
  }
  ASSIGN_OR_RETURN(const int rules, MakeLandlockRules(paths));
  const FileDescriptor ruleset(rules);
  Launch launch;
  launch.arguments = command.program;
  if (command.program.empty()) launch.arguments = {kBash, "-c", command.command};
  launch.environment = Environment(scratch);
  launch.folder = StartFolder(command);
  launch.output = command.output;
  launch.files = command.files;
  launch.limits = LimitsOf(command.limits);
  launch.landlock = ruleset.get();
  launch.filter = MakeSeccompFilter(SocketRule::kNone);
  if (launch.filter.empty()) return UnimplementedError("no seccomp filter for this architecture");
  ASSIGN_OR_RETURN(started.process, StartProcess(launch));
  return started;
}

std::string Sandbox::Excess(pid_t process, const CommandLimits& limits) const {
  // bubblewrap's own are two.
  const bool wrapped = kind_ == SandboxKind::kBubblewrap;
  const int64_t most = limits.processes + (wrapped ? 2 : 0);
  const TreeUse use = wrapped ? UseOfDescendants(process, most + 1) : UseOfGroup(process, most + 1);
  if (use.processes > most) {
    return "it had more than " + std::to_string(limits.processes) + " processes";
  }
  if (use.memory_bytes > limits.memory_bytes) {
    return "it used more than " + std::to_string(limits.memory_bytes) + " bytes of memory";
  }
  return {};
}

void Sandbox::End(const StartedCommand& command) {
  constexpr int kRestMs = 30'000;
  kill(-command.process, SIGKILL);
  if (const pid_t first = NamespaceOf(command); first > 0) {
    // Numbers go round slowly: so soon it is this process or nobody.
    const FileDescriptor pidfd(static_cast<int>(syscall(SYS_pidfd_open, first, 0)));
    pollfd poller = {pidfd.get(), POLLIN, 0};
    if (pidfd.get() >= 0) poll(&poller, 1, kRestMs);
    return;
  }
  constexpr int kLookMs = 5;
  for (int waited = 0; waited < kRestMs; waited += kLookMs) {
    if (UseOfGroup(command.process, 1).processes == 0) break;
    kill(-command.process, SIGKILL);
    poll(nullptr, 0, kLookMs);
  }
}

bool Sandbox::NeverBegan(const StartedCommand& command) {
  if (command.status == nullptr) return false;
  char said[4096] = {};
  const ssize_t bytes = pread(command.status->get(), said, sizeof(said) - 1, 0);
  return bytes <= 0 || std::string(said).find("\"exit-code\"") == std::string::npos;
}

}  // namespace baleen
