// RandomStream: seeded numbers that are the same on every machine.
//
// SplitMix64. Knows no distribution whose last bit depends on a C library.
#pragma once

#include <cstdint>
#include <string_view>

namespace baleen::training {

class RandomStream {
 public:
  explicit RandomStream(uint64_t seed) : state_(Mix(seed)) {}
  /// A stream of its own for each (seed, index).
  RandomStream(uint64_t seed, uint64_t index) : state_(Mix(Mix(seed) ^ Mix(index + kStep))) {}
  /// A stream of its own for each (seed, name).
  RandomStream(uint64_t seed, std::string_view name) : RandomStream(seed, HashOf(name)) {}

  uint64_t Next() {
    state_ += kStep;
    return Mix(state_);
  }
  /// In [0, bound). Requires: 0 < bound < 2^32, for which the bias is under 2^-32.
  int64_t Below(int64_t bound) {
    return static_cast<int64_t>((Next() >> 32) * static_cast<uint64_t>(bound) >> 32);
  }
  /// In [low, high].
  int64_t Between(int64_t low, int64_t high) { return low + Below(high - low + 1); }
  /// In [0, 1), with 24 bits.
  float Uniform() { return static_cast<float>(Next() >> 40) * 0x1p-24F; }
  /// Mean 0, deviation 1, at most 3.5 in magnitude: the sum of four uniform 16-bit integers.
  float Bell() {
    const uint64_t word = Next();
    const auto sum = static_cast<int64_t>((word & 0xFFFF) + (word >> 16 & 0xFFFF) +
                                          (word >> 32 & 0xFFFF) + (word >> 48));
    return static_cast<float>(sum - 2 * 65535) * (1.0F / 37837.0F);  // sqrt(4 * 2^32 / 12)
  }

 private:
  static constexpr uint64_t kStep = 0x9E3779B97F4A7C15ULL;

  static uint64_t Mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }
  static uint64_t HashOf(std::string_view name) {
    uint64_t hash = 0xCBF29CE484222325ULL;  // FNV-1a
    for (char letter : name) {
      hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001B3ULL;
    }
    return hash;
  }

  uint64_t state_;
};

}  // namespace baleen::training
