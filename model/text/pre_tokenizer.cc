#include "model/text/pre_tokenizer.h"

#include <cstdint>

#include "model/text/unicode_class.h"
#include "model/text/utf8.h"

namespace baleen {
namespace {

constexpr int kDigitsMax = 3;

struct Scanned {
  uint32_t code_point = 0;
  size_t end = 0;
  UnicodeClass kind = UnicodeClass::kOther;
};

Scanned Scan(std::string_view text, size_t offset) {
  const CodePoint point = DecodeUtf8(text, offset);
  // A broken byte can't come here by contract; should it, it is a piece of a gap, never a hang.
  if (point.bytes == 0) return {0, offset + 1, UnicodeClass::kOther};
  return {point.value, offset + point.bytes, ClassOf(point.value)};
}

/// The character class of step 2, literally: later ideographs and half-width kana aren't in it.
bool IsCjk(uint32_t c) { return (c >= 0x4E00 && c <= 0x9FA5) || (c >= 0x3040 && c <= 0x30FF); }

bool IsAsciiLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

bool IsAsciiPunctuation(uint32_t c) {
  return (c >= 0x21 && c <= 0x2F) || (c >= 0x3A && c <= 0x40) || (c >= 0x5B && c <= 0x60) ||
         (c >= 0x7B && c <= 0x7E);
}

bool IsNewline(uint32_t c) { return c == '\r' || c == '\n'; }
bool IsLetterOrMark(UnicodeClass kind) {
  return kind == UnicodeClass::kLetter || kind == UnicodeClass::kMark;
}
bool IsSign(UnicodeClass kind) {
  return kind == UnicodeClass::kPunctuation || kind == UnicodeClass::kSymbol;
}

}  // namespace

std::string_view PieceScanner::Next() {
  if (at_ >= text_.size()) return {};
  if (at_ == section_end_) FindSection();
  const size_t begin = at_;
  if (section_is_number_) {
    at_ = section_end_;
    return text_.substr(begin, at_ - begin);
  }
  at_ = MatchEnd(begin);
  if (at_ == begin) {
    // What no alternative matches is a gap, and neighbouring gaps are one piece.
    do {
      at_ = Scan(text_, at_).end;
    } while (at_ < section_end_ && MatchEnd(at_) == at_);
  }
  return text_.substr(begin, at_ - begin);
}

// Steps 1 and 2: up to three numbers, or a run of CJK, or everything up to the next of these.
void PieceScanner::FindSection() {
  const Scanned first = Scan(text_, at_);
  section_is_number_ = first.kind == UnicodeClass::kNumber;
  const bool cjk = IsCjk(first.code_point);
  section_end_ = first.end;
  for (int count = 1; section_end_ < text_.size(); ++count) {
    const Scanned next = Scan(text_, section_end_);
    const bool number = next.kind == UnicodeClass::kNumber;
    if (number != section_is_number_ || IsCjk(next.code_point) != cjk) return;
    if (number && count == kDigitsMax) return;
    section_end_ = next.end;
  }
}

size_t PieceScanner::LettersEnd(size_t begin) const {
  while (begin < section_end_) {
    const Scanned next = Scan(text_, begin);
    if (!IsLetterOrMark(next.kind)) break;
    begin = next.end;
  }
  return begin;
}

size_t PieceScanner::SpacesEnd(size_t begin) const {
  while (begin < section_end_) {
    const Scanned next = Scan(text_, begin);
    if (next.kind != UnicodeClass::kWhiteSpace) break;
    begin = next.end;
  }
  return begin;
}

// Step 3's alternatives in their order; `begin` itself if none matches.
size_t PieceScanner::MatchEnd(size_t begin) const {
  const Scanned first = Scan(text_, begin);
  const bool more = first.end < section_end_;

  if (IsAsciiPunctuation(first.code_point) && more && IsAsciiLetter(text_[first.end])) {
    size_t end = first.end;
    while (end < section_end_ && IsAsciiLetter(text_[end])) ++end;
    return end;
  }

  if (IsLetterOrMark(first.kind)) return LettersEnd(first.end);
  if (!IsNewline(first.code_point) && !IsSign(first.kind)) {
    const size_t end = LettersEnd(first.end);
    if (end != first.end) return end;
  }

  size_t end = begin;
  if (first.code_point == ' ' && more && IsSign(Scan(text_, first.end).kind)) end = first.end;
  if (end != begin || IsSign(first.kind)) {
    while (end < section_end_) {
      const Scanned next = Scan(text_, end);
      if (!IsSign(next.kind)) break;
      end = next.end;
    }
    while (end < section_end_ && IsNewline(static_cast<uint8_t>(text_[end]))) ++end;
    return end;
  }

  if (first.kind != UnicodeClass::kWhiteSpace) return begin;
  const size_t spaces_end = SpacesEnd(begin);
  size_t newline_end = begin;
  size_t last = begin;  // Start of the last space.
  for (size_t at = begin; at < spaces_end;) {
    const Scanned space = Scan(text_, at);
    if (IsNewline(space.code_point)) newline_end = space.end;
    last = at;
    at = space.end;
  }
  if (newline_end != begin) return newline_end;
  // Spaces before something else leave their last one to it, unless they are only one.
  return spaces_end == section_end_ || last == begin ? spaces_end : last;
}

}  // namespace baleen
