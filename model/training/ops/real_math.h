// exp, sigmoid and sqrt for both number types, shaped so that loops over them vectorise.
//
// Functions are always inlined: each instruction set's file keeps its own copies.
#pragma once

#include <cstdint>

namespace baleen::training {

#define BALEEN_OP_INLINE static inline __attribute__((always_inline))

/// e^x; 2 ulp. Below -87 the result is at most 1.7e-38.
/// Source: range reduction by ln 2 in two parts; polynomial of Cephes expf.
BALEEN_OP_INLINE float ExpOf(float x) {
  x = x < -87.0F ? -87.0F : x;
  x = x > 88.0F ? 88.0F : x;
  const float shifted = x * 1.44269504088896341F + 12582912.0F;
  const float n = shifted - 12582912.0F;
  const float r = (x - n * 0.693359375F) + n * 2.12194440e-4F;
  float y = 1.9875691500e-4F;
  y = y * r + 1.3981999507e-3F;
  y = y * r + 8.3334519073e-3F;
  y = y * r + 4.1665795894e-2F;
  y = y * r + 1.6666665459e-1F;
  y = y * r + 5.0000001201e-1F;
  y = y * (r * r) + r + 1.0F;
  const int32_t power = (__builtin_bit_cast(int32_t, shifted) - 0x4B400000 + 127) << 23;
  return y * __builtin_bit_cast(float, power);
}
BALEEN_OP_INLINE double ExpOf(double x) { return __builtin_exp(x); }

BALEEN_OP_INLINE float SqrtOf(float x) { return __builtin_sqrtf(x); }
BALEEN_OP_INLINE double SqrtOf(double x) { return __builtin_sqrt(x); }
BALEEN_OP_INLINE float LogOf(float x) { return __builtin_logf(x); }
BALEEN_OP_INLINE double LogOf(double x) { return __builtin_log(x); }
BALEEN_OP_INLINE float Log1pOf(float x) { return __builtin_log1pf(x); }
BALEEN_OP_INLINE double Log1pOf(double x) { return __builtin_log1p(x); }

template <class T>
BALEEN_OP_INLINE T SigmoidOf(T x) {
  const T e = ExpOf(x < 0 ? x : -x);
  return (x < 0 ? e : T(1)) / (T(1) + e);
}

template <class T>
BALEEN_OP_INLINE T MinOf(T a, T b) {
  return a < b ? a : b;
}
template <class T>
BALEEN_OP_INLINE T MaxOf(T a, T b) {
  return a > b ? a : b;
}

}  // namespace baleen::training
