#include "model/training/corpus/split.h"

#include <cstdint>

namespace baleen::training {

const char* SplitName(Split split) {
  switch (split) {
    case Split::kTrain: return "train";
    case Split::kValidation: return "validation";
    case Split::kEvaluation: return "evaluation";
  }
  return "train";
}

Split SplitOf(std::string_view text) {
  uint64_t hash = 0xCBF29CE484222325ULL;  // FNV-1a, then one round of mixing for the top bits.
  for (const char c : text) {
    const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    hash = (hash ^ static_cast<unsigned char>(lower)) * 0x100000001B3ULL;
  }
  hash ^= hash >> 32;
  hash *= 0x9E3779B97F4A7C15ULL;
  const uint64_t part = hash >> 60;
  if (part == 0) return Split::kValidation;
  return part <= 2 ? Split::kEvaluation : Split::kTrain;
}

}  // namespace baleen::training
