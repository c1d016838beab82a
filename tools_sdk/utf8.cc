#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

// What a lead byte promises. The second byte's range excludes overlong forms and surrogates.
// Source: RFC 3629, section 4.
struct Lead {
  size_t bytes = 0;  // 0: not a lead byte.
  unsigned char second_min = 0x80;
  unsigned char second_max = 0xBF;
};

Lead ReadLead(unsigned char byte) {
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

}  // namespace

Utf8Sequence FirstUtf8Sequence(std::string_view text) {
  const Lead lead = ReadLead(static_cast<unsigned char>(text[0]));
  if (lead.bytes == 0) return {};
  size_t count = 1;
  for (; count < lead.bytes; ++count) {
    if (count == text.size()) return {.bytes = count, .whole = false, .cut = true};
    const auto byte = static_cast<unsigned char>(text[count]);
    const unsigned char low = count == 1 ? lead.second_min : 0x80;
    const unsigned char high = count == 1 ? lead.second_max : 0xBF;
    if (byte < low || byte > high) return {.bytes = count, .whole = false, .cut = false};
  }
  return {.bytes = count, .whole = true, .cut = false};
}

size_t Utf8ValidPrefix(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const Utf8Sequence sequence = FirstUtf8Sequence(text.substr(at));
    if (!sequence.whole) break;
    at += sequence.bytes;
  }
  return at;
}

std::string ReplaceInvalidUtf8(std::string_view text) {
  std::string out;
  while (true) {
    const size_t valid = Utf8ValidPrefix(text);
    out.append(text.substr(0, valid));
    if (valid == text.size()) return out;
    out.append(kReplacementCharacter);
    text.remove_prefix(valid + 1);
  }
}

std::string_view Utf8Prefix(std::string_view text, size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  size_t end = bytes_max;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end);
}

size_t EncodeUtf8(uint32_t code_point, char out[4]) {
  if (code_point < 0x80) {
    out[0] = static_cast<char>(code_point);
    return 1;
  }
  const size_t length = code_point < 0x800 ? 2 : code_point < 0x10000 ? 3 : 4;
  for (size_t i = length - 1; i > 0; --i) {
    out[i] = static_cast<char>(0x80 | (code_point & 0x3F));
    code_point >>= 6;
  }
  constexpr unsigned kLead[] = {0, 0, 0xC0, 0xE0, 0xF0};
  out[0] = static_cast<char>(kLead[length] | code_point);
  return length;
}

}  // namespace baleen
