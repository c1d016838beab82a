// Where a text is in another, and if it isn't there: what comes nearest, and how that differs.
//
// Pure functions over strings, called by the edit tool.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace baleen {

/// Offsets of `wanted` in `text`, overlapping ones too, at most `places_max`.
/// Requires: wanted isn't empty.
std::vector<size_t> FindAll(std::string_view text, std::string_view wanted, size_t places_max);

/// The line, from 1, that holds the byte at `offset`.
size_t LineAt(std::string_view text, size_t offset);

/// Each "\n" that no '\r' precedes as "\r\n".
std::string WithCarriageReturns(std::string_view text);

/// Why `wanted` isn't in `text`: places that differ only in line ends, tabs, blanks or case, with
/// how they differ; else the lines that come nearest. A few lines of text.
/// Cost: O(text + lines of it x length of a line), bounded.
std::string ExplainMissing(std::string_view text, std::string_view wanted);

}  // namespace baleen
