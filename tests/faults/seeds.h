// Seeds of a random test: 1 to `count`, or the one of `--rng-seed N` on the command line.
#pragma once

#include <catch2/catch.hpp>
#include <cstdint>
#include <vector>

namespace baleen {

inline std::vector<uint64_t> Seeds(uint64_t count) {
  if (Catch::rngSeed() != 0) return {Catch::rngSeed()};
  std::vector<uint64_t> seeds;
  for (uint64_t seed = 1; seed <= count; ++seed) seeds.push_back(seed);
  return seeds;
}

}  // namespace baleen
