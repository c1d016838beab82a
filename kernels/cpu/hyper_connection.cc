// mHC: the gate projection is a Linear, its RMS factor is applied after it, Sinkhorn runs per token
// in straight left-to-right sums.  Source: spec section 2.4.
#include "kernels/check.h"
#include "kernels/cpu/ops.h"

namespace baleen::kernels::cpu {
namespace {

constexpr int64_t kCombMax = int64_t{kHcMultMax} * kHcMultMax;
constexpr int64_t kMixMax = (2 + kHcMultMax) * kHcMultMax;

void NormaliseRows(float* comb, int64_t n, float eps) {
  for (int64_t j = 0; j < n; ++j) {
    float sum = 0;
    for (int64_t k = 0; k < n; ++k) sum += comb[j * n + k];
    for (int64_t k = 0; k < n; ++k) comb[j * n + k] /= sum + eps;
  }
}

void NormaliseColumns(float* comb, int64_t n, float eps) {
  float sums[kHcMultMax] = {};
  for (int64_t j = 0; j < n; ++j) {
    for (int64_t k = 0; k < n; ++k) sums[k] += comb[j * n + k];
  }
  for (int64_t k = 0; k < n; ++k) sums[k] += eps;
  for (int64_t j = 0; j < n; ++j) {
    for (int64_t k = 0; k < n; ++k) comb[j * n + k] /= sums[k];
  }
}

void SoftmaxRows(const LeafTable& leaf, float* comb, int64_t n, float eps) {
  for (int64_t j = 0; j < n; ++j) {
    float max = comb[j * n];
    for (int64_t k = 1; k < n; ++k) max = comb[j * n + k] > max ? comb[j * n + k] : max;
    for (int64_t k = 0; k < n; ++k) comb[j * n + k] -= max;
  }
  leaf.exp(comb, comb, n * n);
  for (int64_t j = 0; j < n; ++j) {
    float sum = 0;
    for (int64_t k = 0; k < n; ++k) sum += comb[j * n + k];
    for (int64_t k = 0; k < n; ++k) comb[j * n + k] = comb[j * n + k] / sum + eps;
  }
}

// Gates of one token from its raw projection `mix` [fn rows].
void TokenGates(const LeafTable& leaf, const HcGatesParams& p, int64_t t, const float* mix) {
  const int64_t n = p.mult;
  const int64_t width = n * p.dim;
  const int64_t rows = p.fn->rows();
  const float* z = p.streams + t * width;
  const float mean = leaf.dot(z, z, width) / static_cast<float>(width);
  const float factor = 1.0f / __builtin_sqrtf(mean + p.norm_eps);
  float logits[kMixMax];
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t gate = r < 2 * n ? r / n : 2;
    logits[r] = mix[r] * factor * p.scale[gate] + p.base[r];
  }
  float* pre = p.pre + t * n;
  leaf.sigmoid(logits, pre, n);
  for (int64_t j = 0; j < n; ++j) pre[j] += p.hc_eps;
  if (p.post == nullptr) return;
  float* post = p.post + t * n;
  leaf.sigmoid(logits + n, post, n);
  for (int64_t j = 0; j < n; ++j) post[j] *= 2.0f;
  float* comb = p.comb + t * n * n;
  for (int64_t i = 0; i < n * n; ++i) comb[i] = logits[2 * n + i];
  SoftmaxRows(leaf, comb, n, p.hc_eps);
  NormaliseColumns(comb, n, p.hc_eps);
  for (int i = 1; i < p.sinkhorn_iterations; ++i) {
    NormaliseRows(comb, n, p.hc_eps);
    NormaliseColumns(comb, n, p.hc_eps);
  }
}

}  // namespace

void HcGates(Machine& m, const HcGatesParams& p) {
  const int64_t width = p.mult * p.dim;
  const int64_t rows = p.fn->rows();
  DCHECK(p.mult <= kHcMultMax && p.fn->cols() == width);
  DCHECK(rows == (p.post != nullptr ? (2 + p.mult) * p.mult : p.mult));
  float* mix = m.shared_rows.Reserve(p.tokens * rows);
  Linear(m, {.x = p.streams,
             .x_stride = width,
             .w = p.fn,
             .out = mix,
             .out_stride = rows,
             .tokens = p.tokens});
  const int64_t cost = 2 * width + 4 * kCombMax * p.sinkhorn_iterations;
  m.pool.For(p.tokens, cost, [&](int64_t t, int) { TokenGates(m.leaf, p, t, mix + t * rows); });
}

void HcCollapse(Machine& m, const HcCollapseParams& p) {
  m.pool.For(p.tokens, 2 * p.mult * p.dim, [&](int64_t t, int) {
    m.leaf.hc_collapse(p.streams + t * p.mult * p.dim, p.pre + t * p.mult, p.mult, p.dim,
                       p.out + t * p.dim);
  });
}

void HcExpand(Machine& m, const HcExpandParams& p) {
  DCHECK(p.mult <= kHcMultMax);
  m.pool.For(p.tokens, 2 * p.mult * p.mult * p.dim, [&](int64_t t, int) {
    m.leaf.hc_expand(p.streams + t * p.mult * p.dim, p.y + t * p.dim, p.post + t * p.mult,
                     p.comb + t * p.mult * p.mult, p.mult, p.dim);
  });
}

}  // namespace baleen::kernels::cpu
