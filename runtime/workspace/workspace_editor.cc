#include "runtime/workspace/workspace_editor.h"

#include <fcntl.h>
#include <linux/fs.h>  // RENAME_*
#include <linux/openat2.h>
#include <stdio.h>  // renameat2
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <utility>
#include <vector>

#include "runtime/workspace/beneath.h"
#include "tools_sdk/file_descriptor.h"

namespace baleen {
namespace {

constexpr size_t kSeenFilesMax = 10'000;

std::string Digest(std::string_view content) {
  const XXH128_hash_t hash = XXH3_128bits(content.data(), content.size());
  return std::string(reinterpret_cast<const char*>(&hash), sizeof(hash));
}

/// The names in a path that may be changed, without "." and empty ones.
Result<std::vector<std::string>> NamesOf(std::string_view path) {
  const std::string quoted = QuotedPath(path);
  if (path.find('\0') != std::string_view::npos) {
    return InvalidArgumentError("a path with a NUL byte names no file", kPathRefused);
  }
  if (path.starts_with('/')) {
    return PermissionDeniedError(quoted + " is absolute: give a path below the workspace",
                                 kPathRefused);
  }
  if (path.empty() || path.ends_with('/')) return InvalidArgumentError(quoted + " names no file");
  std::vector<std::string> names;
  while (!path.empty()) {
    const size_t slash = path.find('/');
    const std::string_view name = path.substr(0, slash);
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
    if (name.empty() || name == ".") continue;
    if (name == "..") {
      return PermissionDeniedError(quoted + ": a path that is to be changed has no '..'",
                                   kPathRefused);
    }
    if (name == ".git") {
      return PermissionDeniedError(quoted + " is inside '.git', which only git changes",
                                   kPathRefused);
    }
    names.emplace_back(name);
  }
  if (names.empty()) return InvalidArgumentError(quoted + " names no file");
  return names;
}

std::string Joined(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : "/") + name;
  return out;
}

/// Opens the folder `name` in `parent`, and makes it if it isn't there.
Result<int> EnterFolder(int parent, const std::string& name, std::string_view path) {
  const auto open = [&] {
    return OpenBelow(parent, name.c_str(), O_RDONLY | O_DIRECTORY, 0, RESOLVE_NO_SYMLINKS);
  };
  int folder = open();
  if (folder < 0 && errno == ENOENT) {
    if (mkdirat(parent, name.c_str(), 0777) != 0 && errno != EEXIST) return FileError(path, errno);
    folder = open();
  }
  if (folder < 0 && errno == ELOOP) {
    return PermissionDeniedError(QuotedPath(path) + " goes through the link '" + name +
                                     "': changes follow no links, name the real path",
                                 kPathRefused);
  }
  if (folder < 0) return FileError(path, errno);
  return folder;
}

/// Opens the folder that the last name is in.
Result<int> OpenFolder(int root, const std::vector<std::string>& names, std::string_view path) {
  int opened = OpenBelow(root, ".", O_RDONLY | O_DIRECTORY, 0, RESOLVE_NO_SYMLINKS);
  if (opened < 0) return FileError(path, errno);
  for (size_t i = 0; i + 1 < names.size(); ++i) {
    const FileDescriptor parent(opened);
    ASSIGN_OR_RETURN(opened, EnterFolder(parent.get(), names[i], path));
  }
  return opened;
}

Status WriteAll(int file, std::string_view content, std::string_view path) {
  while (!content.empty()) {
    const ssize_t wrote = write(file, content.data(), content.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return FileError(path, errno);
    content.remove_prefix(static_cast<size_t>(wrote));
  }
  return fsync(file) == 0 ? OkStatus() : FileError(path, errno);
}

/// All of an open file. Errors: RESOURCE_EXHAUSTED (it has more than `bytes_max`, or grows beyond).
Result<std::string> ReadAll(int file, int64_t bytes_max, std::string_view path) {
  struct stat status = {};
  if (fstat(file, &status) != 0) return FileError(path, errno);
  // One more: it may have grown.
  std::string content(static_cast<size_t>(std::min<int64_t>(status.st_size, bytes_max)) + 1, '\0');
  size_t got = 0;
  while (got < content.size()) {
    const ssize_t part =
        pread(file, content.data() + got, content.size() - got, static_cast<off_t>(got));
    if (part < 0 && errno == EINTR) continue;
    if (part < 0) return FileError(path, errno);
    if (part == 0) break;
    got += static_cast<size_t>(part);
  }
  if (got == content.size()) return ResourceExhaustedError(QuotedPath(path) + " grows");
  content.resize(got);
  return content;
}

/// Whether the file `name` in `folder` holds exactly `content`.
bool Holds(int folder, const std::string& name, std::string_view content) {
  const FileDescriptor file(
      openat(folder, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  struct stat status = {};
  if (file.get() < 0 || fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode) ||
      status.st_size != static_cast<off_t>(content.size())) {
    return false;
  }
  const auto there = ReadAll(file.get(), static_cast<int64_t>(content.size()), name);
  return there.ok() && *there == content;
}

Status Stale(std::string_view path) {
  return AbortedError(QuotedPath(path) +
                      " was changed by somebody else in this moment; read it again");
}

/// A finished file beside the one that it is to replace; removed unless it took its place.
class Draft {
 public:
  Draft(int folder, std::string name) : folder_(folder), name_(std::move(name)) {}
  ~Draft() {
    if (!placed_) unlinkat(folder_, name_.c_str(), 0);
  }
  Draft(const Draft&) = delete;
  Draft& operator=(const Draft&) = delete;

  Status Write(std::string_view content, uint32_t mode, const std::string& target,
               std::string_view path) {
    struct stat status = {};
    const bool there = fstatat(folder_, target.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0;
    if (there && S_ISLNK(status.st_mode)) {
      return PermissionDeniedError(
          QuotedPath(path) + " is a link: changes follow no links, name the real path",
          kPathRefused);
    }
    const FileDescriptor file(
        openat(folder_, name_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666));
    if (file.get() < 0) return FileError(path, errno);
    const mode_t kept = there && S_ISREG(status.st_mode) ? status.st_mode & 0777 : 0;
    const mode_t bits = mode != 0 ? mode & 0777 : kept;
    if (bits != 0 && fchmod(file.get(), bits) != 0) return FileError(path, errno);
    return WriteAll(file.get(), content, path);
  }

  Status PlaceNew(const std::string& target, std::string_view path) {
    if (renameat2(folder_, name_.c_str(), folder_, target.c_str(), RENAME_NOREPLACE) == 0) {
      placed_ = true;
      return OkStatus();
    }
    return errno == EEXIST ? Stale(path) : FileError(path, errno);
  }

  Status PlaceOver(const std::string& target, const std::string& replaced, std::string_view path) {
    if (!Holds(folder_, target, replaced)) return Stale(path);
    if (renameat2(folder_, name_.c_str(), folder_, target.c_str(), RENAME_EXCHANGE) != 0) {
      return errno == ENOENT ? Stale(path) : FileError(path, errno);
    }
    // From here on the draft's name holds what was there.
    if (Holds(folder_, name_, replaced)) return OkStatus();
    if (renameat2(folder_, name_.c_str(), folder_, target.c_str(), RENAME_EXCHANGE) != 0) {
      placed_ = true;  // nothing that somebody wrote is removed
      return FileError(path, errno);
    }
    return Stale(path);
  }

  /// Takes away `target`, which holds `replaced`.
  Status Remove(const std::string& target, const std::string& replaced, std::string_view path) {
    placed_ = true;  // until the name holds what may go
    if (!Holds(folder_, target, replaced)) return Stale(path);
    if (renameat2(folder_, target.c_str(), folder_, name_.c_str(), RENAME_NOREPLACE) != 0) {
      return errno == ENOENT ? Stale(path) : FileError(path, errno);
    }
    if (Holds(folder_, name_, replaced)) {
      placed_ = false;
      return OkStatus();
    }
    if (renameat2(folder_, name_.c_str(), folder_, target.c_str(), RENAME_NOREPLACE) != 0) {
      return AbortedError(QuotedPath(path) +
                          " was changed by somebody else in this moment; what "
                          "was there is '" +
                          name_ + "' in its folder now");
    }
    return Stale(path);
  }

 private:
  int folder_;
  std::string name_;
  bool placed_ = false;
};

std::string DraftName() {
  static std::atomic<uint64_t> number = 0;
  return ".baleen-draft-" + std::to_string(getpid()) + "-" + std::to_string(++number);
}

}  // namespace

Result<std::string> PlainPath(std::string_view path) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, NamesOf(path));
  return Joined(names);
}

Result<std::string> WorkspaceEditor::ReadWhole(std::string_view path) const {
  ASSIGN_OR_RETURN(const int64_t size, workspace_->Size(path));
  const auto too_large = [&] {
    return ResourceExhaustedError(QuotedPath(path) + " is larger than " +
                                  std::to_string(kChangeBytesMax) +
                                  " bytes, which is the most that is changed");
  };
  if (size > kChangeBytesMax) return too_large();
  ASSIGN_OR_RETURN(std::string content, workspace_->Read(path, 0, kChangeBytesMax + 1));
  if (static_cast<int64_t>(content.size()) > kChangeBytesMax) return too_large();
  return content;
}

void WorkspaceEditor::Remember(const std::string& name, std::string digest) {
  const std::lock_guard<std::mutex> lock(mutex_);
  // Whoever has seen so many may look again.
  if (seen_.size() >= kSeenFilesMax && seen_.count(name) == 0) seen_.clear();
  seen_[name] = std::move(digest);
}

void WorkspaceEditor::NoteSeen(std::string_view path) {
  const auto names = NamesOf(path);
  if (!names.ok()) return;
  const auto content = ReadWhole(path);
  if (content.ok()) Remember(Joined(*names), Digest(*content));
}

Result<SeenFile> WorkspaceEditor::Load(std::string_view path) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, NamesOf(path));
  SeenFile file;
  ASSIGN_OR_RETURN(file.content, ReadWhole(path));
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = seen_.find(Joined(names));
  if (found != seen_.end()) {
    file.seen =
        found->second == Digest(file.content) ? SeenFile::Seen::kCurrent : SeenFile::Seen::kChanged;
  }
  return file;
}

