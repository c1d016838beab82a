// One list of op calls over odd sizes, run by every property of conformance_test.cc.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "kernels/backend.h"

namespace baleen::kernels::testing {

/// An op with fixed inputs for `tokens` independent rows.
struct OpCase {
  std::string name;
  int64_t tokens;
  /// Everything the op writes for tokens [begin, end), token after token.
  std::function<std::vector<float>(Backend& backend, int64_t begin, int64_t end)> run;
  /// Largest allowed distance of each output from the oracle's, given the oracle's.
  std::function<std::vector<double>(const std::vector<float>& expected)> bound;
};

std::vector<OpCase> LinearCases();
std::vector<OpCase> RowOpCases();      ///< norm, rope, mHC, pooling, swiglu, route.
std::vector<OpCase> StoredRowCases();  ///< entries, index keys and queries.
std::vector<OpCase> AttentionCases();  ///< index top-k and sparse attention.

/// Bound proportional to the magnitude of each output.
inline std::function<std::vector<double>(const std::vector<float>&)> Relative(double factor) {
  return [factor](const std::vector<float>& expected) {
    std::vector<double> bound;
    for (float v : expected) bound.push_back(factor * (v < 0 ? -v : v) + 1e-38);
    return bound;
  };
}

/// The same bound for every output; 0 asks for equality.
inline std::function<std::vector<double>(const std::vector<float>&)> Absolute(double bound) {
  return [bound](const std::vector<float>& expected) {
    return std::vector<double>(expected.size(), bound);
  };
}

}  // namespace baleen::kernels::testing
