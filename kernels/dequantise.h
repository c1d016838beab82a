// Reads weight matrices in their file format as fp32. The one place that knows how codes and scales
// combine; both backends pack from it. Checks no sizes: shapes were checked when the file was
// opened.
#pragma once

#include <cstdint>

#include "kernels/matrix.h"

namespace baleen::kernels {

/// Row `row` of `source` as fp32. A weight is code * scale, rounded to fp32 once (exact for
/// power-of-two scales).
/// Shapes: out [cols].
void DequantiseRow(const MatrixSource& source, int64_t row, float* out);

}  // namespace baleen::kernels
