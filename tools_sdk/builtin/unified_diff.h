// Unified diffs: of two texts, and of what two files hold, in git's form.
//
// Pure functions of bytes. What is no text (a NUL, or no UTF-8) is named, not shown. Called by
// TreeDiff; patch.h reads what is written here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace baleen {

/// A text's lines with their newlines; the last one may have none.
/// Borrows: the text.
std::vector<std::string_view> SplitLines(std::string_view text);

/// Whether the bytes can be shown in a diff.
bool IsDiffText(std::string_view content);

/// The hunks that turn `before` into `after`, three lines of context around each; empty: they are
/// equal. Exact whatever they hold; the fewest changed lines up to kEditsMax of them, beyond that
/// all lines between the first and the last that differ.
/// Cost: O((lines + edits) x edits), 4 x kEditsMax^2 bytes at most.
/// Source: Myers, "An O(ND) Difference Algorithm and Its Variations", greedy form.
std::string UnifiedHunks(std::string_view before, std::string_view after);

inline constexpr int64_t kEditsMax = 2000;

/// What lies under a path on one side of a diff.
struct DiffSide {
  std::string content;  ///< Of a link: where it leads.
  bool is_link = false;
  bool executable = false;
  /// Of a file that is too large to be looked at: `content` is its digest, and it is named only.
  bool too_large = false;

  bool operator==(const DiffSide&) const = default;
};

/// One file's part of a diff; empty: the sides are equal. Unset: nothing is there. The index line
/// holds ContentDigest of the sides.
std::string FileDiff(const std::string& path, const std::optional<DiffSide>& before,
                     const std::optional<DiffSide>& after);

/// XXH3-128 as 32 hexadecimal digits: tells contents apart; no defence against forgers.
std::string ContentDigest(std::string_view content);
/// Of the two halves of such a hash.
std::string DigestText(uint64_t high, uint64_t low);
/// What the index line has for a side that isn't there.
inline constexpr std::string_view kNoContent = "00000000000000000000000000000000";

/// As git quotes names: in quotes with escapes if it has control characters, quotes, backslashes or
/// bytes that are no ASCII, else as it is.
std::string QuotedName(std::string_view name);

}  // namespace baleen
