#include "runtime/workspace/workspace.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "runtime/workspace/beneath.h"
#include "tools_sdk/file_descriptor.h"
#include "tools_sdk/special_files.h"

namespace baleen {
namespace {

std::string Quoted(std::string_view path) { return QuotedPath(path); }

/// Without what means nothing in it, "a/../b" being "b".
std::string PlainOf(std::string_view path) {
  std::vector<std::string_view> names;
  while (!path.empty()) {
    const size_t slash = path.find('/');
    const std::string_view name = path.substr(0, slash);
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
    if (name.empty() || name == ".") continue;
    if (name != "..") {
      names.push_back(name);
    } else if (!names.empty()) {
      names.pop_back();
    }
  }
  std::string plain;
  for (const std::string_view name : names) plain += (plain.empty() ? "" : "/") + std::string(name);
  return plain;
}

FileEntry::Kind KindOf(const struct stat& status) {
  if (S_ISREG(status.st_mode)) return FileEntry::Kind::kFile;
  return S_ISDIR(status.st_mode) ? FileEntry::Kind::kDirectory : FileEntry::Kind::kOther;
}

}  // namespace

Result<std::unique_ptr<Workspace>> Workspace::Open(const std::string& root,
                                                   std::vector<std::string> readable_secrets) {
  FileDescriptor directory(open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() < 0) {
    if (errno == ENOTDIR)
      return InvalidArgumentError("workspace " + Quoted(root) + " is not a directory");
    return FileError(root, errno).WithContext("workspace");
  }
  // One look now tells a missing system call apart from a missing file later.
  const FileDescriptor probe(OpenBelow(directory.get(), ".", O_PATH | O_DIRECTORY, 0, 0));
  if (probe.get() < 0) {
    return FailedPreconditionError(
        "workspace " + Quoted(root) + ": openat2 with RESOLVE_BENEATH failed (" +
        std::generic_category().message(errno) +
        "); it needs Linux 5.6 and a sandbox that allows the call. Without it no file is served");
  }
  return std::unique_ptr<Workspace>(
      new Workspace(directory.Release(), std::move(readable_secrets)));
}

Workspace::~Workspace() { close(root_); }

Result<int> Workspace::OpenBeneath(std::string_view path, int flags) const {
  if (path.find('\0') != std::string_view::npos) {
    return InvalidArgumentError("a path with a NUL byte names no file", kPathRefused);
  }
  const std::string name = path.empty() ? "." : std::string(path);
  const int fd = OpenBelow(root_, name.c_str(), flags, 0, 0);
  if (fd < 0) return FileError(path, errno);
  return fd;
}

Status Workspace::CheckSecret(std::string_view path) const {
  const std::string plain = PlainOf(path);
  const std::string_view by = SecretOf(plain, readable_secrets_);
  if (by.empty()) return OkStatus();
  return PermissionDeniedError(
      Quoted(plain) + " is a secret file by its name ('" + std::string(by) +
          "'), which tools neither read nor change; whoever makes a session may open it: "
          "readable_secrets, or --allow-secret-file " +
          Quoted(plain),
      kPathRefused);
}

Result<int> Workspace::OpenReadable(std::string_view path, int flags) const {
  // Also what isn't there: it isn't made, either.
  RETURN_IF_ERROR(CheckSecret(path));
  // Most paths have no link in them, and lie where they say.
  if (path.find('\0') == std::string_view::npos) {
    const std::string name(path.empty() ? "." : path);
    const int plain = OpenBelow(root_, name.c_str(), flags, 0, RESOLVE_NO_SYMLINKS);
    if (plain >= 0) return plain;
  }
  ASSIGN_OR_RETURN(const int followed, OpenBeneath(path, flags));
  FileDescriptor file(followed);
  const auto place = PlaceBelow(root_, file.get());
  if (!place.has_value()) {
    return PermissionDeniedError(Quoted(path) + " is a link, and where it leads can't be told",
                                 kPathRefused);
  }
  if (const Status status = CheckSecret(*place); !status.ok()) {
    return PermissionDeniedError(Quoted(path) + " leads to a secret file: " + status.message(),
                                 kPathRefused);
  }
  return file.Release();
}

Result<int> Workspace::OpenRegular(std::string_view path, int64_t* size) const {
  struct stat status = {};
  const auto is_regular = [&](int fd) -> Status {
    if (fstat(fd, &status) != 0) return FileError(path, errno);
    if (S_ISREG(status.st_mode)) return OkStatus();
    if (S_ISDIR(status.st_mode)) return FailedPreconditionError(Quoted(path) + " is a directory");
    return FailedPreconditionError(Quoted(path) + " is not a regular file", kPathRefused);
  };
  {
    // Opening a device can have effects (a tape rewinds), so look before.
    ASSIGN_OR_RETURN(const int looked, OpenReadable(path, O_PATH));
    const FileDescriptor place(looked);
    RETURN_IF_ERROR(is_regular(place.get()));
  }
  // The name may mean something else by now. O_NONBLOCK: a FIFO must not wait for its writer.
  ASSIGN_OR_RETURN(const int opened, OpenReadable(path, O_RDONLY | O_NONBLOCK | O_NOCTTY));
  FileDescriptor file(opened);
  RETURN_IF_ERROR(is_regular(file.get()));
  *size = status.st_size;
  return file.Release();
}

Result<std::string> Workspace::Read(std::string_view path, int64_t offset,
                                    int64_t bytes_max) const {
  if (offset < 0 || bytes_max < 0) {
    return InvalidArgumentError(Quoted(path) + ": offset and size must not be negative");
  }
  int64_t size = 0;
  ASSIGN_OR_RETURN(const int opened, OpenRegular(path, &size));
  const FileDescriptor file(opened);
  std::string out;
  int64_t wanted = std::min(bytes_max, kReadBytesMax);
  // Files that say 0 (procfs has such) and files that grow are read in steps, not by their size. It
  // is the first step's, though: to clear a step costs more than to read a small file.
  constexpr int64_t kStepMin = 8 << 10, kStep = 1 << 20;
  const int64_t told = std::clamp(size - std::min(offset, size) + 1, kStepMin, kStep);
  while (wanted > 0) {
    const size_t before = out.size();
    const size_t step = static_cast<size_t>(std::min(wanted, before == 0 ? told : kStep));
    out.resize(before + step);
    const ssize_t got = pread(file.get(), out.data() + before, step, offset);
    const int error = errno;
    out.resize(before + static_cast<size_t>(std::max<ssize_t>(got, 0)));
    if (got < 0 && error == EINTR) continue;
    if (got < 0) return FileError(path, error);
    if (got == 0) break;
    offset += got;
    wanted -= got;
  }
  return out;
}

Result<int64_t> Workspace::Size(std::string_view path) const {
  int64_t size = 0;
  ASSIGN_OR_RETURN(const int opened, OpenRegular(path, &size));
  const FileDescriptor file(opened);
  return size;
}

Result<std::vector<FileEntry>> Workspace::List(std::string_view path, int64_t entries_max) const {
  ASSIGN_OR_RETURN(const int opened, OpenBeneath(path, O_RDONLY | O_DIRECTORY));
  OpenDirectory directory(opened);
  ASSIGN_OR_RETURN(std::vector<std::string> names, NamesIn(directory, path, kDirectoryEntriesMax));
  std::sort(names.begin(), names.end());
  if (static_cast<int64_t>(names.size()) > entries_max) {
    names.resize(static_cast<size_t>(std::max<int64_t>(entries_max, 0)));
  }
  std::string prefix(path == "." ? std::string_view() : path);
  if (!prefix.empty() && prefix.back() != '/') prefix += '/';
  std::vector<FileEntry> entries;
  for (const std::string& name : names) {
    struct stat status = {};
    // Deleted meanwhile: not there.
    if (fstatat(directory.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) continue;
    FileEntry& entry = entries.emplace_back();
    entry.path = prefix + name;
    entry.kind = KindOf(status);
    entry.size_bytes = entry.kind == FileEntry::Kind::kFile ? status.st_size : 0;
    entry.modified_ns = int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec;
  }
  return entries;
}

}  // namespace baleen
