#include "model/constraint/character_rules.h"

#include <algorithm>
#include <array>
#include <span>
#include <string_view>
#include <vector>

namespace baleen {
namespace {

// What the strict parser gives a meaning in running text (model/text/chat_parser.cc).
constexpr std::array<std::string_view, 5> kMarkers = {
    "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<think>", "</think>", "｜DSML｜"};

bool IsDigit(uint8_t byte) { return byte >= '0' && byte <= '9'; }

/// Where in a UTF-8 sequence a text is.
struct Utf8Position {
  uint32_t need = 0;  ///< Bytes still to come.
  uint8_t low = 0;    ///< Bounds of the next one.
  uint8_t high = 0;
};

/// false: the byte can't follow. No overlong forms, surrogates or values past U+10FFFF.
bool StepUtf8(uint8_t byte, Utf8Position* at) {
  if (at->need > 0) {
    if (byte < at->low || byte > at->high) return false;
    *at = {at->need - 1, 0x80, 0xBF};
    return true;
  }
  *at = {};
  if (byte < 0x80) return true;
  if (byte < 0xC2 || byte > 0xF4) return false;
  at->need = byte < 0xE0 ? 1 : byte < 0xF0 ? 2 : 3;
  at->low = byte == 0xE0 ? 0xA0 : byte == 0xF0 ? 0x90 : 0x80;
  at->high = byte == 0xED ? 0x9F : byte == 0xF4 ? 0x8F : 0xBF;
  return true;
}

/// Aho-Corasick over literals that must not appear, as one table.
class MarkerTable {
 public:
  static constexpr uint16_t kMarker = UINT16_MAX;

  explicit MarkerTable(std::span<const std::string_view> markers) {
    std::vector<bool> whole(1);
    rows_.emplace_back();
    for (const std::string_view marker : markers) {
      uint16_t at = 0;
      for (const char c : marker) {
        uint16_t& next = rows_[at][static_cast<uint8_t>(c)];
        if (next == 0) {
          next = static_cast<uint16_t>(rows_.size());
          const uint16_t made = next;
          rows_.emplace_back();
          whole.push_back(false);
          at = made;
        } else {
          at = next;
        }
      }
      whole[at] = true;
    }
    Link(whole);
  }

  uint16_t Next(uint64_t state, uint8_t byte) const { return rows_[state][byte]; }

 private:
  /// Breadth first: a missing edge goes where the longest proper suffix's edge goes.
  void Link(const std::vector<bool>& whole) {
    std::vector<uint16_t> suffix(rows_.size());
    std::vector<uint16_t> queue;
    for (const uint16_t child : rows_[0]) {
      if (child != 0) queue.push_back(child);
    }
    for (size_t i = 0; i < queue.size(); ++i) {
      const uint16_t at = queue[i];
      for (size_t byte = 0; byte < 256; ++byte) {
        uint16_t& next = rows_[at][byte];
        const uint16_t fallback = rows_[suffix[at]][byte];
        if (next == 0) {
          next = fallback;
        } else {
          suffix[next] = fallback;
          queue.push_back(next);
        }
      }
    }
    for (auto& row : rows_) {
      for (uint16_t& next : row) {
        if (next != 0 && whole[next]) next = kMarker;
      }
    }
  }

  std::vector<std::array<uint16_t, 256>> rows_;
};

/// All markers, or only the sentinel that every tag of the markup contains: the last of them.
const MarkerTable& Markers(bool all) {
  static const MarkerTable whole{std::span(kMarkers)};
  static const MarkerTable sentinel{std::span(kMarkers).last(1)};
  return all ? whole : sentinel;
}

// ---- Counted characters. a: characters still required, characters still allowed.
// -----------------

struct CharPosition {
  Utf8Position utf8;
  uint32_t escape = 0;   ///< 0: none; 1: after the backslash; 2..: see StepEscape.
  uint32_t marker = 0;   ///< State of the marker table.
  bool tracked = false;  ///< kKey: the text so far begins excluded[word].
  uint32_t word = 0;
  uint32_t length = 0;

