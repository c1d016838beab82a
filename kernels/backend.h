// Backend: the arithmetic of DeepSeek-V4 at the granularity of its stages.
//
// Knows no model, no file, no session. `kernels/ref` is the oracle of every op (slow, obvious,
// double accumulation); `kernels/cpu` is what runs. Called by model/ only.
//
// Every op is row independent: what it computes for one token depends on that token's operands and
// on nothing else in the call: not on the number of tokens, the chunking, or the thread count.
// The defining reduction orders of the cpu backend (arithmetic revision 1), all fp32:
// - Linear: one accumulator per output, fused multiply-add, k ascending.
// - Row sums (norms, score dot products): 16 strided accumulators (lane = index mod 16), FMA,
//   ascending; then the lanes are added in a fixed tree 8-4-2-1.
// - Softmax: max, then exp, then the sum in key order (the sink last); weighted sums of values by
//   FMA in key order; one division at the end.
// - Index score: per head the dot product, k ascending; relu; FMA into the sum, heads ascending.
// - mHC: collapse and expand by FMA, streams ascending; Sinkhorn in straight left-to-right sums.
// - Experts (the caller's sum): ascending expert id, shared expert last.
// exp, log1p and friends are our own polynomials, so that all instruction sets give equal bits.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "kernels/dtype.h"

namespace baleen::kernels {

/// How compressed KV rows are stored. kPacked: E4M3 codes + E8M0 scales + bf16 rope for entries,
/// E2M1 codes + E8M0 scales for index keys. kFloat: plain fp32 (mode `pure`).
enum class RowFormat { kPacked, kFloat };

inline constexpr int kKvScaleBlock = 64;     ///< Channels per E8M0 scale of a packed entry.
inline constexpr int kIndexScaleBlock = 32;  ///< Channels per E8M0 scale of a packed index key.

/// A weight matrix in a file's format; y = x W^T with W [rows, cols].
/// Borrows: all pointers, until Pack returns.
struct MatrixSource {
  DType dtype = DType::kF32;          ///< kF32, kBf16, kF16, kF8E4M3 or kFp4 (packed along cols).
  const std::byte* values = nullptr;  ///< [rows, cols] row major.
  int64_t rows = 0;
  int64_t cols = 0;
  DType scale_dtype = DType::kF8E8M0;  ///< kF8E8M0 or kF32.
  const std::byte* scales =
      nullptr;  ///< Null: no scales. [ceil(rows/block_rows), ceil(cols/block_cols)].
  int64_t scale_block_rows = 0;
  int64_t scale_block_cols = 0;
};

/// A weight matrix as a backend keeps it. Immutable; may be shared by threads.
class PackedMatrix {
 public:
  virtual ~PackedMatrix() = default;
  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }

 protected:
  PackedMatrix(int64_t rows, int64_t cols) : rows_(rows), cols_(cols) {}

 private:
  int64_t rows_;
  int64_t cols_;
};

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

/// Planes of a run of stored rows; which are set depends on the format.
struct RowPlanes {
  const uint8_t* codes =
      nullptr;  ///< entries: [rows, nope] E4M3; index keys: [rows, dim/2] E2M1 pairs.
  const uint8_t* scales =
      nullptr;  ///< entries: [rows, ceil(nope/64)]; index keys: [rows, ceil(dim/32)].
  const uint16_t* rope = nullptr;  ///< entries: [rows, rope] bf16; index keys: null.
  const float* values = nullptr;   ///< kFloat: [rows, dim].
};

struct MutableRowPlanes {
  uint8_t* codes = nullptr;
  uint8_t* scales = nullptr;
  uint16_t* rope = nullptr;
  float* values = nullptr;
};

/// Rows behind a block table: row j lives in tables[j / rows_per_block] at j % rows_per_block. The
/// last table entry may be a partly filled private tail.
struct PagedRows {
  RowFormat format = RowFormat::kPacked;
  std::span<const RowPlanes> tables;
  int64_t rows_per_block = 0;
  int64_t rows = 0;
  int64_t dim = 0;   ///< Channels of a row.
  int64_t rope = 0;  ///< Of these, the last `rope` are rotary (0 for index keys).
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

/// One device's arithmetic.
/// Threads: an op may be called from one thread at a time per Backend; a backend may fork and join
/// its own pool inside. Pack may be called from any thread.
/// Errors: none; shapes were checked when the model was opened.
class Backend {
 public:
  virtual ~Backend() = default;
  /// "ref" or "cpu".
  virtual std::string_view name() const = 0;
  /// Revision of the defining reduction orders; part of the arithmetic id.
  virtual int arithmetic_revision() const = 0;
  /// Human-readable instruction set in use, e.g. "avx512".
  virtual std::string_view instruction_set() const = 0;
  virtual int threads() const = 0;

  virtual std::unique_ptr<PackedMatrix> Pack(const MatrixSource& source) const = 0;
  virtual void Linear(const LinearParams& params) = 0;
  virtual void RmsNorm(const RmsNormParams& params) = 0;
  virtual void Rope(const RopeParams& params) = 0;
  virtual void HcGates(const HcGatesParams& params) = 0;
  virtual void HcCollapse(const HcCollapseParams& params) = 0;
  virtual void HcExpand(const HcExpandParams& params) = 0;
  virtual void GatedPool(const GatedPoolParams& params) = 0;
  virtual void StoreEntries(const StoreEntriesParams& params) = 0;
  virtual void LoadEntries(const LoadEntriesParams& params) = 0;
  virtual void StoreIndexKeys(const StoreIndexKeysParams& params) = 0;
  virtual void IndexQuery(const IndexQueryParams& params) = 0;
  virtual void IndexTopK(const IndexTopKParams& params) = 0;
  virtual void SparseAttention(const SparseAttentionParams& params) = 0;
  virtual void Route(const RouteParams& params) = 0;
  virtual void SwiGlu(const SwiGluParams& params) = 0;
};

/// The backend called `name` ("ref", "cpu"), or null if there is none.
/// `threads` <= 0: one per core.
std::unique_ptr<Backend> MakeBackend(std::string_view name, int threads);

/// Names of the backends in this build, best first.
std::span<const std::string_view> BackendNames();

}  // namespace baleen::kernels
