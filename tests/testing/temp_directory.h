// TempDirectory: a fresh folder per test, removed after. Set TMPDIR to choose where.
// MemoryDirectory: one in memory if there is such a place, for tests that make thousands of files
// and no promise about disks.
#pragma once

#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace baleen {

class TempDirectory {
 public:
  TempDirectory() : TempDirectory(std::filesystem::temp_directory_path()) {}
  explicit TempDirectory(const std::filesystem::path& parent) {
    std::string name = (parent / "baleen-XXXXXX").string();
    path_ = mkdtemp(name.data()) != nullptr ? name : "";
  }
  ~TempDirectory() {
    std::error_code ignored;  // a folder that stays behind in /tmp fails no test
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string File(std::string_view name) const { return path_ + "/" + std::string(name); }
  /// Makes the folders in `name`, too.
  void Write(std::string_view name, std::string_view text) const {
    const std::filesystem::path file = File(name);
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << text;
  }

 private:
  std::string path_;
};

class MemoryDirectory : public TempDirectory {
 public:
  MemoryDirectory() : TempDirectory(Place()) {}

 private:
  static std::filesystem::path Place() {
    const char* memory = "/dev/shm";
    return access(memory, W_OK) == 0 ? memory : std::filesystem::temp_directory_path();
  }
};

}  // namespace baleen
