// Patches: a unified diff as values, and what a text becomes by one.
//
// Reads git's form and that of `diff -u`; knows nothing of files. A path that comes out of it is
// plain, and has yet to be opened by somebody who confines it. Called by those that apply diffs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools_sdk/status.h"

namespace baleen {

/// Borrows: the diff, as all that is made of it.
struct PatchLine {
  char mark = ' ';        ///< ' ', '-' or '+'.
  std::string_view text;  ///< Without its newline.
  bool ends = true;       ///< With a newline.
};

struct PatchHunk {
  int64_t line = 0;       ///< Of the diff, from 1: where it is.
  int64_t old_begin = 0;  ///< Lines before it, of the text as it was.
  int64_t old_count = 0;
  int64_t new_begin = 0;
  int64_t new_count = 0;
  std::vector<PatchLine> lines;
};

/// What a diff says of one file.
struct FilePatch {
  enum class Kind { kChange, kCreate, kDelete };
  Kind kind = Kind::kChange;
  std::string path;
  /// Whether it can be executed afterwards; unset: the diff doesn't say. A file that stays has it
  /// only where the diff changes that.
  std::optional<bool> executable;
  std::string before_digest;  ///< ContentDigest; empty: the diff doesn't say.
  std::string after_digest;
  std::vector<PatchHunk> hunks;
};

/// Errors: INVALID_ARGUMENT naming the line (no diff, counts that don't add up, a file twice, a
/// path with "." or "..", binary content, links, renames and copies); RESOURCE_EXHAUSTED (more than
/// kDiffBytesMax).
Result<std::vector<FilePatch>> ParsePatch(std::string_view diff);
Result<std::vector<FilePatch>> ParsePatch(std::string&& diff) = delete;  // it would be gone

enum class PatchDirection { kForward, kReverse };

/// What `content` becomes. Each hunk is looked for at its own lines and nowhere else.
/// Errors: ABORTED naming the first line that is another than the hunk says.
Result<std::string> Patched(std::string_view content, const FilePatch& patch,
                            PatchDirection direction = PatchDirection::kForward);

/// Of a diff that is made or applied: it has to fit into an event, and into a script's memory.
inline constexpr int64_t kDiffBytesMax = 1 << 20;

}  // namespace baleen
