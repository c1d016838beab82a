// Stored rows: the shared exact codecs, a row per unit, and the fast Hadamard transform.
#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/check.h"
#include "kernels/cpu/hadamard.h"
#include "kernels/cpu/ops.h"
#include "kernels/quantise.h"

namespace baleen::kernels::cpu {
namespace {

constexpr int64_t kCodecCost = 8;  // Operations per channel, roughly.

}  // namespace

void Hadamard(float* x, int64_t dim) {
  DCHECK(std::has_single_bit(static_cast<uint64_t>(dim)));
  for (int64_t distance = 1; distance < dim; distance *= 2) {
    for (int64_t block = 0; block < dim; block += 2 * distance) {
      for (int64_t i = block; i < block + distance; ++i) {
        const float a = x[i];
        const float b = x[i + distance];
        x[i] = a + b;
        x[i + distance] = a - b;
      }
    }
  }
  const float factor = static_cast<float>(1.0 / std::sqrt(static_cast<double>(dim)));
  for (int64_t i = 0; i < dim; ++i) x[i] *= factor;
}

void StoreEntries(Machine& m, const StoreEntriesParams& p) {
  m.pool.For(p.rows, kCodecCost * p.dim, [&](int64_t r, int) {
    EncodeEntry(p.x + r * p.dim, p.dim, p.rope, p.format, EntryPlanesAt(p.out, r, p.dim, p.rope));
  });
}

void LoadEntries(Machine& m, const LoadEntriesParams& p) {
  m.pool.For(p.rows, kCodecCost * p.dim, [&](int64_t r, int) {
    DecodeEntry(p.in, r, p.dim, p.rope, p.format, p.out + r * p.dim);
  });
}

void StoreIndexKeys(Machine& m, const StoreIndexKeysParams& p) {
  m.pool.For(p.rows, 2 * kCodecCost * p.dim, [&](int64_t r, int worker) {
    const float* x = p.x + r * p.dim;
    if (p.format == RowFormat::kPacked) {
      float* rotated = m.workers[static_cast<size_t>(worker)].rows.Reserve(p.dim);
      std::copy_n(x, p.dim, rotated);
      Hadamard(rotated, p.dim);
      x = rotated;
    }
    EncodeIndexKey(x, p.dim, p.format, IndexPlanesAt(p.out, r, p.dim));
  });
}

void IndexQuery(Machine& m, const IndexQueryParams& p) {
  if (p.format == RowFormat::kFloat) return;
  m.pool.For(p.rows, 2 * kCodecCost * p.dim, [&](int64_t r, int) {
    Hadamard(p.x + r * p.dim, p.dim);
    RoundTripIndexQuery(p.x + r * p.dim, p.dim);
  });
}

}  // namespace baleen::kernels::cpu
