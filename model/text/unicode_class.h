// The character classes that the pre-tokenizer's patterns ask for.
//
// From a generated table (generate_unicode_tables.py); no other property is kept.
#pragma once

#include <cstdint>

namespace baleen {

/// General category by its first letter, except that White_Space is a class of its own (all of its
/// members are Z or Cc). The table's numbers; don't renumber without regenerating it.
enum class UnicodeClass : uint8_t {
  kOther = 0,
  kLetter = 1,
  kMark = 2,
  kNumber = 3,
  kPunctuation = 4,
  kSymbol = 5,
  kWhiteSpace = 6,
};

/// kOther for values above U+10FFFF. Cost: a table access below U+0080, else a binary search.
UnicodeClass ClassOf(uint32_t code_point);

}  // namespace baleen
