#include "model/text/utf8.h"

#include "tools_sdk/utf8.h"

namespace baleen {

CodePoint DecodeUtf8(std::string_view text, size_t offset) {
  const auto first = static_cast<uint8_t>(text[offset]);
  if (first < 0x80) return {first, 1};
  const Utf8Sequence sequence = FirstUtf8Sequence(text.substr(offset));
  if (!sequence.whole) return {};
  const int bytes = static_cast<int>(sequence.bytes);
  uint32_t value = first & (0x7FU >> bytes);
  for (int i = 1; i < bytes; ++i) {
    value = value << 6 | (static_cast<uint8_t>(text[offset + static_cast<size_t>(i)]) & 0x3FU);
  }
  return {value, bytes};
}

size_t AppendCompleteUtf8(std::string_view text, std::string* out) {
  size_t offset = 0;
  while (offset < text.size()) {
    const Utf8Sequence sequence = FirstUtf8Sequence(text.substr(offset));
    if (sequence.cut) return offset;
    out->append(sequence.whole ? text.substr(offset, sequence.bytes) : kReplacementCharacter);
    offset += sequence.bytes;
  }
  return offset;
}

}  // namespace baleen
