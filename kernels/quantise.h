// The exact arithmetic of stored rows: scale choice, rounding and reading back. Shared by all
// backends, because a quantiser that decides differently is a different model. Knows no threads.
#pragma once

#include <cstdint>

#include "kernels/row_format.h"

namespace baleen::kernels {

/// E8M0 code of the power-of-two scale of an E4M3 block: 2^ceil(log2(max(amax, 1e-4) / 448)), where
/// the division is a multiplication by fl32(1/448). 255 (NaN) if amax is infinite or NaN.
/// Source: spec section 3.3.
uint8_t EntryScaleCode(float amax);

/// The same for an E2M1 block: 2^ceil(log2(max(amax, 6 * 2^-126) / 6)).  Source: spec section 3.5.
uint8_t IndexScaleCode(float amax);

/// Encodes one entry: E4M3 in blocks of 64 for the first dim-rope channels, bf16 for the rest; a
/// copy in kFloat. `out` points at the row.
void EncodeEntry(const float* x, int64_t dim, int64_t rope, RowFormat format,
                 const MutableRowPlanes& out);
/// Row `row` of `in` as fp32 [dim]. Exact.
void DecodeEntry(const RowPlanes& in, int64_t row, int64_t dim, int64_t rope, RowFormat format,
                 float* out);

/// Encodes one (already rotated) index key in blocks of 32; a copy in kFloat.
void EncodeIndexKey(const float* x, int64_t dim, RowFormat format, const MutableRowPlanes& out);
/// Row `row` of `in` as fp32 [dim]. Exact.
void DecodeIndexKey(const RowPlanes& in, int64_t row, int64_t dim, RowFormat format, float* out);

/// E2M1 round trip of one vector in blocks of 32, in place.
void RoundTripIndexQuery(float* x, int64_t dim);

/// `planes` advanced by `rows` rows of entries or of index keys.
MutableRowPlanes EntryPlanesAt(const MutableRowPlanes& planes, int64_t rows, int64_t dim,
                               int64_t rope);
MutableRowPlanes IndexPlanesAt(const MutableRowPlanes& planes, int64_t rows, int64_t dim);

/// The block of `rows` that holds row `row`, and the row's place in it.
struct RowPlace {
  const RowPlanes* planes;
  int64_t row;
};
inline RowPlace PlaceOf(const PagedRows& rows, int64_t row) {
  return {&rows.tables[static_cast<size_t>(row / rows.rows_per_block)], row % rows.rows_per_block};
}

}  // namespace baleen::kernels
