#include "model/text/utf8.h"

#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

/// What a lead byte promises. The second byte's range excludes overlong forms and surrogates.
struct Lead {
  int bytes = 0;  ///< 0: not a lead byte.
  uint8_t second_min = 0x80;
  uint8_t second_max = 0xBF;
};

Lead ReadLead(uint8_t byte) {
  if (byte < 0x80) return {1};
  if (byte < 0xC2) return {0};
  if (byte < 0xE0) return {2};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0};
}

/// How many bytes from `offset` on are a prefix of some valid sequence (at least 1), and whether
/// they are a whole one.
struct Prefix {
  int bytes = 1;
  bool whole = false;
  bool at_end = false;  ///< Stopped because the text ended.
};

Prefix ReadPrefix(std::string_view text, size_t offset) {
  const Lead lead = ReadLead(static_cast<uint8_t>(text[offset]));
  if (lead.bytes == 0) return {};
  int count = 1;
  for (; count < lead.bytes; ++count) {
    if (offset + count >= text.size()) return {count, false, true};
    const auto byte = static_cast<uint8_t>(text[offset + count]);
    const uint8_t low = count == 1 ? lead.second_min : 0x80;
    const uint8_t high = count == 1 ? lead.second_max : 0xBF;
    if (byte < low || byte > high) return {count, false, false};
  }
  return {count, true, false};
}

}  // namespace

CodePoint DecodeUtf8(std::string_view text, size_t offset) {
  const auto first = static_cast<uint8_t>(text[offset]);
  if (first < 0x80) return {first, 1};
  const Prefix prefix = ReadPrefix(text, offset);
  if (!prefix.whole) return {};
  uint32_t value = first & (0x7FU >> prefix.bytes);
  for (int i = 1; i < prefix.bytes; ++i) {
    value = value << 6 | (static_cast<uint8_t>(text[offset + i]) & 0x3FU);
  }
  return {value, prefix.bytes};
}

std::optional<size_t> FindInvalidUtf8(std::string_view text) {
  const size_t valid = Utf8ValidPrefix(text);
  if (valid == text.size()) return std::nullopt;
  return valid;
}

void AppendUtf8(uint32_t code_point, std::string* out) {
  char bytes[4];
  out->append(bytes, EncodeUtf8(code_point, bytes));
}

size_t AppendCompleteUtf8(std::string_view text, std::string* out) {
  size_t offset = 0;
  while (offset < text.size()) {
    const Prefix prefix = ReadPrefix(text, offset);
    if (prefix.at_end) return offset;
    if (prefix.whole) {
      out->append(text.substr(offset, prefix.bytes));
    } else {
      out->append(kReplacementCharacter);
    }
    offset += prefix.bytes;
  }
  return offset;
}

}  // namespace baleen
