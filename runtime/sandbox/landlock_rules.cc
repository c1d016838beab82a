#include "runtime/sandbox/landlock_rules.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <system_error>

#include "tools_sdk/file_descriptor.h"

namespace baleen {
namespace {

// Debian 12's header knows version 2; the kernel may know more.
constexpr uint64_t kTruncate = 1ULL << 14;
constexpr uint64_t kIoctlDevice = 1ULL << 15;
constexpr uint64_t kAllFiles = (1ULL << 16) - 1;
constexpr uint64_t kRead =
    LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
/// No devices, and no ioctl of them.
constexpr uint64_t kWrite =
    kAllFiles & ~(LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK | kIoctlDevice);
constexpr uint64_t kOfFiles = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE |
                              LANDLOCK_ACCESS_FS_READ_FILE | kTruncate;
constexpr uint64_t kTcpBind = 1, kTcpConnect = 2;
constexpr uint64_t kScopeAbstractSockets = 1, kScopeSignals = 2;

/// struct landlock_ruleset_attr of version 6.
struct RulesetAttributes {
  uint64_t handled_files, handled_network, scoped;
};

Status Failed(const std::string& what) {
  return UnavailableError("Landlock: " + what + ": " + std::generic_category().message(errno));
}

Status Allow(int rules, const std::string& path, uint64_t access) {
  const FileDescriptor place(open(path.c_str(), O_PATH | O_CLOEXEC));
  if (place.get() < 0) return OkStatus();
  struct stat status = {};
  if (fstat(place.get(), &status) != 0) return Failed(path);
  landlock_path_beneath_attr rule = {};
  rule.allowed_access = S_ISDIR(status.st_mode) ? access : access & kOfFiles;
  rule.parent_fd = place.get();
  if (syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0) {
    return Failed(path);
  }
  return OkStatus();
}

}  // namespace

int LandlockVersion() {
  return static_cast<int>(std::max(
      0L, syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION)));
}

Result<int> MakeLandlockRules(const LandlockPaths& paths) {
  const RulesetAttributes attributes = {kAllFiles, kTcpBind | kTcpConnect,
                                        kScopeAbstractSockets | kScopeSignals};
  FileDescriptor rules(
      static_cast<int>(syscall(SYS_landlock_create_ruleset, &attributes, sizeof(attributes), 0)));
  if (rules.get() < 0) return Failed("a ruleset");
  for (const std::string& path : paths.read_only) RETURN_IF_ERROR(Allow(rules.get(), path, kRead));
  for (const std::string& path : paths.read_write) {
    RETURN_IF_ERROR(Allow(rules.get(), path, kWrite));
  }
  return rules.Release();
}

}  // namespace baleen
