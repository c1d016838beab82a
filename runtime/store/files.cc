#include "runtime/store/files.h"
#include "tools_sdk/file_descriptor.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace baleen {
namespace {

Status WriteAll(int fd, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t written = write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FileError(errno, "write", path);
    text.remove_prefix(static_cast<size_t>(written));
  }
  return OkStatus();
}

}  // namespace

Status FileError(int errno_value, std::string_view operation, const std::string& path) {
  const std::string message =
      "cannot " + std::string(operation) + " '" + path + "': " + std::strerror(errno_value);
  switch (errno_value) {
    case ENOENT: return NotFoundError(message + "; check the path, or create its parent directory");
    case EACCES:
    case EPERM:
    case EROFS: return PermissionDeniedError(message + "; give this user read and write access");
    case ENOSPC:
    case EDQUOT:
      return ResourceExhaustedError(message + "; free space on its file system, then retry",
                                    "DISK_FULL");
    case EMFILE:
    case ENFILE: return ResourceExhaustedError(message + "; raise the limit on open files");
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case ENAMETOOLONG: return InvalidArgumentError(message + "; check the path");
    default: return InternalError(message + "; check the disk", "DISK_ERROR");
  }
}

Status SyncFile(const std::string& path) {
  const FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return FileError(errno, "open", path);
  if (fsync(file.get()) != 0) return FileError(errno, "sync", path);
  return OkStatus();
}

Status SyncDirectory(const std::string& directory) { return SyncFile(directory); }

std::string DirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Status WriteFileDurably(const std::string& path, std::string_view text) {
  const std::string draft = path + ".new";
  {
    const FileDescriptor file(
        open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (file.get() < 0) return FileError(errno, "create", draft);
    RETURN_IF_ERROR(WriteAll(file.get(), text, draft));
    if (fsync(file.get()) != 0) return FileError(errno, "sync", draft);
  }
  if (rename(draft.c_str(), path.c_str()) != 0) return FileError(errno, "rename", draft);
  return SyncDirectory(DirectoryOf(path));
}

Result<std::string> ReadSmallFile(const std::string& path, size_t bytes_max) {
  const FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return FileError(errno, "open", path);
  std::string text(bytes_max + 1, '\0');
  size_t size_bytes = 0;
  while (size_bytes < text.size()) {
    const ssize_t got = read(file.get(), text.data() + size_bytes, text.size() - size_bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FileError(errno, "read", path);
    if (got == 0) break;
    size_bytes += static_cast<size_t>(got);
  }
  if (size_bytes > bytes_max) {
    return OutOfRangeError("'" + path + "' has more than " + std::to_string(bytes_max) + " bytes");
  }
  text.resize(size_bytes);
  return text;
}

Status EnsureFile(const std::string& path) {
  const FileDescriptor file(open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (file.get() < 0) return errno == EEXIST ? OkStatus() : FileError(errno, "create", path);
  if (fsync(file.get()) != 0) return FileError(errno, "sync", path);
  return SyncDirectory(DirectoryOf(path));
}

}  // namespace baleen
