#include "runtime/workspace/secret_walk.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <optional>
#include <string_view>
#include <utility>

#include "runtime/workspace/beneath.h"
#include "tools_sdk/file_descriptor.h"
#include "tools_sdk/open_directory.h"
#include "tools_sdk/special_files.h"

namespace baleen {
namespace {

constexpr std::string_view kPassedOver[] = {".git", "node_modules", ".venv",  "venv",
                                            ".tox", "__pycache__",  ".cache", ".gradle"};

class SecretWalk {
 public:
  SecretWalk(int root, std::span<const std::string> readable) : root_(root), readable_(readable) {}

  SecretPlaces Run() {
    folders_.push_back({"", 1, false});
    while (!folders_.empty() && !stopped_) {
      const Folder folder = std::move(folders_.front());
      folders_.pop_front();
      Enter(folder);
    }
    for (auto* paths : {&found_.files, &found_.folders}) {
      std::sort(paths->begin(), paths->end());
      paths->erase(std::unique(paths->begin(), paths->end()), paths->end());
    }
    return std::move(found_);
  }

 private:
  struct Folder {
    std::string prefix;  ///< "", or its path and '/'.
    int level;
    bool is_secret;  ///< By its own name or one above, but some of it is opened.
  };

  void Enter(const Folder& folder) {
    const std::string path = folder.prefix.empty() ? "." : folder.prefix;
    OpenDirectory names(
        OpenBelow(root_, path.c_str(), O_RDONLY | O_DIRECTORY, 0, RESOLVE_NO_SYMLINKS));
    while (const char* const name = names.Next()) {
      if (++entries_ > kSecretWalkEntriesMax ||
          found_.files.size() + found_.folders.size() >= kSecretPlacesMax) {
        stopped_ = true;
        return;
      }
      unsigned char type = names.type();
      if (type == DT_UNKNOWN) type = TypeOf(names.get(), name);
      if (type == DT_DIR) {
        MeetFolder(folder, name);
      } else if (folder.is_secret || !SecretOf(name, {}).empty()) {  // most names are neither
        MeetSecret(folder.prefix + name, type);
      }
    }
  }

  static unsigned char TypeOf(int folder, const char* name) {
    struct stat status = {};
    if (fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) != 0) return DT_UNKNOWN;
    return static_cast<unsigned char>(IFTODT(status.st_mode));
  }

  void MeetFolder(const Folder& folder, std::string_view name) {
    if (std::find(std::begin(kPassedOver), std::end(kPassedOver), name) != std::end(kPassedOver)) {
      return;
    }
    const bool is_secret = folder.is_secret || !SecretOf(std::string(name) + "/*", {}).empty();
    std::string path = folder.prefix + std::string(name);
    if (is_secret && IsSecretFolder(path, readable_)) {
      found_.folders.push_back(std::move(path));
    } else if (folder.level < kSecretLevels) {
      folders_.push_back({path + "/", folder.level + 1, is_secret});
    }
  }

  void MeetSecret(const std::string& path, unsigned char type) {
    if (SecretOf(path, readable_).empty()) return;
    if (type == DT_REG) found_.files.push_back(path);
    if (type != DT_LNK) return;
    const FileDescriptor target(OpenBelow(root_, path.c_str(), O_PATH, 0, 0));
    struct stat status = {};
    if (target.get() < 0 || fstat(target.get(), &status) != 0 || !S_ISREG(status.st_mode)) return;
    if (auto place = PlaceBelow(root_, target.get())) found_.files.push_back(*std::move(place));
  }

  const int root_;
  const std::span<const std::string> readable_;
  std::deque<Folder> folders_;
  SecretPlaces found_;
  int64_t entries_ = 0;
  bool stopped_ = false;
};

}  // namespace

SecretPlaces FindSecrets(const std::string& workspace, std::span<const std::string> readable) {
  const FileDescriptor root(open(workspace.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (root.get() < 0) return {};
  return SecretWalk(root.get(), readable).Run();
}

}  // namespace baleen
