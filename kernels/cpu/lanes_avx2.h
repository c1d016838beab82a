// 16 fp32 lanes as two AVX2 registers. Included by leaf_avx2.cc only.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace baleen::kernels::cpu {

struct Avx2Lanes {
  struct F {
    __m256 low, high;
  };
  struct I {
    __m256i low, high;
  };
  using Mask = F;                          ///< All bits of a lane set or clear.
  static constexpr int kLinearTokens = 2;  ///< 8 accumulators and 4 weights of 16 registers.
  static constexpr int kDotBlock = 2;

  static F Zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  static F Set(float v) { return {_mm256_set1_ps(v), _mm256_set1_ps(v)}; }
  static F Load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  static void Store(float* p, F v) {
    _mm256_storeu_ps(p, v.low);
    _mm256_storeu_ps(p + 8, v.high);
  }
  static F LoadPartial(const float* p, int64_t n) {
    float full[16] = {};
    for (int64_t i = 0; i < n; ++i) full[i] = p[i];
    return Load(full);
  }
  static void StorePartial(float* p, int64_t n, F v) {
    float full[16];
    Store(full, v);
    for (int64_t i = 0; i < n; ++i) p[i] = full[i];
  }

  static F Add(F a, F b) { return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
  static F Sub(F a, F b) { return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)}; }
  static F Mul(F a, F b) { return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)}; }
  static F Div(F a, F b) { return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)}; }
  static F Fma(F a, F b, F c) {
    return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
  }
  static F Sqrt(F a) { return {_mm256_sqrt_ps(a.low), _mm256_sqrt_ps(a.high)}; }
  static F Min(F a, F b) { return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)}; }
  static F Max(F a, F b) { return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)}; }
  static Mask Less(F a, F b) {
    return {_mm256_cmp_ps(a.low, b.low, _CMP_LT_OQ), _mm256_cmp_ps(a.high, b.high, _CMP_LT_OQ)};
  }
  static F Select(Mask m, F a, F b) {
    return {_mm256_blendv_ps(b.low, a.low, m.low), _mm256_blendv_ps(b.high, a.high, m.high)};
  }

  static I SetInt(int32_t v) { return {_mm256_set1_epi32(v), _mm256_set1_epi32(v)}; }
  static I AsInt(F v) { return {_mm256_castps_si256(v.low), _mm256_castps_si256(v.high)}; }
  static F AsFloat(I v) { return {_mm256_castsi256_ps(v.low), _mm256_castsi256_ps(v.high)}; }
  static I AddInt(I a, I b) {
    return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)};
  }
  static I SubInt(I a, I b) {
    return {_mm256_sub_epi32(a.low, b.low), _mm256_sub_epi32(a.high, b.high)};
  }
  static I And(I a, I b) {
    return {_mm256_and_si256(a.low, b.low), _mm256_and_si256(a.high, b.high)};
  }
  static I ShiftLeft(I a, int n) {
    const __m128i count = _mm_cvtsi32_si128(n);
    return {_mm256_sll_epi32(a.low, count), _mm256_sll_epi32(a.high, count)};
  }
  static I ShiftRight(I a, int n) {
    const __m128i count = _mm_cvtsi32_si128(n);
    return {_mm256_srl_epi32(a.low, count), _mm256_srl_epi32(a.high, count)};
  }
  static I ShiftRightSigned(I a, int n) {
    const __m128i count = _mm_cvtsi32_si128(n);
    return {_mm256_sra_epi32(a.low, count), _mm256_sra_epi32(a.high, count)};
  }

  static void LoadBf16Pair(const uint32_t* p, F& low, F& high) {
    const I words = {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
                     _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 8))};
    low = AsFloat(ShiftLeft(words, 16));
    high = AsFloat(And(words, SetInt(-65536)));
  }
  static I GatherWords(const uint8_t* p, int32_t stride) {
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i offsets = _mm256_mullo_epi32(lanes, _mm256_set1_epi32(stride));
    return {_mm256_i32gather_epi32(reinterpret_cast<const int*>(p), offsets, 1),
            _mm256_i32gather_epi32(reinterpret_cast<const int*>(p + 8 * stride), offsets, 1)};
  }
  static F DecodeE2M1(I codes) { return {DecodeHalf(codes.low), DecodeHalf(codes.high)}; }
  static float ReduceAdd(F v) {
    const __m256 eight = _mm256_add_ps(v.low, v.high);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
  }

 private:
  static __m256 DecodeHalf(__m256i codes) {
    const __m256 table = _mm256_setr_ps(0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f);
    const __m256i sign = _mm256_slli_epi32(_mm256_and_si256(codes, _mm256_set1_epi32(8)), 28);
    return _mm256_or_ps(_mm256_permutevar8x32_ps(table, codes), _mm256_castsi256_ps(sign));
  }
};

}  // namespace baleen::kernels::cpu
