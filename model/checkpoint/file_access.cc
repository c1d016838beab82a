#include "model/checkpoint/file_access.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace baleen {
namespace {

// One read or write call moves at most about 2 GiB on Linux.
constexpr size_t kTransferMax = size_t{1} << 30;

std::string Cause() { return std::string(": ") + std::strerror(errno); }

Status OpenError(const std::string& path) {
  const std::string message = "cannot open '" + path + "'" + Cause();
  if (errno == ENOENT || errno == ENOTDIR) return NotFoundError(message);
  return errno == EACCES ? PermissionDeniedError(message) : UnavailableError(message);
}

// O_NONBLOCK: opening a FIFO must not wait for its writer.
int OpenForReading(const std::string& path) {
  return open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

Status ReadAll(int fd, std::byte* out, size_t size, const std::string& path) {
  size_t done = 0;
  while (done < size) {
    const ssize_t got =
        pread(fd, out + done, std::min(size - done, kTransferMax), static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return UnavailableError("cannot read '" + path + "'" + Cause());
    if (got == 0) {
      return DataLossError("'" + path + "' ended at byte " + std::to_string(done) + ", expected " +
                           std::to_string(size));
    }
    done += static_cast<size_t>(got);
  }
  return OkStatus();
}

Status WriteAll(int fd, std::span<const std::byte> bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t put = write(fd, bytes.data(), std::min(bytes.size(), kTransferMax));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return UnavailableError("cannot write '" + path + "'" + Cause());
    bytes = bytes.subspan(static_cast<size_t>(put));
  }
  return OkStatus();
}

Status RegularSize(int fd, const std::string& path, size_t* size) {
  struct stat facts = {};
  if (fstat(fd, &facts) != 0) return UnavailableError("cannot stat '" + path + "'" + Cause());
  if (!S_ISREG(facts.st_mode)) {
    return InvalidArgumentError("'" + path + "': expected a regular file");
  }
  *size = static_cast<size_t>(facts.st_size);
  return OkStatus();
}

}  // namespace

Result<std::unique_ptr<FileContent>> FileContent::Open(const std::string& path,
                                                       WeightAccess access) {
  FileDescriptor file(OpenForReading(path));
  if (file.get() < 0) return OpenError(path);
  std::unique_ptr<FileContent> content(new FileContent());
  size_t size = 0;
  RETURN_IF_ERROR(RegularSize(file.get(), path, &size));
  if (size == 0) return content;  // A mapping of nothing is an error; an empty span is not.
  const bool mapped = access == WeightAccess::kMapped;
  void* address =
      mapped ? mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0)
             : mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED) {
    return ResourceExhaustedError("cannot " + std::string(mapped ? "map" : "allocate memory for") +
                                  " the " + std::to_string(size) + " bytes of '" + path + "'" +
                                  Cause());
  }
  content->bytes_ = static_cast<std::byte*>(address);
  content->size_ = size;
  if (!mapped) RETURN_IF_ERROR(ReadAll(file.get(), content->bytes_, size, path));
  return content;
}

FileContent::~FileContent() {
  if (bytes_ != nullptr) munmap(bytes_, size_);
}

Result<std::string> ReadTextFile(const std::string& path, int64_t limit_bytes) {
  FileDescriptor file(OpenForReading(path));
  if (file.get() < 0) return OpenError(path);
  size_t size = 0;
  RETURN_IF_ERROR(RegularSize(file.get(), path, &size));
  if (size > static_cast<size_t>(limit_bytes)) {
    return InvalidArgumentError("'" + path + "' has " + std::to_string(size) +
                                " bytes, expected at most " + std::to_string(limit_bytes));
  }
  std::string text(size, '\0');
  RETURN_IF_ERROR(ReadAll(file.get(), reinterpret_cast<std::byte*>(text.data()), size, path));
  return text;
}

Result<FileIdentity> IdentifyFile(const std::string& path) {
  struct stat facts = {};
  if (stat(path.c_str(), &facts) != 0) return OpenError(path);
  FileIdentity identity;
  identity.size = facts.st_size;
  identity.modified_ns = facts.st_mtim.tv_sec * int64_t{1'000'000'000} + facts.st_mtim.tv_nsec;
  identity.inode = facts.st_ino;
  identity.device = facts.st_dev;
  return identity;
}

bool FileExists(const std::string& path) {
  struct stat facts = {};
  return stat(path.c_str(), &facts) == 0;
}

AtomicFile::AtomicFile(const std::string& path)
    // The process id keeps two writers of the same file out of each other's half-written bytes.
    : path_(path), temporary_(path + ".part-" + std::to_string(getpid())) {}

AtomicFile::~AtomicFile() {
  if (file_.has_value()) unlink(temporary_.c_str());
}

Status AtomicFile::Add(std::span<const std::byte> bytes) {
  if (!file_.has_value()) {
    const int fd = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) return UnavailableError("cannot create '" + temporary_ + "'" + Cause());
    file_.emplace(fd);
  }
  return WriteAll(file_->get(), bytes, temporary_);
}

Status AtomicFile::Finish() {
  RETURN_IF_ERROR(Add({}));  // Nothing was added: an empty file.
  Status status;
  if (fsync(file_->get()) != 0 || file_->Close() != 0) {
    status = UnavailableError("cannot finish '" + temporary_ + "'" + Cause());
  } else if (rename(temporary_.c_str(), path_.c_str()) != 0) {
    status = UnavailableError("cannot rename '" + temporary_ + "' to '" + path_ + "'" + Cause());
  }
  file_.reset();
  if (!status.ok()) unlink(temporary_.c_str());
  return status;
}

Status WriteFileAtomically(const std::string& path,
                           std::span<const std::span<const std::byte>> parts) {
  AtomicFile file(path);
  for (const std::span<const std::byte> part : parts) RETURN_IF_ERROR(file.Add(part));
  return file.Finish();
}

Status WriteFileAtomically(const std::string& path, std::string_view text) {
  const std::span<const std::byte> part = std::as_bytes(std::span(text.data(), text.size()));
  return WriteFileAtomically(path, std::span(&part, 1));
}

}  // namespace baleen
