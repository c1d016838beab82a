// Oracle of SparseAttention.  Source: spec sections 2.5.4, 2.5.5.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/quantise.h"
#include "kernels/ref/ops.h"

namespace baleen::kernels::ref {
namespace {

void AppendEntry(const PagedRows& entries, int64_t row, int64_t dim, std::vector<float>& keys) {
  keys.resize(keys.size() + static_cast<size_t>(dim));
  const RowPlace place = PlaceOf(entries, row);
  DecodeEntry(*place.planes, place.row, dim, entries.rope, entries.format,
              keys.data() + keys.size() - dim);
}

// All keys of token t in key order: [n, dim].
std::vector<float> KeysOf(const SparseAttentionParams& p, int64_t t) {
  std::vector<float> keys(p.window + p.window_begin[t] * p.dim, p.window + p.window_end[t] * p.dim);
  if (p.entries.rows == 0) return keys;
  if (p.selected == nullptr) {
    for (int64_t row = 0; row < p.visible[t]; ++row) AppendEntry(p.entries, row, p.dim, keys);
    return keys;
  }
  for (int64_t i = 0; i < p.topk; ++i) {
    const int32_t row = p.selected[t * p.topk + i];
    if (row >= 0) AppendEntry(p.entries, row, p.dim, keys);
  }
  return keys;
}

void AttendHead(const float* q, const std::vector<float>& keys, int64_t dim, float scale,
                const float* sink, float* out) {
  const int64_t count = static_cast<int64_t>(keys.size()) / dim;
  std::vector<double> score(static_cast<size_t>(count));
  double max = -std::numeric_limits<double>::infinity();
  for (int64_t k = 0; k < count; ++k) {
    double dot = 0;
    for (int64_t i = 0; i < dim; ++i) dot += static_cast<double>(q[i]) * keys[k * dim + i];
    score[k] = dot * scale;
    max = std::max(max, score[k]);
  }
  std::vector<double> sum(static_cast<size_t>(dim), 0.0);
  double denominator = 0;
  for (int64_t k = 0; k < count; ++k) {
    const double weight = std::exp(score[k] - max);
    denominator += weight;
    for (int64_t i = 0; i < dim; ++i) sum[i] += weight * keys[k * dim + i];
  }
  if (sink != nullptr) denominator += std::exp(*sink - max);
  for (int64_t i = 0; i < dim; ++i) {
    out[i] = count == 0 ? 0.0f : static_cast<float>(sum[i] / denominator);
  }
}

}  // namespace

void SparseAttention(const SparseAttentionParams& p) {
  for (int64_t t = 0; t < p.tokens; ++t) {
    const std::vector<float> keys = KeysOf(p, t);
    for (int64_t h = 0; h < p.heads; ++h) {
      const int64_t first = (t * p.heads + h) * p.dim;
      AttendHead(p.q + first, keys, p.dim, p.scale, p.sink != nullptr ? p.sink + h : nullptr,
                 p.out + first);
    }
  }
}

}  // namespace baleen::kernels::ref
