// Oracle of Route.  Source: spec section 2.6.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/ref/ops.h"

namespace baleen::kernels::ref {
namespace {

double SqrtSoftplus(double z) { return std::sqrt(z > 20 ? z : std::log1p(std::exp(z))); }

}  // namespace

void Route(const RouteParams& p) {
  std::vector<double> score(static_cast<size_t>(p.experts));
  std::vector<int32_t> order(static_cast<size_t>(p.experts));
  for (int64_t t = 0; t < p.tokens; ++t) {
    for (int64_t e = 0; e < p.experts; ++e) score[e] = SqrtSoftplus(p.logits[t * p.experts + e]);
    int32_t* ids = p.ids + t * p.topk;
    if (p.forced != nullptr) {
      std::copy_n(p.forced + t * p.topk, p.topk, ids);
    } else {
      for (int64_t e = 0; e < p.experts; ++e) order[e] = static_cast<int32_t>(e);
      const auto choice = [&](int32_t e) { return score[e] + (p.bias != nullptr ? p.bias[e] : 0); };
      std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
        const bool a_nan = std::isnan(choice(a));
        const bool b_nan = std::isnan(choice(b));
        if (a_nan != b_nan) return b_nan;
        if (!a_nan && choice(a) != choice(b)) return choice(a) > choice(b);
        return a < b;
      });
      std::copy_n(order.begin(), p.topk, ids);
    }
    std::sort(ids, ids + p.topk);
    double sum = 0;
    for (int64_t i = 0; i < p.topk; ++i) sum += score[ids[i]];
    for (int64_t i = 0; i < p.topk; ++i) {
      p.weights[t * p.topk + i] = static_cast<float>(score[ids[i]] / sum * p.route_scale);
    }
  }
}

}  // namespace baleen::kernels::ref
