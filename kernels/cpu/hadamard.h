// Sylvester-Hadamard transform of index queries and keys. Called by cpu/rows.cc and its test.
#pragma once

#include <cstdint>

namespace baleen::kernels::cpu {

/// x H / sqrt(dim) in place: butterflies of distance 1, 2, 4, ..., then one multiplication by
/// fl32(1 / sqrt(dim)). That order is part of the arithmetic revision.
/// Requires: dim a power of two.  Source: spec section 2.5.7.
void Hadamard(float* x, int64_t dim);

}  // namespace baleen::kernels::cpu
