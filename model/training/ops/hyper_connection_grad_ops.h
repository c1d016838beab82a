// Gradients of the hyper-connection ops.
#pragma once

#include "model/training/ops/hyper_connection_ops.h"

namespace baleen::training {

/// Turns d of the comb into d of its logits: the iterations backwards. Each step's input is its
/// output times the sum it was divided by.
template <class T>
BALEEN_OP_INLINE void SinkhornGrad(const HcGatesParams<T>& p, HcLane<T>* m, HcLane<T>* inverse,
                                   HcLane<T>* d) {
  const int64_t mult = p.mult;
  const int64_t cells = mult * mult;
  RowSoftmax(m, mult);
  for (int64_t i = 0; i < cells; ++i) {
    for (int64_t l = 0; l < kHcLanes; ++l) m[i].v[l] += p.hc_eps;
  }
  const int64_t steps = 2 * p.iterations - 1;
  for (int64_t n = 0; n < steps; ++n) {
    SinkhornStep(m, mult, n % 2 == 1, p.hc_eps, inverse + n * mult);
  }
  for (int64_t n = steps - 1; n >= 0; --n) {
    const bool rows = n % 2 == 1;
    SinkhornStepGrad(m, inverse + n * mult, mult, rows, d);
    for (int64_t i = 0; i < cells; ++i) {
      const HcLane<T>& divisor = inverse[n * mult + (rows ? i / mult : i % mult)];
      for (int64_t l = 0; l < kHcLanes; ++l) m[i].v[l] /= divisor.v[l];
    }
  }
  for (int64_t j = 0; j < mult; ++j) {
    HcLane<T> dot = {};
    for (int64_t k = 0; k < mult; ++k) {
      const int64_t at = j * mult + k;
      for (int64_t l = 0; l < kHcLanes; ++l) dot.v[l] += d[at].v[l] * (m[at].v[l] - p.hc_eps);
    }
    for (int64_t k = 0; k < mult; ++k) {
      const int64_t at = j * mult + k;
      for (int64_t l = 0; l < kHcLanes; ++l) {
        d[at].v[l] = (m[at].v[l] - p.hc_eps) * (d[at].v[l] - dot.v[l]);
      }
    }
  }
}

/// From d of one gate's argument mix * rho * scale + base to everything behind it.
template <class T>
struct GateGrad {
  const T* mix;
  T* dmix;
  T* dbase;
  T* dscale;
  T rho;
  T drho = 0;

  __attribute__((always_inline)) void Add(int64_t gate, int64_t group, T scale, T d) {
    dbase[gate] += d;
    dscale[group] += d * mix[gate] * rho;
    dmix[gate] = d * scale * rho;
    drho += d * scale * mix[gate];
  }
};

template <class T, class Isa>
void HcGatesGrad(const HcGatesGradParams<T>& p) {
  const HcGatesParams<T>& f = p.forward;
  const bool head = f.comb == nullptr;
  const int64_t mult = f.mult;
  const int64_t cells = mult * mult;
  const int64_t gates = head ? mult : mult * (2 + mult);
  const T width = static_cast<T>(mult * f.dim);
  HcLane<T> m[kHcCells];
  HcLane<T> d[kHcCells];
  HcLane<T> inverse[2 * kSinkhornIterationsMax * kHcMultMax];
  for (int64_t first = 0; first < f.tokens; first += kHcLanes) {
    const int64_t count = MinOf(kHcLanes, f.tokens - first);
    if (!head) {
      LoadCombLogits(f, first, count, m);
      for (int64_t i = 0; i < cells; ++i) {
        for (int64_t l = 0; l < kHcLanes; ++l) {
          d[i].v[l] = l < count ? p.dcomb[(first + l) * cells + i] : T(0);
        }
      }
      SinkhornGrad(f, m, inverse, d);
    }
    for (int64_t l = 0; l < count; ++l) {
      const int64_t t = first + l;
      GateGrad<T> grad = {f.mix + t * gates, p.dmix + t * gates, p.dbase, p.dscale, f.rho[t]};
      for (int64_t j = 0; j < mult; ++j) {
        const T sigmoid = f.pre[t * mult + j] - f.hc_eps;
        grad.Add(j, 0, f.scale[0], p.dpre[t * mult + j] * sigmoid * (T(1) - sigmoid));
      }
      if (!head) {
        for (int64_t j = 0; j < mult; ++j) {
          const T sigmoid = f.post[t * mult + j] / T(2);
          grad.Add(mult + j, 1, f.scale[1],
                   p.dpost[t * mult + j] * T(2) * sigmoid * (T(1) - sigmoid));
        }
        for (int64_t i = 0; i < cells; ++i) grad.Add(2 * mult + i, 2, f.scale[2], d[i].v[l]);
      }
      p.stream_factor[t] = -grad.drho * grad.rho * grad.rho * grad.rho / width;
    }
  }
}

template <class T, class Isa>
void HcCollapse(const HcCollapseParams<T>& p) {
  for (int64_t t = 0; t < p.tokens; ++t) {
    const T* z = p.streams + t * p.mult * p.dim;
    T* u = p.u + t * p.dim;
    T* x = p.x + t * p.dim;
    for (int64_t i = 0; i < p.dim; ++i) u[i] = p.pre[t * p.mult] * z[i];
    for (int64_t j = 1; j < p.mult; ++j) {
      const T gate = p.pre[t * p.mult + j];
      const T* stream = z + j * p.dim;
      for (int64_t i = 0; i < p.dim; ++i) u[i] += gate * stream[i];
    }
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < p.dim; ++i) sum += u[i] * u[i];
    const T rstd = T(1) / SqrtOf(sum / static_cast<T>(p.dim) + p.eps);
    p.rstd[t] = rstd;
    for (int64_t i = 0; i < p.dim; ++i) x[i] = p.weight[i] * (u[i] * rstd);
  }
}

