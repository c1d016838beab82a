// Oracle of the stored-row ops: the shared codecs, and the Hadamard transform as a plain matrix
// product in double.  Source: spec sections 2.5.7, 3.3 to 3.5.
#include <bit>
#include <cmath>
#include <vector>

#include "kernels/quantise.h"
#include "kernels/ref/ops.h"

namespace baleen::kernels::ref {
namespace {

// out = x H / sqrt(dim), H[i][j] = (-1)^popcount(i & j).
void Hadamard(const float* x, int64_t dim, std::vector<float>& out) {
  const float factor = static_cast<float>(1.0 / std::sqrt(static_cast<double>(dim)));
  out.resize(static_cast<size_t>(dim));
  for (int64_t j = 0; j < dim; ++j) {
    double sum = 0;
    for (int64_t i = 0; i < dim; ++i) {
      const bool negative = std::popcount(static_cast<uint64_t>(i & j)) % 2 != 0;
      sum += negative ? -static_cast<double>(x[i]) : static_cast<double>(x[i]);
    }
    out[j] = static_cast<float>(sum * factor);
  }
}

}  // namespace

void StoreEntries(const StoreEntriesParams& p) {
  for (int64_t r = 0; r < p.rows; ++r) {
    EncodeEntry(p.x + r * p.dim, p.dim, p.rope, p.format, EntryPlanesAt(p.out, r, p.dim, p.rope));
  }
}

void LoadEntries(const LoadEntriesParams& p) {
  for (int64_t r = 0; r < p.rows; ++r) {
    DecodeEntry(p.in, r, p.dim, p.rope, p.format, p.out + r * p.dim);
  }
}

void StoreIndexKeys(const StoreIndexKeysParams& p) {
  std::vector<float> rotated;
  for (int64_t r = 0; r < p.rows; ++r) {
    const float* x = p.x + r * p.dim;
    if (p.format == RowFormat::kPacked) {
      Hadamard(x, p.dim, rotated);
      x = rotated.data();
    }
    EncodeIndexKey(x, p.dim, p.format, IndexPlanesAt(p.out, r, p.dim));
  }
}

void IndexQuery(const IndexQueryParams& p) {
  if (p.format == RowFormat::kFloat) return;
  std::vector<float> rotated;
  for (int64_t r = 0; r < p.rows; ++r) {
    float* x = p.x + r * p.dim;
    Hadamard(x, p.dim, rotated);
    RoundTripIndexQuery(rotated.data(), p.dim);
    for (int64_t i = 0; i < p.dim; ++i) x[i] = rotated[i];
  }
}

}  // namespace baleen::kernels::ref
