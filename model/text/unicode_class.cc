#include "model/text/unicode_class.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>

namespace baleen {
namespace {

#include "model/text/unicode_tables.inc"

constexpr size_t kAsciiCount = 128;

constexpr std::array<UnicodeClass, kAsciiCount> MakeAsciiClasses() {
  std::array<UnicodeClass, kAsciiCount> classes{};
  size_t run = 0;
  for (uint32_t i = 0; i < kAsciiCount; ++i) {
    while (run + 1 < std::size(kUnicodeRuns) && kUnicodeRuns[run + 1] >> 3 <= i) ++run;
    classes[i] = static_cast<UnicodeClass>(kUnicodeRuns[run] & 7);
  }
  return classes;
}

constexpr std::array<UnicodeClass, kAsciiCount> kAsciiClasses = MakeAsciiClasses();

}  // namespace

UnicodeClass ClassOf(uint32_t code_point) {
  if (code_point < kAsciiCount) return kAsciiClasses[code_point];
  if (code_point > 0x10FFFF) return UnicodeClass::kOther;
  const uint32_t key = code_point << 3 | 7;
  const uint32_t* run = std::upper_bound(std::begin(kUnicodeRuns), std::end(kUnicodeRuns), key) - 1;
  return static_cast<UnicodeClass>(*run & 7);
}

}  // namespace baleen
