// FileDescriptor: an open file that is closed on scope exit.
#pragma once

#include <unistd.h>

#include <utility>

namespace baleen {

class FileDescriptor {
 public:
  /// Owns `fd`; negative: none.
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;

  int get() const { return fd_; }
  /// The outcome of close(2) tells of writes that failed late.
  int Close() { return close(Release()); }
  /// Gives the file to the caller.
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

}  // namespace baleen