Status WorkspaceEditor::Store(std::string_view path, std::string_view content,
                              const std::string* replaced) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, NamesOf(path));
  if (static_cast<int64_t>(content.size()) > kChangeBytesMax) {
    return ResourceExhaustedError("the new content of " + QuotedPath(path) + " has " +
                                  std::to_string(content.size()) + " bytes: expected at most " +
                                  std::to_string(kChangeBytesMax));
  }
  RETURN_IF_ERROR(CheckSecret(path));
  RETURN_IF_ERROR(Place(names, path, &content, replaced, 0));
  Remember(Joined(names), Digest(content));
  return OkStatus();
}

Status WorkspaceEditor::Restore(std::string_view path, const std::optional<std::string>& content,
                                const std::optional<std::string>& replaced, uint32_t mode) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, NamesOf(path));
  const std::string_view whole = content.has_value() ? *content : std::string_view();
  RETURN_IF_ERROR(Place(names, path, content.has_value() ? &whole : nullptr,
                        replaced.has_value() ? &*replaced : nullptr, mode));
  Remember(Joined(names), {});  // the digest of nothing that a file could hold
  return OkStatus();
}

Status WorkspaceEditor::Place(const std::vector<std::string>& names, std::string_view path,
                              const std::string_view* content, const std::string* replaced,
                              uint32_t mode) {
  if (names.size() > kFoldersMax) {
    return InvalidArgumentError(QuotedPath(path) + " is more than " + std::to_string(kFoldersMax) +
                                " folders deep");
  }
  ASSIGN_OR_RETURN(const int opened, OpenFolder(workspace_->root(), names, path));
  const FileDescriptor folder(opened);
  {
    Draft draft(folder.get(), DraftName());
    if (content == nullptr) {
      if (replaced != nullptr) RETURN_IF_ERROR(draft.Remove(names.back(), *replaced, path));
    } else {
      RETURN_IF_ERROR(draft.Write(*content, mode, names.back(), path));
      RETURN_IF_ERROR(replaced == nullptr ? draft.PlaceNew(names.back(), path)
                                          : draft.PlaceOver(names.back(), *replaced, path));
    }
  }
  return fsync(folder.get()) == 0 ? OkStatus() : FileError(path, errno);
}

