// OpenDirectory: an open folder whose names are read one by one; closed on scope exit.
#pragma once

#include <dirent.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

namespace baleen {

/// Threads: one at a time.
class OpenDirectory {
 public:
  /// Owns `folder`, a descriptor that can be read; negative: errno says why there is none.
  explicit OpenDirectory(int folder)
      : directory_(folder < 0 ? nullptr : fdopendir(folder)),
        error_(directory_ == nullptr ? errno : 0) {
    if (directory_ == nullptr && folder >= 0) close(folder);
  }
  ~OpenDirectory() {
    if (directory_ != nullptr) closedir(directory_);
  }
  OpenDirectory(const OpenDirectory&) = delete;
  OpenDirectory& operator=(const OpenDirectory&) = delete;

  bool is_open() const { return directory_ != nullptr; }
  /// The next name, in no order, without "." and ".."; null: that was all, or error() says why not.
  /// Borrows: this, until the next call.
  const char* Next() {
    while (directory_ != nullptr) {
      errno = 0;
      const dirent* const entry = readdir(directory_);
      if (entry == nullptr) {
        error_ = errno;
        return nullptr;
      }
      const std::string_view name = entry->d_name;
      if (name == "." || name == "..") continue;
      type_ = entry->d_type;
      return entry->d_name;
    }
    return nullptr;
  }
  /// DT_* of what Next named; DT_UNKNOWN: the file system doesn't say.
  unsigned char type() const { return type_; }
  /// errno of what failed; 0: nothing.
  int error() const { return error_; }
  /// Its descriptor. Borrows: this. Requires: is_open.
  int get() const { return dirfd(directory_); }

 private:
  DIR* const directory_;
  int error_;
  unsigned char type_ = DT_UNKNOWN;
};

}  // namespace baleen
