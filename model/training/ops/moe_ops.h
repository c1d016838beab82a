// Routing and the experts' activation.  Source: spec section 2.6.
#pragma once

#include "model/training/ops/op_table.h"
#include "model/training/ops/real_math.h"

namespace baleen::training {

template <class T, class Isa>
void SwiGlu(const SwiGluParams<T>& p) {
  const T limit = p.limit > 0 ? p.limit : T(1e30);
  for (int64_t row = 0; row < p.rows; ++row) {
    const T weight = p.weight == nullptr ? T(1) : p.weight[row];
    const T* gate = p.gate + row * p.dim;
    const T* up = p.up + row * p.dim;
    T* product = p.product + row * p.dim;
    for (int64_t i = 0; i < p.dim; ++i) {
      const T g = MinOf(gate[i], limit);
      const T u = MaxOf(MinOf(up[i], limit), -limit);
      product[i] = weight * (g * SigmoidOf(g)) * u;
    }
  }
}

template <class T, class Isa>
void SwiGluGrad(const SwiGluGradParams<T>& p) {
  const SwiGluParams<T>& f = p.forward;
  const T limit = f.limit > 0 ? f.limit : T(1e30);
  for (int64_t row = 0; row < f.rows; ++row) {
    const T weight = f.weight == nullptr ? T(1) : f.weight[row];
    const T* gate = f.gate + row * f.dim;
    const T* up = f.up + row * f.dim;
    const T* dproduct = p.dproduct + row * f.dim;
    T* dgate = p.dgate + row * f.dim;
    T* dup = p.dup + row * f.dim;
    T dweight = 0;
#pragma omp simd reduction(+ : dweight)
    for (int64_t i = 0; i < f.dim; ++i) {
      const T d = dproduct[i];
      const T g = MinOf(gate[i], limit);
      const T u = MaxOf(MinOf(up[i], limit), -limit);
      const T sigmoid = SigmoidOf(g);
      const T silu = g * sigmoid;
      dweight += d * silu * u;
      const T dg = d * weight * u * (sigmoid + silu * (T(1) - sigmoid));
      const T du = d * weight * silu;
      dgate[i] = gate[i] > limit ? T(0) : dg;
      dup[i] = up[i] > limit || up[i] < -limit ? T(0) : du;
    }
    if (p.dweight != nullptr) p.dweight[row] = dweight;
  }
}

template <class T>
BALEEN_OP_INLINE bool BetterChoice(const RouteParams<T>& p, const T* scores, int64_t a, int64_t b) {
  return scores[a] + p.bias[a] > scores[b] + p.bias[b];
}

/// The topk best experts of a token, ids ascending.
template <class T>
BALEEN_OP_INLINE void ChooseExperts(const RouteParams<T>& p, const T* scores, int32_t* ids) {
  for (int64_t k = 0; k < p.topk; ++k) {
    int64_t best = -1;
    for (int64_t e = 0; e < p.experts; ++e) {
      bool taken = false;
      for (int64_t i = 0; i < k; ++i) taken = taken || ids[i] == e;
      if (taken) continue;
      if (best < 0 || BetterChoice(p, scores, e, best)) best = e;
    }
    ids[k] = static_cast<int32_t>(best);
  }
  for (int64_t i = 1; i < p.topk; ++i) {
    const int32_t id = ids[i];
    int64_t at = i;
    for (; at > 0 && ids[at - 1] > id; --at) ids[at] = ids[at - 1];
    ids[at] = id;
  }
}

template <class T, class Isa>
void Route(const RouteParams<T>& p) {
  for (int64_t t = 0; t < p.tokens; ++t) {
    const T* logits = p.logits + t * p.experts;
    T* scores = p.scores + t * p.experts;
    int32_t* ids = p.ids + t * p.topk;
    for (int64_t e = 0; e < p.experts; ++e) {
      const T z = logits[e];
      scores[e] = SqrtOf(z > T(20) ? z : Log1pOf(ExpOf(z)));
    }
    if (p.bias != nullptr) ChooseExperts(p, scores, ids);
    T sum = 0;
    for (int64_t k = 0; k < p.topk; ++k) sum += scores[ids[k]];
    for (int64_t k = 0; k < p.topk; ++k) {
      p.weights[t * p.topk + k] = scores[ids[k]] / sum * p.route_scale;
    }
  }
}

template <class T, class Isa>
void RouteGrad(const RouteGradParams<T>& p) {
  const RouteParams<T>& f = p.forward;
  for (int64_t t = 0; t < f.tokens; ++t) {
    const T* scores = f.scores + t * f.experts;
    const int32_t* ids = f.ids + t * f.topk;
    const T* weights = f.weights + t * f.topk;
    const T* dweights = p.dweights + t * f.topk;
    T* dlogits = p.dlogits + t * f.experts;
    for (int64_t e = 0; e < f.experts; ++e) {
      dlogits[e] = p.dscores == nullptr ? T(0) : p.dscores[t * f.experts + e];
    }
    T sum = 0;
    T dot = 0;
    for (int64_t k = 0; k < f.topk; ++k) {
      sum += scores[ids[k]];
      dot += dweights[k] * weights[k];
    }
    for (int64_t k = 0; k < f.topk; ++k) {
      dlogits[ids[k]] += (f.route_scale * dweights[k] - dot) / sum;
    }
    for (int64_t e = 0; e < f.experts; ++e) {
      const T z = f.logits[t * f.experts + e];
      dlogits[e] *= (z > T(20) ? T(1) : SigmoidOf(z)) / (T(2) * scores[e]);
    }
  }
}

}  // namespace baleen::training
