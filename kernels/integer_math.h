// Integer arithmetic that sizes need everywhere: of blocks, panels, scales and files.
#pragma once

#include <cstdint>

namespace baleen {

/// a / b rounded up. Requires: a >= 0, b > 0.
constexpr int64_t CeilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace baleen