Result<PresentFile> WorkspaceEditor::Present(std::string_view path) const {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, NamesOf(path));
  const std::string plain = Joined(names);
  const auto open = [&](int flags) {
    return OpenBelow(workspace_->root(), plain.c_str(), flags, 0, RESOLVE_NO_SYMLINKS);
  };
  PresentFile present;
  struct stat status = {};
  {
    // Opening a device can have effects, so look before.
    const FileDescriptor place(open(O_PATH | O_NOFOLLOW));
    if (place.get() < 0 && errno == ENOENT) return present;
    if (place.get() < 0 && errno == ELOOP) {
      return PermissionDeniedError(QuotedPath(path) + " goes through a link now");
    }
    if (place.get() < 0 || fstat(place.get(), &status) != 0) return FileError(path, errno);
    if (S_ISLNK(status.st_mode)) return PermissionDeniedError(QuotedPath(path) + " is a link now");
    if (!S_ISREG(status.st_mode)) {
      return FailedPreconditionError(QuotedPath(path) + (S_ISDIR(status.st_mode)
                                                             ? " is a directory now"
                                                             : " is not a regular file now"));
    }
  }
  const FileDescriptor file(open(O_RDONLY | O_NONBLOCK | O_NOCTTY));
  if (file.get() < 0 || fstat(file.get(), &status) != 0) return FileError(path, errno);
  if (!S_ISREG(status.st_mode) || status.st_size > kChangeBytesMax) {
    return ResourceExhaustedError(QuotedPath(path) + " is larger than " +
                                  std::to_string(kChangeBytesMax) +
                                  " bytes, which is the most that is changed");
  }
  ASSIGN_OR_RETURN(present.content, ReadAll(file.get(), kChangeBytesMax, path));
  present.mode = status.st_mode & 0777;
  return present;
}

}  // namespace baleen
