#include "runtime/store/data_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <string_view>

#include "runtime/store/files.h"

namespace baleen {
namespace {

Status CheckOwner(const std::string& path) {
  struct stat entry = {};
  if (stat(path.c_str(), &entry) != 0) return FileError(errno, "open", path);
  if (!S_ISDIR(entry.st_mode)) {
    return InvalidArgumentError("'" + path + "' is not a directory; name another data directory");
  }
  if (entry.st_uid != geteuid()) {
    return PermissionDeniedError("data directory '" + path + "' belongs to user " +
                                 std::to_string(entry.st_uid) + ", expected " +
                                 std::to_string(geteuid()) + "; run as its owner, or: chown -R " +
                                 std::to_string(geteuid()) + " '" + path + "'");
  }
  if ((entry.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return PermissionDeniedError("data directory '" + path +
                                 "' is writable by other users; run: chmod 700 '" + path + "'");
  }
  return OkStatus();
}

/// Takes the lock or names who has it. Returns the descriptor that holds it.
Result<int> Lock(const std::string& directory) {
  const std::string path = directory + "/LOCK";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return FileError(errno, "open lock file", path);
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    close(fd);
    if (error != EWOULDBLOCK) return FileError(error, "lock", path);
    auto pid = ReadSmallFile(path, 32);
    while (pid.ok() && pid->ends_with('\n')) pid->pop_back();
    const std::string holder = pid.ok() && !pid->empty() ? *pid : "unknown";
    return FailedPreconditionError("data directory '" + directory + "' is in use by process " +
                                       holder + "; stop that process, or name another directory",
                                   "LOCKED");
  }
  const std::string pid = std::to_string(getpid()) + "\n";
  if (ftruncate(fd, 0) != 0 || pwrite(fd, pid.data(), pid.size(), 0) < 0) {
    const int error = errno;
    close(fd);
    return FileError(error, "write", path);
  }
  return fd;
}

Status CheckVersion(const std::string& directory) {
  const std::string path = directory + "/VERSION";
  const auto text = ReadSmallFile(path, 32);
  if (text.status().code() == StatusCode::kNotFound) {
    return WriteFileDurably(path, std::to_string(kDataDirectoryVersion) + "\n");
  }
  RETURN_IF_ERROR(text.status());
  uint32_t version = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), version);
  if (error != std::errc() || std::string_view(end) != "\n" || version == 0) {
    return DataLossError("file '" + path +
                         "' is damaged, expected a number; restore it (this build "
                         "writes " +
                         std::to_string(kDataDirectoryVersion) + ")");
  }
  if (version <= kDataDirectoryVersion) return OkStatus();
  return FailedPreconditionError("data directory '" + directory + "' has version " +
                                     std::to_string(version) +
                                     ", this build knows versions up to " +
                                     std::to_string(kDataDirectoryVersion) + "; use a newer build",
                                 "NEWER_VERSION");
}

}  // namespace

Result<std::unique_ptr<DataDirectory>> DataDirectory::Open(const std::string& path) {
  if (path.empty()) return InvalidArgumentError("data directory path is empty; name a directory");
  if (mkdir(path.c_str(), 0700) == 0) {
    RETURN_IF_ERROR(SyncDirectory(DirectoryOf(path)));
  } else if (errno != EEXIST) {
    return FileError(errno, "create data directory", path);
  }
  RETURN_IF_ERROR(CheckOwner(path));
  ASSIGN_OR_RETURN(const int fd, Lock(path));
  std::unique_ptr<DataDirectory> directory(new DataDirectory(path, fd));
  RETURN_IF_ERROR(CheckVersion(path));
  return directory;
}

Status DataDirectory::Build(const std::string& path,
                            const std::function<Status(const DataDirectory& draft)>& fill) {
  if (path.empty()) return InvalidArgumentError("data directory path is empty; name a directory");
  const std::string draft_path = path + ".draft";
  struct stat entry = {};
  for (const std::string& taken : {path, draft_path}) {
    if (lstat(taken.c_str(), &entry) != 0) continue;
    return AlreadyExistsError("'" + taken + "' exists already; name a new directory" +
                              (taken == path ? "" : ", or remove what a broken-off attempt left"));
  }
  Status status;
  {
    ASSIGN_OR_RETURN(const auto draft, Open(draft_path));
    status = fill(*draft);
  }
  if (status.ok() && rename(draft_path.c_str(), path.c_str()) != 0) {
    status = FileError(errno, "rename", draft_path);
  }
  if (status.ok()) return SyncDirectory(DirectoryOf(path));
  std::error_code ignored;  // the first error is reported
  std::filesystem::remove_all(draft_path, ignored);
  return status;
}

DataDirectory::~DataDirectory() { close(lock_fd_); }

}  // namespace baleen