template <class T, class Isa>
void HcCollapseGrad(const HcCollapseGradParams<T>& p) {
  for (int64_t t = 0; t < p.tokens; ++t) {
    const T* du = p.du + t * p.dim;
    for (int64_t j = 0; j < p.mult; ++j) {
      const T gate = p.pre[t * p.mult + j];
      const T* z = p.streams + (t * p.mult + j) * p.dim;
      T* dz = p.dstreams + (t * p.mult + j) * p.dim;
      T dot = 0;
#pragma omp simd reduction(+ : dot)
      for (int64_t i = 0; i < p.dim; ++i) {
        dot += du[i] * z[i];
        dz[i] += gate * du[i];
      }
      p.dpre[t * p.mult + j] = dot;
    }
  }
}

template <class T, class Isa>
void HcExpand(const HcExpandParams<T>& p) {
  for (int64_t t = 0; t < p.tokens; ++t) {
    const T* z = p.streams + t * p.mult * p.dim;
    const T* y = p.y + t * p.dim;
    const T* comb = p.comb + t * p.mult * p.mult;
    for (int64_t k = 0; k < p.mult; ++k) {
      T* out = p.out + (t * p.mult + k) * p.dim;
      const T post = p.post[t * p.mult + k];
      for (int64_t i = 0; i < p.dim; ++i) out[i] = post * y[i];
      for (int64_t j = 0; j < p.mult; ++j) {
        const T gate = comb[j * p.mult + k];
        const T* stream = z + j * p.dim;
        for (int64_t i = 0; i < p.dim; ++i) out[i] += gate * stream[i];
      }
    }
  }
}

/// Channels of a block of HcExpandGrad: its inputs and outputs stay in the first cache.
inline constexpr int64_t kHcBlock = 64;

template <class T, class Isa>
void HcExpandGrad(const HcExpandGradParams<T>& p) {
  const HcExpandParams<T>& f = p.forward;
  const int64_t mult = f.mult;
  T block[kHcMultMax][kHcBlock];
  for (int64_t t = 0; t < f.tokens; ++t) {
    const T* z = f.streams + t * mult * f.dim;
    const T* y = f.y + t * f.dim;
    const T* post = f.post + t * mult;
    const T* comb = f.comb + t * mult * mult;
    T* d = p.dstreams + t * mult * f.dim;
    T* dy = p.dy + t * f.dim;
    T dpost[kHcMultMax] = {};
    T dcomb[kHcCells] = {};
    for (int64_t first = 0; first < f.dim; first += kHcBlock) {
      const int64_t n = MinOf(kHcBlock, f.dim - first);
      for (int64_t k = 0; k < mult; ++k) {
        const T* dk = d + k * f.dim + first;
        T dot = 0;
#pragma omp simd reduction(+ : dot)
        for (int64_t i = 0; i < n; ++i) {
          dot += dk[i] * y[first + i];
          dy[first + i] = (k == 0 ? T(0) : dy[first + i]) + post[k] * dk[i];
          block[k][i] = dk[i];
        }
        dpost[k] += dot;
      }
      for (int64_t j = 0; j < mult; ++j) {
        T* dj = d + j * f.dim + first;
        const T* zj = z + j * f.dim + first;
        for (int64_t i = 0; i < n; ++i) dj[i] = 0;
        for (int64_t k = 0; k < mult; ++k) {
          const T gate = comb[j * mult + k];
          T dot = 0;
#pragma omp simd reduction(+ : dot)
          for (int64_t i = 0; i < n; ++i) {
            dot += block[k][i] * zj[i];
            dj[i] += gate * block[k][i];
          }
          dcomb[j * mult + k] += dot;
        }
      }
    }
    for (int64_t k = 0; k < mult; ++k) p.dpost[t * mult + k] = dpost[k];
    for (int64_t i = 0; i < mult * mult; ++i) p.dcomb[t * mult * mult + i] = dcomb[i];
  }
}

template <class T, class Isa>
void AddScaled(const AddScaledParams<T>& p) {
  for (int64_t row = 0; row < p.rows; ++row) {
    const T factor = p.factor[row];
    const T* x = p.x + row * p.dim;
    T* out = p.out + row * p.dim;
    for (int64_t i = 0; i < p.dim; ++i) out[i] += factor * x[i];
  }
}

}  // namespace baleen::training
