// 16 fp32 lanes as one AVX-512 register. Included by leaf_avx512.cc only.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace baleen::kernels::cpu {

struct Avx512Lanes {
  using F = __m512;
  using I = __m512i;
  using Mask = __mmask16;
  static constexpr int kLinearTokens = 12;  ///< 24 accumulators of 32 registers.
  static constexpr int kDotBlock = 4;       ///< 4 x 4 accumulators.

  static F Zero() { return _mm512_setzero_ps(); }
  static F Set(float v) { return _mm512_set1_ps(v); }
  static F Load(const float* p) { return _mm512_loadu_ps(p); }
  static void Store(float* p, F v) { _mm512_storeu_ps(p, v); }
  static F LoadPartial(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(Low(n), p); }
  static void StorePartial(float* p, int64_t n, F v) { _mm512_mask_storeu_ps(p, Low(n), v); }

  static F Add(F a, F b) { return _mm512_add_ps(a, b); }
  static F Sub(F a, F b) { return _mm512_sub_ps(a, b); }
  static F Mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static F Div(F a, F b) { return _mm512_div_ps(a, b); }
  static F Fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static F Sqrt(F a) { return _mm512_sqrt_ps(a); }
  static F Min(F a, F b) { return _mm512_min_ps(a, b); }  ///< a < b ? a : b
  static F Max(F a, F b) { return _mm512_max_ps(a, b); }  ///< a > b ? a : b
  static Mask Less(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
  static F Select(Mask m, F a, F b) { return _mm512_mask_blend_ps(m, b, a); }

  static I SetInt(int32_t v) { return _mm512_set1_epi32(v); }
  static I AsInt(F v) { return _mm512_castps_si512(v); }
  static F AsFloat(I v) { return _mm512_castsi512_ps(v); }
  static I AddInt(I a, I b) { return _mm512_add_epi32(a, b); }
  static I SubInt(I a, I b) { return _mm512_sub_epi32(a, b); }
  static I And(I a, I b) { return _mm512_and_si512(a, b); }
  static I ShiftLeft(I a, int n) { return _mm512_sll_epi32(a, _mm_cvtsi32_si128(n)); }
  static I ShiftRight(I a, int n) { return _mm512_srl_epi32(a, _mm_cvtsi32_si128(n)); }
  static I ShiftRightSigned(I a, int n) { return _mm512_sra_epi32(a, _mm_cvtsi32_si128(n)); }

  /// 16 words: the low halves are the bf16 bits of `low`, the high halves of `high`.
  static void LoadBf16Pair(const uint32_t* p, F& low, F& high) {
    const I words = _mm512_loadu_si512(p);
    low = _mm512_castsi512_ps(_mm512_slli_epi32(words, 16));
    high = _mm512_castsi512_ps(_mm512_and_si512(words, _mm512_set1_epi32(-65536)));
  }
  /// Word at p + lane * stride bytes.
  static I GatherWords(const uint8_t* p, int32_t stride) {
    const I lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return _mm512_i32gather_epi32(_mm512_mullo_epi32(lanes, _mm512_set1_epi32(stride)), p, 1);
  }
  /// Values of the E2M1 codes in the low four bits; higher bits are ignored.
  static F DecodeE2M1(I codes) {
    const F table = _mm512_setr_ps(0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f, -0.0f, -0.5f,
                                   -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f);
    return _mm512_permutexvar_ps(codes, table);
  }
  /// Sum of the lanes in the order 8-4-2-1.
  static float ReduceAdd(F v) {
    const __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1));
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v), high);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
  }

 private:
  static Mask Low(int64_t n) { return static_cast<Mask>((1u << n) - 1u); }
};

}  // namespace baleen::kernels::cpu