  uint64_t Pack() const {
    return utf8.need | uint64_t{utf8.low} << 2 | uint64_t{utf8.high} << 10 |
           uint64_t{escape} << 18 | uint64_t{marker} << 22 | uint64_t{tracked} << 30 |
           uint64_t{word} << 31 | uint64_t{length} << 47;
  }
  static CharPosition Unpack(uint64_t b) {
    CharPosition at;
    at.utf8 = {static_cast<uint32_t>(b & 3), static_cast<uint8_t>(b >> 2),
               static_cast<uint8_t>(b >> 10)};
    at.escape = (b >> 18) & 15;
    at.marker = (b >> 22) & 0xFF;
    at.tracked = ((b >> 30) & 1) != 0;
    at.word = (b >> 31) & 0xFFFF;
    at.length = (b >> 47) & 0xFFFF;
    return at;
  }
};

/// \uXXXX without surrogates: 2 the first digit, 3 the second after a D, 4 to 6 the rest.
bool StepEscape(uint8_t byte, uint32_t* escape) {
  const bool hex = IsDigit(byte) || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F');
  switch (*escape) {
    case 1:
      if (byte == 'u') {
        *escape = 2;
        return true;
      }
      *escape = 0;
      return std::string_view("\"\\/bfnrt").find(static_cast<char>(byte)) != std::string_view::npos;
    case 2: *escape = byte == 'd' || byte == 'D' ? 3 : 4; return hex;
    case 3: *escape = 5; return byte >= '0' && byte <= '7';
    case 4: *escape = 5; return hex;
    case 5: *escape = 6; return hex;
    default: *escape = 0; return hex;
  }
}

/// The first of the excluded words, which are sorted, that goes on with `byte`.
void StepExcluded(const Rule& rule, uint8_t byte, CharPosition* at) {
  if (!at->tracked) return;
  const std::string_view prefix = std::string_view(rule.excluded[at->word]).substr(0, at->length);
  for (uint32_t i = at->word; i < rule.excluded.size(); ++i) {
    const std::string& word = rule.excluded[i];
    if (!word.starts_with(prefix)) break;
    if (word.size() <= at->length || static_cast<uint8_t>(word[at->length]) != byte) continue;
    at->word = i;
    at->length += 1;
    return;
  }
  at->tracked = false;
  at->word = at->length = 0;
}

bool IsExcluded(const Rule& rule, const CharPosition& at) {
  return at.tracked && at.length > 0 && rule.excluded[at.word].size() == at.length;
}

ProgressStep StepChars(const Rule& rule, Progress progress, uint8_t byte) {
  CharPosition at = CharPosition::Unpack(progress.b);
  at.marker = Markers(rule.unmarked).Next(at.marker, byte);
  if (at.marker == MarkerTable::kMarker) return {};
  if (at.escape != 0) {
    if (!StepEscape(byte, &at.escape)) return {};
  } else if (rule.charset != Rule::Charset::kRaw && at.utf8.need == 0 &&
             (byte == '"' || byte == '\\' || byte < 0x20)) {
    if (byte != '\\' || rule.charset == Rule::Charset::kKey) return {};
    at.escape = 1;
  } else if (!StepUtf8(byte, &at.utf8)) {
    return {};
  }
  if (rule.charset == Rule::Charset::kKey) StepExcluded(rule, byte, &at);
  if (at.escape != 0 || at.utf8.need > 0) return {Progress{progress.a, at.Pack()}, false};
  uint64_t required = progress.a >> 32;
  uint64_t allowed = progress.a & UINT32_MAX;
  if (required > 0) --required;
  if (allowed != UINT32_MAX) --allowed;
  ProgressStep step;
  if (allowed > 0) step.more = Progress{required << 32 | allowed, at.Pack()};
  step.done = required == 0 && !IsExcluded(rule, at);
  return step;
}

// ---- Integers. a: the digits so far, or digits still free; b: what a means, and the sign.
// --------

enum IntegerState : uint64_t { kStart = 0, kSigned = 1, kTight = 2, kTightNegative = 3, kFree = 4 };

struct Magnitudes {
  uint64_t low = 1;
  uint64_t high = 0;  ///< Below low: none.
};

Magnitudes MagnitudesOf(const Rule& rule, bool negative) {
  if (negative) {
    if (rule.low >= 0) return {};
    return {static_cast<uint64_t>(std::max<int64_t>(1, -rule.high)),
            static_cast<uint64_t>(-rule.low)};
  }
  if (rule.high < 0) return {};
  return {static_cast<uint64_t>(std::max<int64_t>(0, rule.low)), static_cast<uint64_t>(rule.high)};
}

/// What follows when the digits so far make `value` (no leading zero).
ProgressStep IntegerAfter(const Magnitudes& range, uint64_t value, bool negative) {
  ProgressStep step;
  step.done = value >= range.low && value <= range.high;
  if (value == 0) return step;
  // After k more digits the number lies in [low, high].
  bool all_fit = step.done;
  bool some_fit = false;
  uint64_t digits = 0;
  for (uint64_t low = value * 10, high = value * 10 + 9; low <= range.high;
       low *= 10, high = high * 10 + 9) {
    ++digits;
    some_fit = some_fit || high >= range.low;
    all_fit = all_fit && high <= range.high;
  }
  if (!some_fit) return step;
  // Where all digits may follow, only their number counts: fewer states.
  if (all_fit) {
    step.more = Progress{digits, kFree};
  } else {
    step.more = Progress{value, negative ? kTightNegative : kTight};
  }
  return step;
}

ProgressStep StepInteger(const Rule& rule, Progress at, uint8_t byte) {
  if (at.b == kStart && byte == '-') {
    const Magnitudes range = MagnitudesOf(rule, /*negative=*/true);
    if (range.low > range.high) return {};
    return {Progress{0, kSigned}, false};
  }
  if (!IsDigit(byte)) return {};
  const uint64_t digit = byte - uint64_t{'0'};
  if (at.b == kFree) {
    if (at.a == 1) return {std::nullopt, true};
    return {Progress{at.a - 1, kFree}, true};
  }
  const bool negative = at.b == kSigned || at.b == kTightNegative;
  const Magnitudes range = MagnitudesOf(rule, negative);
  if (range.low > range.high) return {};
  const bool first = at.b == kStart || at.b == kSigned;
  const uint64_t value = first ? digit : at.a * 10 + digit;
  return IntegerAfter(range, value, negative);
}

// ---- Numbers. a: the state; b: digits so far. Bounded, so that every reader holds them.
// ----------

enum NumberState : uint64_t {
  kNumberStart,
  kMinus,
  kZero,
  kWhole,
  kPoint,
  kFraction,
  kExponentMark,
  kExponentSign,
  kExponent,
};
constexpr uint64_t kDigitsMax = 17;         // What a double can tell apart.
constexpr uint64_t kExponentDigitsMax = 2;  // 10^99 with 17 digits before it is still finite.

ProgressStep Digit(uint64_t state, uint64_t digits, uint64_t digits_max) {
  // At the bound another state may still follow: a point or an exponent.
  return {Progress{state, std::min(digits, digits_max)}, true};
}

ProgressStep StepNumber(Progress at, uint8_t byte) {
  const bool digit = IsDigit(byte);
  switch (at.a) {
    case kNumberStart:
      if (byte == '-') return {Progress{kMinus, 0}, false};
      [[fallthrough]];
    case kMinus:
      if (!digit) return {};
      if (byte == '0') return {Progress{kZero, 0}, true};
      return Digit(kWhole, 1, kDigitsMax);
    case kWhole:
      if (digit && at.b < kDigitsMax) return Digit(kWhole, at.b + 1, kDigitsMax);
      [[fallthrough]];
    case kZero:
      if (byte == '.') return {Progress{kPoint, 0}, false};
      break;
    case kPoint:
      if (digit) return Digit(kFraction, 1, kDigitsMax);
      return {};
    case kFraction:
      if (digit && at.b < kDigitsMax) return Digit(kFraction, at.b + 1, kDigitsMax);
      break;
    case kExponentMark:
      if (byte == '+' || byte == '-') return {Progress{kExponentSign, 0}, false};
      [[fallthrough]];
    case kExponentSign:
      if (digit) return {Progress{kExponent, 1}, true};
      return {};
    case kExponent:
      if (!digit || at.b + 1 > kExponentDigitsMax) return {};
      return {at.b + 1 < kExponentDigitsMax ? std::optional(Progress{kExponent, at.b + 1})
                                            : std::nullopt,
              true};
    default: return {};
  }
  if (byte == 'e' || byte == 'E') return {Progress{kExponentMark, 0}, false};
  return {};
}

// ---- Running text. a: state of the marker matcher; b: UTF-8.
// -------------------------------------

ProgressStep StepText(Progress at, uint8_t byte) {
  Utf8Position utf8{static_cast<uint32_t>(at.b & 3), static_cast<uint8_t>(at.b >> 2),
                    static_cast<uint8_t>(at.b >> 10)};
  if (!StepUtf8(byte, &utf8)) return {};
  const uint16_t next = Markers(/*all=*/true).Next(at.a, byte);
  if (next == MarkerTable::kMarker) return {};
  return {Progress{next, utf8.need | uint64_t{utf8.low} << 2 | uint64_t{utf8.high} << 10},
          utf8.need == 0};
}

}  // namespace

Progress BeginProgress(const Rule& rule) {
  if (rule.kind != Rule::Kind::kChars) return {};
  CharPosition at;
  at.tracked = !rule.excluded.empty();
  return {uint64_t{rule.min} << 32 | rule.max, at.Pack()};
}

bool MayBeEmpty(const Rule& rule) {
  return rule.kind == Rule::Kind::kText || (rule.kind == Rule::Kind::kChars && rule.min == 0);
}

ProgressStep StepProgress(const Rule& rule, Progress at, uint8_t byte) {
  switch (rule.kind) {
    case Rule::Kind::kChars: return StepChars(rule, at, byte);
    case Rule::Kind::kInteger: return StepInteger(rule, at, byte);
    case Rule::Kind::kNumber: return StepNumber(at, byte);
    case Rule::Kind::kText: return StepText(at, byte);
    default: return {};
  }
}

Progress Clamp(const Rule& rule, Progress at, uint32_t bytes) {
  if (rule.kind != Rule::Kind::kChars) return at;
  // One more than the bytes: so that the last of them doesn't seem to exhaust the count.
  const uint64_t limit = uint64_t{bytes} + 1;
  const uint64_t allowed = at.a & UINT32_MAX;
  at.a = std::min(at.a >> 32, limit) << 32 |
         (allowed == UINT32_MAX || allowed > limit ? UINT32_MAX : allowed);
  return at;
}

}  // namespace baleen
