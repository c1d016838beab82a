// Oracle of IndexTopK: score everything, sort everything.  Source: spec section 2.5.8.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/quantise.h"
#include "kernels/ref/ops.h"

namespace baleen::kernels::ref {
namespace {

struct Scored {
  double score;
  int32_t row;
};

// Higher score first, then lower row; NaN after every number.
bool Better(const Scored& a, const Scored& b) {
  const bool a_nan = std::isnan(a.score);
  const bool b_nan = std::isnan(b.score);
  if (a_nan != b_nan) return b_nan;
  if (!a_nan && a.score != b.score) return a.score > b.score;
  return a.row < b.row;
}

}  // namespace

void IndexTopK(const IndexTopKParams& p) {
  std::vector<float> key(static_cast<size_t>(p.keys.dim));
  std::vector<Scored> scored;
  for (int64_t t = 0; t < p.tokens; ++t) {
    scored.clear();
    for (int64_t row = 0; row < p.visible[t]; ++row) {
      const RowPlace place = PlaceOf(p.keys, row);
      DecodeIndexKey(*place.planes, place.row, p.keys.dim, p.keys.format, key.data());
      double score = 0;
      for (int64_t h = 0; h < p.heads; ++h) {
        const float* q = p.q + (t * p.heads + h) * p.keys.dim;
        double dot = 0;
        for (int64_t i = 0; i < p.keys.dim; ++i) dot += static_cast<double>(q[i]) * key[i];
        score += (dot < 0 ? 0 : dot) * p.weights[t * p.heads + h];
      }
      scored.push_back({score, static_cast<int32_t>(row)});
    }
    std::sort(scored.begin(), scored.end(), Better);
    const int64_t kept = std::min<int64_t>(p.topk, static_cast<int64_t>(scored.size()));
    int32_t* selected = p.selected + t * p.topk;
    for (int64_t i = 0; i < p.topk; ++i) selected[i] = i < kept ? scored[i].row : -1;
    std::sort(selected, selected + kept);
  }
}

}  // namespace baleen::kernels::ref
