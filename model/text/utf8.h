// UTF-8 as the text model needs it: code point by code point, and in pieces that cut characters.
//
// Knows no Unicode properties (unicode_class.h); whole texts are checked and code points written by
// tools_sdk/utf8.h. Called by the tokenizer, the pre-tokenizer and the parser.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace baleen {

/// One decoded code point. `bytes` is 0 if the bytes aren't UTF-8 (overlong forms, surrogates and
/// values above U+10FFFF aren't).
struct CodePoint {
  uint32_t value = 0;
  int bytes = 0;
};

/// Requires: offset < text.size().
CodePoint DecodeUtf8(std::string_view text, size_t offset);

/// Appends `text` to `out`, each maximal broken subsequence as one kReplacementCharacter. An
/// incomplete but so far valid tail (at most 3 bytes) is left out; returns its offset, or
/// text.size().
size_t AppendCompleteUtf8(std::string_view text, std::string* out);

}  // namespace baleen
