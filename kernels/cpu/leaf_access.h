// Loading and storing rows whose length is not a multiple of 16. Included by the leaves.
#pragma once

#include <cstdint>

#include "kernels/cpu/leaf.h"

namespace baleen::kernels::cpu {

/// Calls body(begin, width) for each 16 values of n; width < 16 in the last step only.
template <class Body>
inline void ForEachVector(int64_t n, const Body& body) {
  int64_t i = 0;
  for (; i + kLaneCount <= n; i += kLaneCount) body(i, kLaneCount);
  if (i < n) body(i, n - i);
}

template <class V>
inline typename V::F LoadUpTo(const float* p, int64_t width) {
  return width == kLaneCount ? V::Load(p) : V::LoadPartial(p, width);
}

template <class V>
inline void StoreUpTo(float* p, int64_t width, typename V::F v) {
  if (width == kLaneCount) {
    V::Store(p, v);
  } else {
    V::StorePartial(p, width, v);
  }
}

/// Stores the first `valid` lanes; none if valid <= 0, all from 16 on.
template <class V>
inline void StoreLanes(float* out, int64_t valid, typename V::F v) {
  if (valid >= kLaneCount) {
    V::Store(out, v);
  } else if (valid > 0) {
    V::StorePartial(out, valid, v);
  }
}

}  // namespace baleen::kernels::cpu
