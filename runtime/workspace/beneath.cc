#include "runtime/workspace/beneath.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <iterator>
#include <system_error>

namespace baleen {
namespace {

constexpr int kBusyRetries = 100;  // RESOLVE_BENEATH asks for a retry after a rename in the path.

}  // namespace

int OpenBelow(int root, const char* path, int flags, mode_t mode, uint64_t resolve) {
  open_how how = {};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC);
  how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | resolve;
  int fd = -1;
  for (int i = 0; i < kBusyRetries; ++i) {
    fd = static_cast<int>(syscall(SYS_openat2, root, path, &how, sizeof(how)));
    if (fd >= 0 || (errno != EAGAIN && errno != EINTR)) break;
  }
  return fd;
}

std::optional<std::string> PlaceBelow(int root, int file) {
  const auto path_of = [](int open) {
    std::string path(PATH_MAX, '\0');
    const std::string link = "/proc/self/fd/" + std::to_string(open);
    const ssize_t size = readlink(link.c_str(), path.data(), path.size());
    path.resize(static_cast<size_t>(std::max<ssize_t>(size, 0)));
    return path;
  };
  std::string above = path_of(root);
  std::string path = path_of(file);
  if (!above.ends_with('/')) above += '/';
  if (!above.starts_with('/') || !path.starts_with(above)) return std::nullopt;
  constexpr std::string_view kGone = " (deleted)";  // it had the name in front of that
  if (path.ends_with(kGone)) path.resize(path.size() - kGone.size());
  return path.substr(above.size());
}

std::string QuotedPath(std::string_view path) {
  return "'" + std::string(path.substr(0, 200)) + (path.size() > 200 ? "...'" : "'");
}

Status FileError(std::string_view path, int error) {
  const std::string what = QuotedPath(path) + ": " + std::generic_category().message(error);
  switch (error) {
    case ENOENT:
    case ENOTDIR: return NotFoundError(what);
    case EXDEV:
      return PermissionDeniedError(QuotedPath(path) + " is outside the workspace", kPathRefused);
    case ELOOP:
      return PermissionDeniedError(QuotedPath(path) + " goes through too many or forbidden links",
                                   kPathRefused);
    case EACCES:
    case EPERM:
    case EROFS: return PermissionDeniedError(what);
    case ENAMETOOLONG:
    case EINVAL: return InvalidArgumentError(what);
    case EDQUOT:
    case ENOSPC:
    case EMFILE:
    case ENFILE:
    case ENOMEM: return ResourceExhaustedError(what);
    case ENXIO:
      return FailedPreconditionError(QuotedPath(path) + " is not a regular file", kPathRefused);
    default: return UnavailableError(what);
  }
}

Result<std::vector<std::string>> NamesIn(OpenDirectory& folder, std::string_view path,
                                         int64_t names_max) {
  std::vector<std::string> names;
  while (const char* const name = folder.Next()) {
    if (std::ssize(names) >= names_max) {
      return ResourceExhaustedError(QuotedPath(path) + " has more than " +
                                    std::to_string(names_max) + " entries");
    }
    names.emplace_back(name);
  }
  if (folder.error() != 0) return FileError(path, folder.error());
  return names;
}

}  // namespace baleen
