// Route, a token per unit.  Source: spec section 2.6.
#include <algorithm>

#include "kernels/check.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/top_k.h"

namespace baleen::kernels::cpu {
namespace {

void ChooseExperts(const RouteParams& p, int64_t t, const float* scores, float* choice,
                   WorkerScratch& scratch, int32_t* ids) {
  if (p.forced != nullptr) {
    std::copy_n(p.forced + t * p.topk, p.topk, ids);
    std::sort(ids, ids + p.topk);
    return;
  }
  for (int64_t e = 0; e < p.experts; ++e) {
    choice[e] = p.bias != nullptr ? scores[e] + p.bias[e] : scores[e];
  }
  SelectTopK(choice, p.experts, p.topk, scratch, ids);
}

}  // namespace

void Route(Machine& m, const RouteParams& p) {
  m.pool.For(p.tokens, 40 * p.experts, [&](int64_t t, int worker) {
    WorkerScratch& scratch = m.workers[static_cast<size_t>(worker)];
    float* scores = scratch.scores.Reserve(2 * p.experts);
    m.leaf.sqrt_softplus(p.logits + t * p.experts, scores, p.experts);
    int32_t* ids = p.ids + t * p.topk;
    ChooseExperts(p, t, scores, scores + p.experts, scratch, ids);
    DCHECK(ids[0] >= 0 && ids[p.topk - 1] < p.experts);
    float sum = 0;
    for (int64_t i = 0; i < p.topk; ++i) sum += scores[ids[i]];
    for (int64_t i = 0; i < p.topk; ++i) {
      p.weights[t * p.topk + i] = scores[ids[i]] / sum * p.route_scale;
    }
  });
}

}  // namespace baleen::kernels::cpu
