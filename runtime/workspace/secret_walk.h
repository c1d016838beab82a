// The secret files of a workspace (tools_sdk/special_files.h), found by a bounded walk.
//
// For whoever hides them where nobody asks by name: the sandbox's mounts. Through no link, so that
// a tree that changes meanwhile leads nowhere else.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace baleen {

/// Paths below the workspace, in bytewise order.
struct SecretPlaces {
  std::vector<std::string> files;    ///< Also what a link with a secret name leads to.
  std::vector<std::string> folders;  ///< Whose content is secret, all of it.
};

inline constexpr int kSecretLevels = 6;  ///< Of folders, the workspace's own the first.
inline constexpr int64_t kSecretWalkEntriesMax = 20'000;
inline constexpr size_t kSecretPlacesMax = 64;

/// `readable`: as of SecretOf. Folders that hold others' packages or caches are passed over:
/// node_modules, .venv, .git and such. What can't be read is passed over, too. Level by level:
/// where a bound is reached, what lies deepest is missing. Cost: a look at each name, below 10 ms
/// for the most that is walked.
SecretPlaces FindSecrets(const std::string& workspace, std::span<const std::string> readable);

}  // namespace baleen
