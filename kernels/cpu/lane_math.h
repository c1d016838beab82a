// exp, log1p, sigmoid, silu and sqrt(softplus) on 16 lanes, from IEEE operations only, so that
// every instruction set gives equal bits. There is no scalar version: single values go through lane
// 0. NaN in gives NaN out. Measured errors are in tests/kernels/lane_math_test.cc.
#pragma once

#include <cstdint>

namespace baleen::kernels::cpu {

// Adding 1.5 * 2^23 leaves a small float's nearest integer in the low mantissa bits.
inline constexpr float kIntegerShift = 12582912.0f;
inline constexpr int32_t kIntegerShiftBits = 0x4B400000;

/// e^x. Error <= 1 ulp for normal results; below -104 zero, above 88.73 infinity.
/// Source: range reduction by ln 2 in two parts; polynomial of Cephes expf.
template <class V>
inline typename V::F Exp(typename V::F x) {
  using F = typename V::F;
  x = V::Max(V::Set(-104.0f), V::Min(V::Set(89.0f), x));  // this operand order keeps NaN
  const F shifted = V::Fma(x, V::Set(1.44269504088896341f), V::Set(kIntegerShift));
  const F n = V::Sub(shifted, V::Set(kIntegerShift));
  F r = V::Fma(n, V::Set(-0.693359375f), x);
  r = V::Fma(n, V::Set(2.12194440e-4f), r);
  F y = V::Set(1.9875691500e-4f);
  y = V::Fma(y, r, V::Set(1.3981999507e-3f));
  y = V::Fma(y, r, V::Set(8.3334519073e-3f));
  y = V::Fma(y, r, V::Set(4.1665795894e-2f));
  y = V::Fma(y, r, V::Set(1.6666665459e-1f));
  y = V::Fma(y, r, V::Set(5.0000001201e-1f));
  y = V::Add(V::Fma(y, V::Mul(r, r), r), V::Set(1.0f));
  // 2^n in two factors, since n reaches beyond the exponents of normal floats.
  const typename V::I power = V::SubInt(V::AsInt(shifted), V::SetInt(kIntegerShiftBits));
  const typename V::I half = V::ShiftRightSigned(power, 1);
  const typename V::I rest = V::SubInt(power, half);
  const F first = V::AsFloat(V::ShiftLeft(V::AddInt(half, V::SetInt(127)), 23));
  const F second = V::AsFloat(V::ShiftLeft(V::AddInt(rest, V::SetInt(127)), 23));
  return V::Mul(V::Mul(y, first), second);
}

/// log(1 + x) for 0 <= x < 2^60. Error <= 2 ulp.
/// Source: log of the rounded sum u = 1 + x as in FreeBSD e_logf.c, plus the rounding error of u
/// divided by u.
template <class V>
inline typename V::F Log1p(typename V::F x) {
  using F = typename V::F;
  using I = typename V::I;
  const F one = V::Set(1.0f);
  const F u = V::Add(one, x);
  const F lost_of_x = V::Sub(x, V::Sub(u, one));
  const F lost_of_one = V::Sub(one, V::Sub(u, x));
  const F correction = V::Div(V::Select(V::Less(x, one), lost_of_x, lost_of_one), u);
  // u = 2^k * m with m in [sqrt(1/2), sqrt(2)).
  const I biased = V::AddInt(V::AsInt(u), V::SetInt(0x3F800000 - 0x3F3504F3));
  const I k = V::SubInt(V::ShiftRight(biased, 23), V::SetInt(127));
  const F m = V::AsFloat(V::AddInt(V::And(biased, V::SetInt(0x007FFFFF)), V::SetInt(0x3F3504F3)));
  const F exponent =
      V::Sub(V::AsFloat(V::AddInt(k, V::SetInt(kIntegerShiftBits))), V::Set(kIntegerShift));
  const F f = V::Sub(m, one);
  const F s = V::Div(f, V::Add(V::Set(2.0f), f));
  const F z = V::Mul(s, s);
  const F w = V::Mul(z, z);
  const F odd = V::Mul(z, V::Fma(w, V::Set(0x91e9ee.0p-25f), V::Set(0xaaaaaa.0p-24f)));
  const F even = V::Mul(w, V::Fma(w, V::Set(0xf89e26.0p-26f), V::Set(0xccce13.0p-25f)));
  const F half_square = V::Mul(V::Mul(V::Set(0.5f), f), f);
  const F low = V::Fma(exponent, V::Set(9.0580006145e-06f), correction);
  const F tail = V::Fma(s, V::Add(half_square, V::Add(odd, even)), low);
  const F sum = V::Add(V::Sub(tail, half_square), f);
  return V::Fma(exponent, V::Set(6.9313812256e-01f), sum);
}

/// e^-|x| and the numerator of the sigmoid: 1 for x >= 0, e^-|x| below, so that nothing overflows.
template <class V>
struct SigmoidParts {
  typename V::F numerator;
  typename V::F denominator;
};

template <class V>
inline SigmoidParts<V> SigmoidOf(typename V::F x) {
  const typename V::Mask negative = V::Less(x, V::Zero());
  const typename V::F minus_abs = V::Select(negative, x, V::Sub(V::Zero(), x));
  const typename V::F e = Exp<V>(minus_abs);
  return {V::Select(negative, e, V::Set(1.0f)), V::Add(V::Set(1.0f), e)};
}

/// 1 / (1 + e^-x). Error <= 2.5 ulp.
template <class V>
inline typename V::F Sigmoid(typename V::F x) {
  const SigmoidParts<V> parts = SigmoidOf<V>(x);
  return V::Div(parts.numerator, parts.denominator);
}

/// x / (1 + e^-x). Error <= 3 ulp.
template <class V>
inline typename V::F Silu(typename V::F x) {
  const SigmoidParts<V> parts = SigmoidOf<V>(x);
  return V::Div(V::Mul(x, parts.numerator), parts.denominator);
}

/// sqrt(log(1 + e^x)), with softplus(x) = x above 20. Error <= 2.5 ulp.
template <class V>
inline typename V::F SqrtSoftplus(typename V::F x) {
  const typename V::Mask large = V::Less(V::Set(20.0f), x);
  const typename V::F softplus = Log1p<V>(Exp<V>(V::Min(V::Set(20.0f), x)));
  return V::Sqrt(V::Select(large, x, softplus));
}

}  // namespace baleen::kernels::cpu
