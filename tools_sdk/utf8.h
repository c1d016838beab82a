// UTF-8: where a text stops being valid, and how to make it valid.
//
// Everything a model, a journal or a script exchanges is UTF-8; this is the one place that checks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace baleen {

/// What is shown in place of bytes that are not UTF-8: U+FFFD.
inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

/// What a text begins with: a whole sequence, or the longest part of one (at least 1 byte).
struct Utf8Sequence {
  size_t bytes = 1;
  bool whole = false;
  bool cut = false;  ///< Not whole only because the text ends.
};
/// Requires: text is not empty.
Utf8Sequence FirstUtf8Sequence(std::string_view text);

/// Length in bytes of the longest valid UTF-8 prefix: no overlong forms, surrogates or values past
/// U+10FFFF. Equal to text.size() when all of it is valid.
size_t Utf8ValidPrefix(std::string_view text);

/// `text` with each byte that belongs to no valid sequence replaced by U+FFFD.
std::string ReplaceInvalidUtf8(std::string_view text);

/// The longest prefix of at most `bytes_max` bytes that does not cut a sequence of valid UTF-8.
std::string_view Utf8Prefix(std::string_view text, size_t bytes_max);

/// Writes one code point. Returns its length, 1 to 4. Requires: code_point <= 0x10FFFF.
size_t EncodeUtf8(uint32_t code_point, char out[4]);

}  // namespace baleen
