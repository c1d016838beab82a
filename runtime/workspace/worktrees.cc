#include "runtime/workspace/worktrees.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <utility>
#include <vector>

#include "runtime/workspace/beneath.h"
#include "runtime/workspace/tree_copy.h"
#include "tools_sdk/file_descriptor.h"

namespace baleen {
namespace {

constexpr char kDraft[] = ".draft";  ///< Behind a name: on its way.
constexpr char kGone[] = "gone-";    ///< Before a number: to be removed.
constexpr int64_t kNoteBytesMax = 4096;

constexpr int64_t kNamesMax = 10'000'000;  ///< In one folder.

/// Removes the folder `name` of `root`, however deep and whatever its bits: folders in it are moved
/// up and follow, so that neither a stack nor open files grow with the depth.
Status RemoveTree(int root, const std::string& name) {
  std::vector<std::string> pending = {name};
  uint64_t moved = 0;
  while (!pending.empty()) {
    const std::string path = std::move(pending.back());
    pending.pop_back();
    // Its owner may have taken its own rights away. Through the descriptor: what has the name may
    // be a link by now.
    const auto admit = [](int parent, const std::string& folder) {
      const FileDescriptor place(
          openat(parent, folder.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      const std::string self = "/proc/self/fd/" + std::to_string(place.get());
      return place.get() >= 0 && chmod(self.c_str(), 0700) == 0;
    };
    admit(root, path);
    OpenDirectory folder(
        openat(root, path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!folder.is_open()) {
      if (unlinkat(root, path.c_str(), 0) == 0 || errno == ENOENT) continue;
      return FileError(path, errno);
    }
    ASSIGN_OR_RETURN(const std::vector<std::string> names, NamesIn(folder, path, kNamesMax));
    for (const std::string& inner : names) {
      if (unlinkat(folder.get(), inner.c_str(), 0) == 0 || errno == ENOENT) continue;
      admit(folder.get(), inner);
      std::string up;
      do {  // an earlier removal, broken off, may have left some of these names
        up = name + "-" + std::to_string(++moved);
        errno = 0;
      } while (renameat(folder.get(), inner.c_str(), root, up.c_str()) != 0 &&
               (errno == ENOTEMPTY || errno == EEXIST));
      if (errno != 0) return FileError(inner, errno);
      pending.push_back(up);
    }
    if (unlinkat(root, path.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) {
      return FileError(path, errno);
    }
  }
  return OkStatus();
}

std::string NoteOf(const TreeCopyReport& report) {
  std::string note = "copied: " + std::to_string(report.files) + " files, " +
                     std::to_string(report.links) + " links, " + std::to_string(report.bytes) +
                     " bytes";
  const char* before = "; left out: ";
  const auto left_out = [&](int64_t count, const char* what) {
    if (count == 0) return;
    note += before + std::to_string(count) + " " + what;
    before = ", ";
  };
  left_out(report.ignored, "by ignore rules");
  left_out(report.secret, "secret files");
  left_out(report.special, "devices, FIFOs and sockets");
  left_out(report.unreadable, "that can't be read");
  return note;
}

Status MakeFolder(const std::string& path) {
  if (mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return OkStatus();
  return FileError(path, errno);
}

/// Whoever finds the copy after a power cut must find all of it.
Status SyncAll(const std::string& path) {
  const FileDescriptor folder(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() < 0 || syncfs(folder.get()) != 0) return FileError(path, errno);
  return OkStatus();
}

Status WriteNote(const std::string& path, const std::string& note) {
  const FileDescriptor file(
      open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (file.get() < 0 || write(file.get(), note.data(), note.size()) != std::ssize(note)) {
    return FileError(path, errno);
  }
  return OkStatus();
}

/// Fills a folder that nobody knows yet; what was copied.
Status FillDraft(const std::string& draft, const std::string& workspace, bool ignored,
                 const std::atomic<bool>* cancelled,
                 const std::vector<std::string>& readable_secrets) {
  for (const char* part : {"", "/base", "/tree"}) RETURN_IF_ERROR(MakeFolder(draft + part));
  ASSIGN_OR_RETURN(const auto from, Workspace::Open(workspace, readable_secrets));
  ASSIGN_OR_RETURN(const TreeCopyReport report,
                   CopyTree(*from, draft + "/base", ignored, cancelled));
  // Of the copy, so that both are of one moment.
  ASSIGN_OR_RETURN(const auto base, Workspace::Open(draft + "/base", readable_secrets));
  RETURN_IF_ERROR(CopyTree(*base, draft + "/tree", /*ignored=*/true, cancelled).status());
  RETURN_IF_ERROR(WriteNote(draft + "/note", NoteOf(report)));
  return SyncAll(draft);
}

}  // namespace

void Worktrees::Hold(const std::string& name) {
  const std::lock_guard<std::mutex> lock(mutex_);
  held_.insert(name);
}

void Worktrees::Settle(const std::string& name) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (const auto found = held_.find(name); found != held_.end()) held_.erase(found);
}

Result<Worktree> Worktrees::Make(const std::string& name, const std::string& workspace,
                                 bool ignored, const std::atomic<bool>* cancelled,
                                 const std::vector<std::string>& readable_secrets) {
  RETURN_IF_ERROR(MakeFolder(root_));
  const std::string path = PathOf(name);
  struct stat status = {};
  if (lstat(path.c_str(), &status) != 0) {
    OpenDirectory root(open(root_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSIGN_OR_RETURN(const std::vector<std::string> names, NamesIn(root, root_, kNamesMax));
    if (std::ssize(names) >= kWorktreesMax) {
      return ResourceExhaustedError("there are " + std::to_string(names.size()) +
                                    " worktrees already; close forks that have one, or delete "
                                    "their sessions");
    }
    const std::string draft = path + kDraft;
    RETURN_IF_ERROR(RemoveNamed(name + kDraft));  // of a process that ended
    const Status filled = FillDraft(draft, workspace, ignored, cancelled, readable_secrets);
    if (!filled.ok()) {
      RemoveNamed(name + kDraft).IgnoreError("the sweep tries again");
      return filled.WithContext("worktree");
    }
    if (rename(draft.c_str(), path.c_str()) != 0) return FileError(path, errno);
    RETURN_IF_ERROR(SyncAll(root_));
  }
  ASSIGN_OR_RETURN(const auto folder, Workspace::Open(path));
  ASSIGN_OR_RETURN(std::string note, folder->Read("note", 0, kNoteBytesMax));
  return Worktree{path + "/tree", std::move(note)};
}

Result<std::string> Worktrees::Diff(const std::string& name, const std::atomic<bool>* cancelled,
                                    const std::vector<std::string>& readable_secrets) const {
  const auto base = Workspace::Open(PathOf(name) + "/base", readable_secrets);
  if (base.status().code() == StatusCode::kNotFound) {
    return NotFoundError("session '" + name +
                         "' has no worktree: fork it with worktree = true, and "
                         "ask before it is closed");
  }
  RETURN_IF_ERROR(base.status());
  ASSIGN_OR_RETURN(const auto tree, Workspace::Open(PathOf(name) + "/tree", readable_secrets));
  return DiffTrees(**base, *tree, cancelled);
}

Status Worktrees::RemoveNamed(const std::string& name) {
  const FileDescriptor root(open(root_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (root.get() < 0) return errno == ENOENT ? OkStatus() : FileError(root_, errno);
  std::string gone;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    gone = kGone + std::to_string(getpid()) + "-" + std::to_string(++removed_) + "-" + name;
  }
  if (renameat(root.get(), name.c_str(), root.get(), gone.c_str()) != 0) {
    return errno == ENOENT ? OkStatus() : FileError(PathOf(name), errno);
  }
  return RemoveTree(root.get(), gone);
}

Status Worktrees::Remove(const std::string& name) { return RemoveNamed(name); }

Status Worktrees::Sweep(const std::function<bool(const std::string& name)>& is_used) {
  OpenDirectory root(open(root_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (root.error() == ENOENT) return OkStatus();
  ASSIGN_OR_RETURN(const std::vector<std::string> names, NamesIn(root, root_, kNamesMax));
  Status first;
  for (const std::string& name : names) {
    std::string gone = name;
    if (!name.starts_with(kGone)) {
      const std::string session =
          name.ends_with(kDraft) ? name.substr(0, name.size() - (sizeof(kDraft) - 1)) : name;
      // One lock around look and move: who makes one holds it first, and lets go of it when it is
      // used.
      const std::lock_guard<std::mutex> lock(mutex_);
      if (held_.contains(session) || (session == name && is_used(name))) continue;
      gone = kGone + std::to_string(getpid()) + "-" + std::to_string(++removed_) + "-" + name;
      if (renameat(root.get(), name.c_str(), root.get(), gone.c_str()) != 0) continue;
    }
    const Status removed = RemoveTree(root.get(), gone);
    if (first.ok()) first = removed;
  }
  return first;
}

}  // namespace baleen
