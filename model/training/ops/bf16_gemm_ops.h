// Matrix product whose operands are rounded to bf16 while they are packed; sums are fp32.
//
// Panels hold pairs of neighbouring k, as the instruction wants them; an odd k is padded with zero.
// Included by op_table_avx512_bf16.cc only.
#pragma once

#include <immintrin.h>

#include "model/training/ops/op_table.h"
#include "model/training/ops/real_math.h"

namespace baleen::training {

inline constexpr int64_t kBf16Depth = 512;  ///< k of a packed block; even.
inline constexpr int64_t kBf16Rows = 192;   ///< m of a packed block of a.
inline constexpr int64_t kBf16Cols = 1024;  ///< n of a packed block of b.
inline constexpr int64_t kBf16TileRows = 12;
inline constexpr int64_t kBf16TileCols = 32;

/// Round to nearest even; NaN stays NaN or becomes infinity, which the loss shows either way.
BALEEN_OP_INLINE uint32_t Bf16Of(float x) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, x);
  return (bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16;
}
BALEEN_OP_INLINE uint32_t Bf16Pair(float first, float second) {
  return Bf16Of(first) | Bf16Of(second) << 16;
}

/// [panel][depth / 2][kTile] pairs; `outer` strides along the panel, `inner` along k.
template <int64_t kTile>
BALEEN_OP_INLINE void PackPairs(const float* from, int64_t outer, int64_t inner, int64_t count,
                                int64_t depth, uint32_t* to) {
  const int64_t pairs = (depth + 1) / 2;
  for (int64_t first = 0; first < count; first += kTile) {
    const int64_t n = MinOf(kTile, count - first);
    const float* source = from + first * outer;
    for (int64_t k = 0; k < pairs; ++k) {
      const float* even = source + 2 * k * inner;
      const float* odd = even + inner;
      uint32_t* out = to + k * kTile;
      const bool last = 2 * k + 1 == depth;
      if (n == kTile && !last) {
        for (int64_t i = 0; i < kTile; ++i) out[i] = Bf16Pair(even[i * outer], odd[i * outer]);
      } else {
        for (int64_t i = 0; i < kTile; ++i) {
          out[i] = i < n ? Bf16Pair(even[i * outer], last ? 0.0F : odd[i * outer]) : 0;
        }
      }
    }
    to += kTile * pairs;
  }
}

BALEEN_OP_INLINE __m512 DotPairs(__m512 sum, __m512i a, __m512i b) {
  return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}

BALEEN_OP_INLINE void Bf16Tile(const uint32_t* a, const uint32_t* b, int64_t pairs, float alpha,
                               bool accumulate, int64_t rows, int64_t cols, float* c,
                               int64_t c_row) {
  __m512 low[kBf16TileRows];
  __m512 high[kBf16TileRows];
#pragma GCC unroll 16
  for (int64_t i = 0; i < kBf16TileRows; ++i) low[i] = high[i] = _mm512_setzero_ps();
  for (int64_t k = 0; k < pairs; ++k) {
    const __m512i b_low = _mm512_loadu_si512(b);
    const __m512i b_high = _mm512_loadu_si512(b + 16);
#pragma GCC unroll 16
    for (int64_t i = 0; i < kBf16TileRows; ++i) {
      const __m512i value = _mm512_set1_epi32(static_cast<int32_t>(a[i]));
      low[i] = DotPairs(low[i], value, b_low);
      high[i] = DotPairs(high[i], value, b_high);
    }
    a += kBf16TileRows;
    b += kBf16TileCols;
  }
  const __m512 factor = _mm512_set1_ps(alpha);
  const auto mask = [](int64_t n) {
    return static_cast<__mmask16>(n >= 16 ? 0xFFFF : n <= 0 ? 0 : (1 << n) - 1);
  };
  const __mmask16 low_mask = mask(cols);
  const __mmask16 high_mask = mask(cols - 16);
#pragma GCC unroll 16
  for (int64_t i = 0; i < kBf16TileRows; ++i) {
    if (i >= rows) break;
    float* out = c + i * c_row;
    const __m512 was_low = accumulate ? _mm512_maskz_loadu_ps(low_mask, out) : _mm512_setzero_ps();
    const __m512 was_high =
        accumulate ? _mm512_maskz_loadu_ps(high_mask, out + 16) : _mm512_setzero_ps();
    _mm512_mask_storeu_ps(out, low_mask, _mm512_fmadd_ps(low[i], factor, was_low));
    _mm512_mask_storeu_ps(out + 16, high_mask, _mm512_fmadd_ps(high[i], factor, was_high));
  }
}

static void Bf16Gemm(const GemmParams<float>& p) {
  auto* a_pack = reinterpret_cast<uint32_t*>(p.pack);
  uint32_t* b_pack = a_pack + (kBf16Rows + kBf16TileRows) * kBf16Depth / 2;
  for (int64_t n0 = 0; n0 < p.n; n0 += kBf16Cols) {
    const int64_t n = MinOf(kBf16Cols, p.n - n0);
    for (int64_t k0 = 0; k0 < p.k; k0 += kBf16Depth) {
      const int64_t depth = MinOf(kBf16Depth, p.k - k0);
      const int64_t pairs = (depth + 1) / 2;
      const bool accumulate = p.accumulate || k0 > 0;
      PackPairs<kBf16TileCols>(p.b + k0 * p.b_row + n0 * p.b_col, p.b_col, p.b_row, n, depth,
                               b_pack);
      for (int64_t m0 = 0; m0 < p.m; m0 += kBf16Rows) {
        const int64_t m = MinOf(kBf16Rows, p.m - m0);
        PackPairs<kBf16TileRows>(p.a + m0 * p.a_row + k0 * p.a_col, p.a_row, p.a_col, m, depth,
                                 a_pack);
        for (int64_t j = 0; j < n; j += kBf16TileCols) {
          for (int64_t i = 0; i < m; i += kBf16TileRows) {
            Bf16Tile(a_pack + i * pairs, b_pack + j * pairs, pairs, p.alpha, accumulate, m - i,
                     n - j, p.c + (m0 + i) * p.c_row + n0 + j, p.c_row);
          }
        }
      }
    }
  }
}

}  // namespace baleen::training
