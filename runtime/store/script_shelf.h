// ScriptShelf: the scripts that a data directory keeps under names, a file each.
//
// They are Lua text, so that an editor or `cp` can look at them; what is found there is checked by
// whoever runs it. Called by the runtime on its callers' threads.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "tools_sdk/status.h"

namespace baleen {

inline constexpr int64_t kShelvedScriptsMax = 1000;
inline constexpr int64_t kScriptBytesMax = 256 << 10;

struct ScriptRecord {
  std::string name;
  std::string source;  ///< Left out of lists.
  int64_t bytes = 0;
  int64_t changed_ms = 0;  ///< Unix milliseconds.
};

/// Threads: any.
class ScriptShelf {
 public:
  /// `folder` is made when the first script is put.
  explicit ScriptShelf(std::string folder) : folder_(std::move(folder)) {}

  /// Takes the place of what had the name; on disk when this returns.
  /// Errors: INVALID_ARGUMENT/BAD_FIELD (name, size), RESOURCE_EXHAUSTED/QUOTA (too many),
  /// UNAVAILABLE (the disk).
  Result<ScriptRecord> Put(const std::string& script, std::string_view source);
  /// Errors: NOT_FOUND/SCRIPT_UNKNOWN, INVALID_ARGUMENT/BAD_FIELD; DATA_LOSS: a file that is none.
  Result<ScriptRecord> Get(const std::string& script) const;
  /// By name, behind `after` ("": from the first), without their sources.
  Result<std::vector<ScriptRecord>> List(int64_t scripts_max, const std::string& after) const;
  /// Errors: as Get.
  Status Delete(const std::string& script);
  /// Puts all of them on the shelf of another data directory.
  Status CopyTo(const std::string& folder) const;

 private:
  std::string PathOf(const std::string& script) const { return folder_ + "/" + script + ".lua"; }
  std::vector<std::string> Names() const;

  const std::string folder_;
  mutable std::mutex mutex_;  ///< Of those that change something.
};

}  // namespace baleen
