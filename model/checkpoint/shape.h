// Shapes of tensors: how many elements and bytes, and how messages write them.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "kernels/dtype.h"

namespace baleen {

/// Product of the dimensions; 1 for a scalar. Requires: a checked shape, so that it cannot
/// overflow.
int64_t Elements(std::span<const int64_t> shape);

/// Bytes of a tensor, or -1 if the shape has a negative dimension or too many elements. FP4 packs
/// two elements per byte; an odd one has a byte of its own.
int64_t TensorBytes(DType dtype, std::span<const int64_t> shape);

/// "[2, 3]".
std::string ShapeText(std::span<const int64_t> shape);

}  // namespace baleen
