// Unified diffs: what a parser takes can be undone, and what the writer writes is read as it was
// meant.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "tools_sdk/builtin/patch.h"
#include "tools_sdk/builtin/unified_diff.h"

namespace baleen {
namespace {

void Check(bool holds) {
  if (!holds) std::abort();
}

/// What a patch makes of a text, taken back, is the text.
void CheckUndo(std::string_view diff, std::string_view content) {
  const auto files = ParsePatch(diff);
  if (!files.ok()) return;
  for (const FilePatch& file : *files) {
    const auto made = Patched(content, file);
    if (!made.ok()) continue;
    const auto undone = Patched(*made, file, PatchDirection::kReverse);
    Check(undone.ok() && *undone == content);
  }
}

/// The diff of two texts makes one of the other.
void CheckDiff(std::string_view before, std::string_view after) {
  const std::string diff =
      FileDiff("a b/c", DiffSide{std::string(before)}, DiffSide{std::string(after)});
  Check(diff.empty() == (before == after));
  if (diff.empty() || !IsDiffText(before) || !IsDiffText(after)) return;
  const auto files = ParsePatch(diff);
  Check(files.ok() && files->size() == 1 && files->front().path == "a b/c");
  const auto made = Patched(before, files->front());
  Check(made.ok() && *made == after);
}

}  // namespace
}  // namespace baleen

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(bytes), size);
  const size_t cut = std::min(input.find('\xff'), input.size());
  const std::string_view rest = input.substr(std::min(cut + 1, input.size()));
  baleen::CheckUndo(input.substr(0, cut), rest);
  baleen::CheckUndo("--- a/x\n+++ b/x\n" + std::string(input.substr(0, cut)), rest);
  baleen::CheckDiff(input.substr(0, cut), rest);
  return 0;
}
