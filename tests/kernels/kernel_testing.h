// Shared by the kernel tests: the backends under test, seeded inputs, and comparison with a bound.
#pragma once

#include <catch2/catch.hpp>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "kernels/cpu/cpu_backend.h"

namespace baleen::kernels::testing {

/// Half the distance between 1 and the next fp32: the largest relative error of one rounding.
inline constexpr double kUnit = 0x1p-24;

/// Uniform values from a fixed seed; the same on every machine.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15u + 1) {}
  uint64_t Bits() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_ * 0x2545F4914F6CDD1Du;
  }
  int64_t Below(int64_t n) {
    return static_cast<int64_t>((Bits() >> 33) % static_cast<uint64_t>(n));
  }
  float Uniform(float low, float high) {
    return low + (high - low) * static_cast<float>(static_cast<double>(Bits() >> 11) * 0x1p-53);
  }
  std::vector<float> Floats(int64_t n, float low = -1, float high = 1) {
    std::vector<float> values(static_cast<size_t>(n));
    for (float& v : values) v = Uniform(low, high);
    return values;
  }
  /// Multiples of 1/8 in [-2, 2]: sums of their products are exact in fp32 for short vectors.
  std::vector<float> Lattice(int64_t n) {
    std::vector<float> values(static_cast<size_t>(n));
    for (float& v : values) v = static_cast<float>(Below(33) - 16) / 8.0f;
    return values;
  }

 private:
  uint64_t state_;
};

inline MatrixSource Fp32Source(const std::vector<float>& values, int64_t rows, int64_t cols) {
  return {.dtype = DType::kF32,
          .values = reinterpret_cast<const std::byte*>(values.data()),
          .rows = rows,
          .cols = cols};
}

/// Every instruction set of this machine with `threads` threads, all loops shared.
inline std::vector<std::unique_ptr<Backend>> CpuBackends(int threads) {
  std::vector<std::unique_ptr<Backend>> backends;
  for (InstructionSet set :
       {InstructionSet::kPortable, InstructionSet::kAvx2, InstructionSet::kAvx512}) {
    if (auto backend = MakeCpuBackend(set, threads, 0)) backends.push_back(std::move(backend));
  }
  return backends;
}

inline std::string NameOf(const Backend& backend) {
  return std::string(backend.name()) + "/" + std::string(backend.instruction_set()) + "/" +
         std::to_string(backend.threads()) + " threads";
}

/// Empty if |actual - expected| <= bound everywhere, else a message with the worst index.
inline std::string Difference(const std::vector<float>& actual, const std::vector<float>& expected,
                              const std::vector<double>& bound) {
  if (actual.size() != expected.size() || bound.size() != expected.size()) return "sizes differ";
  double worst = 1;
  size_t at = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double error = std::fabs(static_cast<double>(actual[i]) - expected[i]);
    const double ratio = error == 0 ? 0
                                    : (std::isnan(error) ? std::numeric_limits<double>::infinity()
                                                         : error / bound[i]);
    if (ratio > worst) {
      worst = ratio;
      at = i;
    }
  }
  if (worst <= 1) return "";
  char text[200];
  std::snprintf(text, sizeof(text), "worst index %zu of %zu: got %.9g, expected %.9g, bound %.3g",
                at, actual.size(), static_cast<double>(actual[at]),
                static_cast<double>(expected[at]), bound[at]);
  return text;
}

/// Empty if the bits are equal, else a message with the first index.
inline std::string BitDifference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return "sizes differ";
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::memcmp(&a[i], &b[i], sizeof(float)) == 0) continue;
    char text[160];
    std::snprintf(text, sizeof(text), "first index %zu of %zu: %.9g and %.9g", i, a.size(),
                  static_cast<double>(a[i]), static_cast<double>(b[i]));
    return text;
  }
  return "";
}

}  // namespace baleen::kernels::testing
