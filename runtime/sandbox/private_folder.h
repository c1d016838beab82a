// A folder that one process has to itself, gone with the object.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <string>
#include <system_error>

namespace baleen {

class PrivateFolder {
 public:
  /// An empty path(): it can't be made.
  PrivateFolder() {
    std::error_code none;
    path_ = std::filesystem::temp_directory_path(none) / "baleen-private-XXXXXX";
    if (none || mkdtemp(path_.data()) == nullptr) path_.clear();
  }
  ~PrivateFolder() {
    std::error_code ignored;  // a folder that stays behind in /tmp harms nobody
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  PrivateFolder(const PrivateFolder&) = delete;
  PrivateFolder& operator=(const PrivateFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace baleen
