// The operands of every op of a backend, and what the op makes of them.
//
// All pointers are borrowed until the op returns; kernels/backend.h defines the arithmetic.
#pragma once

#include <cstdint>

#include "kernels/matrix.h"
#include "kernels/row_format.h"

namespace baleen::kernels {

struct LinearParams {
  const float* x = nullptr;  ///< [tokens, cols], row t at x + t*x_stride.
  int64_t x_stride = 0;
  const PackedMatrix* w = nullptr;
  float* out = nullptr;  ///< [tokens, rows], row t at out + t*out_stride.
  int64_t out_stride = 0;
  int64_t tokens = 0;
};

struct RmsNormParams {
  const float* x = nullptr;       ///< [rows, dim], contiguous.
  const float* weight = nullptr;  ///< [dim], or null for the weightless head norm.
  float* out = nullptr;           ///< [rows, dim]; may equal x.
  int64_t rows = 0;
  int64_t dim = 0;
  float eps = 0;
};

enum class RopeDirection { kForward, kInverse };

/// Rotates interleaved pairs of the last `2*pairs` channels of every vector, in place.
/// The angle is fl32(position * inv_freq[i]).  Source: spec section 2.5.1.
struct RopeParams {
  float* x = nullptr;  ///< [tokens, heads, dim], contiguous.
  int64_t tokens = 0;
  int64_t heads = 0;
  int64_t dim = 0;
  const int64_t* positions = nullptr;  ///< [tokens]
  const float* inv_freq = nullptr;     ///< [pairs]
  int64_t pairs = 0;
  RopeDirection direction = RopeDirection::kForward;
};

inline constexpr int kHcMultMax = 8;

/// mHC gates of one site.  Source: spec section 2.4 (row softmax, +eps, column, then
/// (iterations-1) x (rows, columns)).
struct HcGatesParams {
  const float* streams = nullptr;  ///< [tokens, mult, dim]
  const PackedMatrix* fn =
      nullptr;                   ///< [(2+mult)*mult, mult*dim]; for the head mix [mult, mult*dim].
  const float* base = nullptr;   ///< [fn rows]
  const float* scale = nullptr;  ///< [3]; for the head mix [1].
  int64_t tokens = 0;
  int64_t mult = 0;
  int64_t dim = 0;
  int sinkhorn_iterations = 0;
  float hc_eps = 0;
  float norm_eps = 0;
  float* pre = nullptr;   ///< [tokens, mult]
  float* post = nullptr;  ///< [tokens, mult]; null for the head mix.
  float* comb =
      nullptr;  ///< [tokens, mult, mult], first index = source stream; null for the head mix.
};

/// out[t] = sum_i pre[t][i] * streams[t][i].
struct HcCollapseParams {
  const float* streams = nullptr;  ///< [tokens, mult, dim]
  const float* pre = nullptr;      ///< [tokens, mult]
  float* out = nullptr;            ///< [tokens, dim]
  int64_t tokens = 0;
  int64_t mult = 0;
  int64_t dim = 0;
};

/// streams[t][k] = post[t][k]*y[t] + sum_j comb[t][j][k]*streams[t][j], in place.
struct HcExpandParams {
  float* streams = nullptr;     ///< [tokens, mult, dim]
  const float* y = nullptr;     ///< [tokens, dim]
  const float* post = nullptr;  ///< [tokens, mult]
  const float* comb = nullptr;  ///< [tokens, mult, mult]
  int64_t tokens = 0;
  int64_t mult = 0;
  int64_t dim = 0;
};

/// Per-channel softmax over slots: out[e][c] = sum_s softmax_s(gate[e][s][c]) * value[e][s][c].
/// A gate of -inf gives weight 0; a channel without slots gives 0. Slot order ascending.
/// Source: spec section 2.5.7.
struct GatedPoolParams {
  const float* value = nullptr;  ///< [entries, slots, dim]
  const float* gate = nullptr;   ///< [entries, slots, dim]
  float* out = nullptr;          ///< [entries, dim]
  int64_t entries = 0;
  int64_t slots = 0;
  int64_t dim = 0;
};

/// Stores finished entries (post norm, post rope): E4M3 round trip of the first dim-rope channels
/// in blocks of 64, bf16 of the rest; plain copy in kFloat.  Source: spec section 3.3, 3.4.
struct StoreEntriesParams {
  const float* x = nullptr;  ///< [rows, dim]
  int64_t rows = 0;
  int64_t dim = 0;
  int64_t rope = 0;
  RowFormat format = RowFormat::kPacked;
  MutableRowPlanes out;  ///< Planes at the first destination row.
};

/// Reads stored entries back as fp32.
struct LoadEntriesParams {
  RowPlanes in;
  int64_t rows = 0;
  int64_t dim = 0;
  int64_t rope = 0;
  RowFormat format = RowFormat::kPacked;
  float* out = nullptr;  ///< [rows, dim]
};

/// Index keys: kPacked multiplies by the Sylvester-Hadamard matrix / sqrt(dim) (dim a power of
/// two), then E2M1 round trip in blocks of 32; kFloat copies.  Source: spec section 2.5.7, 3.5.
struct StoreIndexKeysParams {
  const float* x = nullptr;  ///< [rows, dim]
  int64_t rows = 0;
  int64_t dim = 0;
  RowFormat format = RowFormat::kPacked;
  MutableRowPlanes out;
};

/// The same transformation of index queries, in place in fp32 (kFloat: nothing happens).
struct IndexQueryParams {
  float* x = nullptr;  ///< [rows, dim]
  int64_t rows = 0;
  int64_t dim = 0;
  RowFormat format = RowFormat::kPacked;
};

/// Scores every visible index key and keeps the best `topk` per token; ties go to the lower row.
/// score[j] = sum_h relu(q[h] . key[j]) * weight[h].  Source: spec section 2.5.8.
struct IndexTopKParams {
  const float* q = nullptr;        ///< [tokens, heads, dim]
  const float* weights = nullptr;  ///< [tokens, heads], signed, already scaled.
  PagedRows keys;
  const int64_t* visible = nullptr;  ///< [tokens]: rows [0, visible[t]) take part; ascending in t.
  int64_t tokens = 0;
  int64_t heads = 0;
  int64_t topk = 0;
  int32_t* selected = nullptr;  ///< [tokens, topk], ascending, padded with -1.
};

/// Sparse attention with shared K=V, a sliding window, selected or all entries, and a sink.
/// Key order: window oldest to newest, then entries ascending. The sink takes part in the
/// denominator only. A token without keys gets zeros.  Source: spec section 2.5.4, 2.5.5.
struct SparseAttentionParams {
  const float* q = nullptr;  ///< [tokens, heads, dim]
  /// [window_rows, dim] fp32; token t sees rows [window_begin[t], window_end[t]).
  const float* window = nullptr;
  const int64_t* window_begin = nullptr;  ///< [tokens]
  const int64_t* window_end = nullptr;    ///< [tokens]
  PagedRows entries;                      ///< rows == 0: none.
  /// [tokens, topk] ascending, -1 padded; null: all of [0, visible[t]).
  const int32_t* selected = nullptr;
  int64_t topk = 0;
  const int64_t* visible = nullptr;  ///< [tokens]; used when `selected` is null.
  const float* sink = nullptr;       ///< [heads], or null for none.
  float scale = 0;
  float* out = nullptr;  ///< [tokens, heads, dim]; must not overlap q.
  int64_t tokens = 0;
  int64_t heads = 0;
  int64_t dim = 0;
};

/// Expert choice. Scores s = sqrt(softplus(logit)). Either the top `topk` of s + bias (ties: lower
/// id), or the given ids. Weights s/sum * route_scale, ids ascending.  Source: spec section 2.6.
struct RouteParams {
  const float* logits = nullptr;    ///< [tokens, experts]
  const float* bias = nullptr;      ///< [experts]; null with `forced`.
  const int32_t* forced = nullptr;  ///< [tokens, topk] from the hash table, or null.
  int64_t tokens = 0;
  int64_t experts = 0;
  int64_t topk = 0;
  float route_scale = 0;
  int32_t* ids = nullptr;    ///< [tokens, topk], ascending.
  float* weights = nullptr;  ///< [tokens, topk]
};

/// out = weight[r] * silu(min(gate, limit)) * clamp(up, -limit, limit); limit <= 0: no clamp.
struct SwiGluParams {
  const float* gate = nullptr;    ///< [rows, dim]
  const float* up = nullptr;      ///< [rows, dim]
  const float* weight = nullptr;  ///< [rows], or null for 1.
  float* out = nullptr;           ///< [rows, dim]
  int64_t rows = 0;
  int64_t dim = 0;
  float limit = 0;
};

}  // namespace baleen::kernels
