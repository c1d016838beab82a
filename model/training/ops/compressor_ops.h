// Gated pooling of the compressors, one softmax per channel over a window's slots.
//
// A channel's softmax runs over the slots in order; lanes are channels.  Source: spec
// section 2.5.7.
#pragma once

#include "model/training/ops/op_table.h"
#include "model/training/ops/real_math.h"

namespace baleen::training {

inline constexpr int64_t kPoolLanes = 64;

/// Where slot `slot` of entry `entry` reads: the previous window's low half, then its own half.
struct PoolSlot {
  int64_t value = 0;  ///< Offset of its first channel in value and gate.
  int64_t ape = 0;    ///< Offset in ape.
};

template <class T>
BALEEN_OP_INLINE PoolSlot PoolSlotAt(const PoolParams<T>& p, int64_t entry, int64_t slot) {
  const int64_t width = p.overlap ? 2 * p.dim : p.dim;
  if (!p.overlap) return {(entry * p.ratio + slot) * width, slot * width};
  const bool previous = slot < p.ratio;
  const int64_t within = previous ? slot : slot - p.ratio;
  const int64_t token = (previous ? entry - 1 : entry) * p.ratio + within;
  const int64_t half = previous ? 0 : p.dim;
  return {token * width + half, within * width + half};
}

/// The first entry's previous window doesn't exist: its slots are left out.
template <class T>
BALEEN_OP_INLINE int64_t FirstSlot(const PoolParams<T>& p, int64_t entry) {
  return p.overlap && entry == 0 ? p.ratio : 0;
}
template <class T>
BALEEN_OP_INLINE int64_t SlotEnd(const PoolParams<T>& p) {
  return p.overlap ? 2 * p.ratio : p.ratio;
}

/// Largest gate and sum of exponentials of channels [c, c + n).
template <class T>
struct PoolSums {
  T top[kPoolLanes];
  T inverse[kPoolLanes];
};

template <class T>
BALEEN_OP_INLINE void SumPool(const PoolParams<T>& p, int64_t entry, int64_t c, int64_t n,
                              PoolSums<T>& s) {
  const int64_t begin = FirstSlot(p, entry);
  const int64_t end = SlotEnd(p);
  for (int64_t i = 0; i < n; ++i) s.top[i] = T(-1e30);
  for (int64_t slot = begin; slot < end; ++slot) {
    const PoolSlot at = PoolSlotAt(p, entry, slot);
    const T* gate = p.gate + at.value + c;
    const T* ape = p.ape + at.ape + c;
    for (int64_t i = 0; i < n; ++i) s.top[i] = MaxOf(s.top[i], gate[i] + ape[i]);
  }
  T sum[kPoolLanes] = {};
  for (int64_t slot = begin; slot < end; ++slot) {
    const PoolSlot at = PoolSlotAt(p, entry, slot);
    const T* gate = p.gate + at.value + c;
    const T* ape = p.ape + at.ape + c;
    for (int64_t i = 0; i < n; ++i) sum[i] += ExpOf(gate[i] + ape[i] - s.top[i]);
  }
  for (int64_t i = 0; i < n; ++i) s.inverse[i] = T(1) / sum[i];
}

template <class T, class Isa>
void Pool(const PoolParams<T>& p) {
  PoolSums<T> s;
  for (int64_t entry = 0; entry < p.entries; ++entry) {
    for (int64_t c = 0; c < p.dim; c += kPoolLanes) {
      const int64_t n = MinOf(kPoolLanes, p.dim - c);
      SumPool(p, entry, c, n, s);
      T* out = p.out + entry * p.dim + c;
      for (int64_t i = 0; i < n; ++i) out[i] = 0;
      for (int64_t slot = FirstSlot(p, entry); slot < SlotEnd(p); ++slot) {
        const PoolSlot at = PoolSlotAt(p, entry, slot);
        const T* gate = p.gate + at.value + c;
        const T* ape = p.ape + at.ape + c;
        const T* value = p.value + at.value + c;
        for (int64_t i = 0; i < n; ++i) {
          out[i] += ExpOf(gate[i] + ape[i] - s.top[i]) * s.inverse[i] * value[i];
        }
      }
    }
  }
}

template <class T, class Isa>
void PoolGrad(const PoolGradParams<T>& p) {
  const PoolParams<T>& f = p.forward;
  PoolSums<T> s;
  for (int64_t entry = 0; entry < f.entries; ++entry) {
    for (int64_t c = 0; c < f.dim; c += kPoolLanes) {
      const int64_t n = MinOf(kPoolLanes, f.dim - c);
      SumPool(f, entry, c, n, s);
      const T* out = f.out + entry * f.dim + c;
      const T* dout = p.dout + entry * f.dim + c;
      for (int64_t slot = FirstSlot(f, entry); slot < SlotEnd(f); ++slot) {
        const PoolSlot at = PoolSlotAt(f, entry, slot);
        const T* gate = f.gate + at.value + c;
        const T* ape = f.ape + at.ape + c;
        const T* value = f.value + at.value + c;
        T* dvalue = p.dvalue + at.value + c;
        T* dgate = p.dgate + at.value + c;
        T* dape = p.dape + at.ape + c;
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) {
          const T weight = ExpOf(gate[i] + ape[i] - s.top[i]) * s.inverse[i];
          dvalue[i] += weight * dout[i];
          const T d = weight * dout[i] * (value[i] - out[i]);
          dgate[i] += d;
          dape[i] += d;
        }
      }
    }
  }
}

}  // namespace baleen::training
