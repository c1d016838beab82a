// Matrix product with any strides: operands are packed into panels, then multiplied tile by tile.
//
// One output is one accumulator per block of kGemmDepth, k ascending inside it, blocks ascending;
// the result depends on the instruction set's tile shape and fused operations, not on the data.
// Forward, dX and dW are this product with other strides.
#pragma once

#include "model/training/ops/op_table.h"
#include "model/training/ops/real_math.h"

namespace baleen::training {

inline constexpr int64_t kGemmDepth = 256;  ///< k of a packed block.
inline constexpr int64_t kGemmRows = 192;   ///< m of a packed block of a: 192 KiB, second cache.
inline constexpr int64_t kGemmCols = 1024;  ///< n of a packed block of b.

/// Packed panels of `kTile` rows (or columns): [panel][k][kTile], short panels padded with zeros.
/// `outer` strides along the rows of the panel, `inner` along k.
template <class T, int64_t kTile>
BALEEN_OP_INLINE void PackPanels(const T* from, int64_t outer, int64_t inner, int64_t count,
                                 int64_t depth, T* to) {
  for (int64_t first = 0; first < count; first += kTile) {
    const int64_t n = MinOf(kTile, count - first);
    const T* source = from + first * outer;
    if (n == kTile && outer == 1) {
      for (int64_t k = 0; k < depth; ++k) {
        for (int64_t i = 0; i < kTile; ++i) to[k * kTile + i] = source[k * inner + i];
      }
    } else if (n == kTile) {
      for (int64_t k = 0; k < depth; ++k) {
        for (int64_t i = 0; i < kTile; ++i) to[k * kTile + i] = source[i * outer + k * inner];
      }
    } else {
      for (int64_t k = 0; k < depth; ++k) {
        for (int64_t i = 0; i < kTile; ++i) {
          to[k * kTile + i] = i < n ? source[i * outer + k * inner] : T(0);
        }
      }
    }
    to += kTile * depth;
  }
}

/// c tile (+)= alpha * a panel * b panel. Isa::Vector holds Isa::kWidth numbers.
template <class T, class Isa>
BALEEN_OP_INLINE void GemmTile(const T* a, const T* b, int64_t depth, T alpha, bool accumulate,
                               int64_t rows, int64_t cols, T* c, int64_t c_row) {
  using V = typename Isa::template Vector<T>;
  constexpr int64_t kWidth = static_cast<int64_t>(sizeof(V) / sizeof(T));
  constexpr int64_t kTileRows = Isa::kTileRows;
  V low[kTileRows];
  V high[kTileRows];
#pragma GCC unroll 16
  for (int64_t i = 0; i < kTileRows; ++i) low[i] = high[i] = V{};
  for (int64_t k = 0; k < depth; ++k) {
    V b_low;
    V b_high;
    __builtin_memcpy(&b_low, b, sizeof(V));
    __builtin_memcpy(&b_high, b + kWidth, sizeof(V));
#pragma GCC unroll 16
    for (int64_t i = 0; i < kTileRows; ++i) {
      low[i] += a[i] * b_low;
      high[i] += a[i] * b_high;
    }
    a += kTileRows;
    b += 2 * kWidth;
  }
  if (rows == kTileRows && cols == 2 * kWidth) {
#pragma GCC unroll 16
    for (int64_t i = 0; i < kTileRows; ++i) {
      T* out = c + i * c_row;
      V was_low = {};
      V was_high = {};
      if (accumulate) {
        __builtin_memcpy(&was_low, out, sizeof(V));
        __builtin_memcpy(&was_high, out + kWidth, sizeof(V));
      }
      was_low += alpha * low[i];
      was_high += alpha * high[i];
      __builtin_memcpy(out, &was_low, sizeof(V));
      __builtin_memcpy(out + kWidth, &was_high, sizeof(V));
    }
    return;
  }
  T block[kTileRows][2 * kWidth];
#pragma GCC unroll 16
  for (int64_t i = 0; i < kTileRows; ++i) {
    __builtin_memcpy(block[i], &low[i], sizeof(V));
    __builtin_memcpy(block[i] + kWidth, &high[i], sizeof(V));
  }
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < cols; ++j) {
      c[i * c_row + j] = (accumulate ? c[i * c_row + j] : T(0)) + alpha * block[i][j];
    }
  }
}

template <class T, class Isa>
void Gemm(const GemmParams<T>& p) {
  using V = typename Isa::template Vector<T>;
  constexpr int64_t kTileCols = 2 * static_cast<int64_t>(sizeof(V) / sizeof(T));
  constexpr int64_t kTileRows = Isa::kTileRows;
  T* a_pack = p.pack;
  T* b_pack = p.pack + (kGemmRows + kTileRows) * kGemmDepth;
  for (int64_t n0 = 0; n0 < p.n; n0 += kGemmCols) {
    const int64_t n = MinOf(kGemmCols, p.n - n0);
    for (int64_t k0 = 0; k0 < p.k; k0 += kGemmDepth) {
      const int64_t depth = MinOf(kGemmDepth, p.k - k0);
      const bool accumulate = p.accumulate || k0 > 0;
      PackPanels<T, kTileCols>(p.b + k0 * p.b_row + n0 * p.b_col, p.b_col, p.b_row, n, depth,
                               b_pack);
      for (int64_t m0 = 0; m0 < p.m; m0 += kGemmRows) {
        const int64_t m = MinOf(kGemmRows, p.m - m0);
        PackPanels<T, kTileRows>(p.a + m0 * p.a_row + k0 * p.a_col, p.a_row, p.a_col, m, depth,
                                 a_pack);
        for (int64_t j = 0; j < n; j += kTileCols) {
          const T* b = b_pack + j * depth;
          for (int64_t i = 0; i < m; i += kTileRows) {
            T* c = p.c + (m0 + i) * p.c_row + n0 + j;
            GemmTile<T, Isa>(a_pack + i * depth, b, depth, p.alpha, accumulate,
                             MinOf(kTileRows, m - i), MinOf(kTileCols, n - j), c, p.c_row);
          }
        }
      }
    }
  }
}

}  // namespace baleen::training
