// The arithmetic of training as one table of functions per instruction set.
//
// Every op comes as a forward and a backward function over raw arrays. Backward functions ADD to
// the gradients of weights, and say for each activation gradient whether they add or set. Each sum
// has one order, so that a table gives the same bits on every run; tables differ in the last bits.
// Ops see no threads, no allocation and no standard containers: an inline library function compiled
// for AVX-512 could be linked into code that runs elsewhere. Written once as templates over the
// number type, so that gradients are checked in double.
#pragma once

#include <cstdint>

namespace baleen::training {

/// c[m, n] = alpha * a[m, k] b[k, n] (+ c). Any strides; c's columns are adjacent.
template <class T>
struct GemmParams {
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
  const T* a = nullptr;
  int64_t a_row = 0;
  int64_t a_col = 0;
  const T* b = nullptr;
  int64_t b_row = 0;
  int64_t b_col = 0;
  T* c = nullptr;
  int64_t c_row = 0;
  T alpha = 1;
  bool accumulate = false;
  T* pack = nullptr;  ///< Scratch of kGemmPackElements.
};
inline constexpr int64_t kGemmPackElements = 512 * 1024;

/// y = weight * x * rstd, rstd = 1 / sqrt(mean(x^2) + eps). A null weight is all ones.
template <class T>
struct RmsNormParams {
  const T* x = nullptr;
  const T* weight = nullptr;
  T* y = nullptr;
  T* rstd = nullptr;  ///< [rows]
  int64_t rows = 0;
  int64_t dim = 0;
  T eps = 0;
};
/// Sets dx; dx may be dy.
template <class T>
struct RmsNormGradParams {
  const T* x = nullptr;
  const T* weight = nullptr;
  const T* rstd = nullptr;
  const T* dy = nullptr;
  T* dx = nullptr;
  T* dweight = nullptr;
  int64_t rows = 0;
  int64_t dim = 0;
};

/// Rotates the last 2 * pairs channels of each head, in place, by the angles of row position[row].
template <class T>
struct RopeParams {
  T* x = nullptr;  ///< [rows, heads, dim]
  int64_t rows = 0;
  int64_t heads = 0;
  int64_t dim = 0;
  int64_t pairs = 0;
  const T* cosine = nullptr;  ///< [positions, pairs]
  const T* sine = nullptr;
  const int32_t* position = nullptr;
  bool inverse = false;
};

/// Query heads: norm without a weight, then rope, in place.
template <class T>
struct HeadNormGradParams {
  const T* q = nullptr;     ///< [rows, heads, dim] normalised and rotated.
  const T* rstd = nullptr;  ///< [rows, heads]
  T* dq = nullptr;          ///< In place, before the inverse rotation: gradient of q in, of x out.
  int64_t rows = 0;         ///< rows * heads
  int64_t dim = 0;
};

/// More iterations than any model has; bounds the stack of the gates' gradient.
inline constexpr int64_t kSinkhornIterationsMax = 64;

/// Gates of a hyper-connection site from mix = streams fn^T (before the norm factor).
/// Source: spec section 2.4. For the head mix post and comb are null.
template <class T>
struct HcGatesParams {
  const T* streams = nullptr;  ///< [tokens, mult * dim]
  const T* mix = nullptr;      ///< [tokens, gates]; gates = mult * (2 + mult), head mix: mult.
  const T* base = nullptr;     ///< [gates]
  const T* scale = nullptr;    ///< [3]; head mix: [1].
  int64_t tokens = 0;
  int64_t mult = 0;
  int64_t dim = 0;
  int64_t iterations = 0;
  T hc_eps = 0;
  T norm_eps = 0;
  T* rho = nullptr;   ///< [tokens]
  T* pre = nullptr;   ///< [tokens, mult]
  T* post = nullptr;  ///< [tokens, mult]
  T* comb = nullptr;  ///< [tokens, mult, mult], first index the source stream.
};
/// Sets dmix and drho_over_streams; the caller multiplies dmix back through fn.
template <class T>
struct HcGatesGradParams {
  HcGatesParams<T> forward;
  const T* dpre = nullptr;
  const T* dpost = nullptr;
  const T* dcomb = nullptr;
  T* dmix = nullptr;           ///< [tokens, gates]
  T* stream_factor = nullptr;  ///< [tokens]: dstreams += factor * streams, from the norm factor.
  T* dbase = nullptr;
  T* dscale = nullptr;
};

/// u = sum_i pre_i streams_i, x = weight * u * rstd.
template <class T>
struct HcCollapseParams {
  const T* streams = nullptr;  ///< [tokens, mult, dim]
  const T* pre = nullptr;
  const T* weight = nullptr;
  int64_t tokens = 0;
  int64_t mult = 0;
  int64_t dim = 0;
  T eps = 0;
  T* u = nullptr;     ///< [tokens, dim]
  T* rstd = nullptr;  ///< [tokens]
  T* x = nullptr;     ///< [tokens, dim]
};
/// Adds pre_i du to dstreams, sets dpre.
template <class T>
struct HcCollapseGradParams {
  const T* streams = nullptr;
  const T* pre = nullptr;
  const T* du = nullptr;
  int64_t tokens = 0;
  int64_t mult = 0;
  int64_t dim = 0;
  T* dstreams = nullptr;
  T* dpre = nullptr;
};

/// out_k = post_k y + sum_j comb_jk streams_j.
template <class T>
struct HcExpandParams {
  const T* streams = nullptr;
  const T* y = nullptr;
  const T* post = nullptr;
  const T* comb = nullptr;
  int64_t tokens = 0;
  int64_t mult = 0;
  int64_t dim = 0;
  T* out = nullptr;  ///< Not streams.
};
/// Turns dstreams from the gradient of `out` into that of `streams`, in place; sets the others.
template <class T>
struct HcExpandGradParams {
  HcExpandParams<T> forward;  ///< `out` is not read.
  T* dstreams = nullptr;
  T* dy = nullptr;
  T* dpost = nullptr;
  T* dcomb = nullptr;
};
/// dstreams += factor * streams, token by token.
template <class T>
struct AddScaledParams {
  const T* x = nullptr;
  const T* factor = nullptr;  ///< [rows]
  T* out = nullptr;
  int64_t rows = 0;
  int64_t dim = 0;
};

/// Softmax with a sink over scores [queries * heads, stride]: window columns first, entries from
/// column `entries_at` on. Columns that a query may not see become 0.
template <class T>
struct AttentionSoftmaxParams {
  T* scores = nullptr;  ///< In: scaled scores; out: probabilities.
  int64_t stride = 0;
  int64_t queries = 0;
  int64_t heads = 0;
  int64_t entries_at = 0;
  int64_t columns = 0;
  const int64_t* window_begin = nullptr;  ///< [queries] columns
  const int64_t* window_end = nullptr;
  const int64_t* visible = nullptr;  ///< [queries] entries
  const uint8_t* mask = nullptr;     ///< [queries, mask_stride] 1: selected. Null: all visible.
  int64_t mask_stride = 0;
  const T* sink = nullptr;  ///< [heads]
  T* lse = nullptr;         ///< [queries, heads] log of the denominator, sink included.
};
/// dscores = P * (dP - delta), in place on dprobabilities; adds to dsink.
template <class T>
struct AttentionSoftmaxGradParams {
  AttentionSoftmaxParams<T> forward;  ///< scores are probabilities already.
  T* dprobabilities = nullptr;        ///< [queries * heads, stride]
  const T* delta = nullptr;           ///< [queries * heads] out . dout
  T* dsink = nullptr;
};
/// out[row] = x[row] . y[row].
template <class T>
struct RowDotParams {
  const T* x = nullptr;
  const T* y = nullptr;
  int64_t rows = 0;
  int64_t dim = 0;
  T* out = nullptr;
};

/// Per-channel softmax over the slots of a window. Overlapping windows: the low half of the
/// previous window's tokens, then the high half of its own; the first entry has its own alone.
template <class T>
struct PoolParams {
  const T* value = nullptr;  ///< [tokens, width] of one document; width = dim * (overlap ? 2 : 1).
  const T* gate = nullptr;   ///< [tokens, width] without ape.
  const T* ape = nullptr;    ///< [ratio, width]
  T* out = nullptr;          ///< [entries, dim]
  int64_t entries = 0;
  int64_t ratio = 0;
  int64_t dim = 0;
  bool overlap = false;
};
/// Adds to dvalue, dgate and dape.
template <class T>
struct PoolGradParams {
  PoolParams<T> forward;
  const T* dout = nullptr;
  T* dvalue = nullptr;
  T* dgate = nullptr;
  T* dape = nullptr;
};

/// score[t, j] = sum_h relu(dots[t, h, j]) * weight[t, h] for j < visible[t].
template <class T>
struct IndexScoreParams {
  const T* dots = nullptr;    ///< [queries * heads, stride]
  const T* weight = nullptr;  ///< [queries, heads]
  const int64_t* visible = nullptr;
  int64_t queries = 0;
  int64_t heads = 0;
  int64_t stride = 0;
  T* score = nullptr;  ///< [queries, stride]
};
/// dots become their gradient, in place; sets dweight.
template <class T>
struct IndexScoreGradParams {
  IndexScoreParams<T> forward;  ///< `dots` is read from `dots` below.
  T* dots = nullptr;
  const T* dscore = nullptr;  ///< [queries, stride]
  T* dweight = nullptr;       ///< [queries, heads]
};
/// KL(p || softmax(score)) over the chosen entries, p the attention's probabilities summed over
/// heads and normalised. score becomes softmax - p times `scale`.
template <class T>
struct IndexKlParams {
  AttentionSoftmaxParams<T> attention;  ///< Probabilities, visible, mask.
  T* score = nullptr;                   ///< [queries, score_stride]
  int64_t score_stride = 0;
  T scale = 0;
  double kl = 0;  ///< Sum over the queries; out.
};

/// product = weight * silu(min(gate, limit)) * clamp(up, -limit, limit); limit <= 0: none.
template <class T>
struct SwiGluParams {
  const T* gate = nullptr;  ///< [rows, dim]
  const T* up = nullptr;
  const T* weight = nullptr;  ///< [rows] or null.
  T* product = nullptr;
  int64_t rows = 0;
  int64_t dim = 0;
  T limit = 0;
};
/// Sets dgate, dup and dweight. dgate may be dproduct.
template <class T>
struct SwiGluGradParams {
  SwiGluParams<T> forward;
  const T* dproduct = nullptr;
  T* dgate = nullptr;
  T* dup = nullptr;
  T* dweight = nullptr;
};

/// Scores sqrt(softplus(logit)); weights of the chosen experts, normalised and scaled.
template <class T>
struct RouteParams {
  const T* logits = nullptr;  ///< [tokens, experts]
  const T* bias = nullptr;    ///< [experts]; used by the choice alone. Null: ids are given.
  int64_t tokens = 0;
  int64_t experts = 0;
  int64_t topk = 0;
  T route_scale = 0;
  T* scores = nullptr;     ///< [tokens, experts]
  int32_t* ids = nullptr;  ///< [tokens, topk] ascending; lowest ids win ties.
  T* weights = nullptr;    ///< [tokens, topk]
};
/// Sets dlogits. `dscores` comes from the balance loss and may be null.
template <class T>
struct RouteGradParams {
  RouteParams<T> forward;
  const T* dweights = nullptr;
  const T* dscores = nullptr;
  T* dlogits = nullptr;
};

/// Loss and argmax of rows of logits; with `weight` (every row then has a target), logits become
/// weight * (softmax - onehot).
template <class T>
struct CrossEntropyParams {
  T* logits = nullptr;              ///< [rows, vocab]
  const int32_t* target = nullptr;  ///< [rows]; -1: none.
  const T* weight = nullptr;        ///< [rows] or null: leave the logits alone.
  int64_t rows = 0;
  int64_t vocab = 0;
  T* loss = nullptr;          ///< [rows]
  int32_t* argmax = nullptr;  ///< [rows]
};

template <class T>
struct OpTable {
  const char* name;
  void (*gemm)(const GemmParams<T>&);
  void (*rms_norm)(const RmsNormParams<T>&);
  void (*rms_norm_grad)(const RmsNormGradParams<T>&);
  void (*rope)(const RopeParams<T>&);
  void (*head_norm_grad)(const HeadNormGradParams<T>&);
  void (*hc_gates)(const HcGatesParams<T>&);
  void (*hc_gates_grad)(const HcGatesGradParams<T>&);
  void (*hc_collapse)(const HcCollapseParams<T>&);
  void (*hc_collapse_grad)(const HcCollapseGradParams<T>&);
  void (*hc_expand)(const HcExpandParams<T>&);
  void (*hc_expand_grad)(const HcExpandGradParams<T>&);
  void (*add_scaled)(const AddScaledParams<T>&);
  void (*attention_softmax)(const AttentionSoftmaxParams<T>&);
  /// scores -> probabilities from a known lse.
  void (*attention_probabilities)(const AttentionSoftmaxParams<T>&);
  void (*attention_softmax_grad)(const AttentionSoftmaxGradParams<T>&);
  void (*row_dot)(const RowDotParams<T>&);
  void (*pool)(const PoolParams<T>&);
  void (*pool_grad)(const PoolGradParams<T>&);
  void (*index_score)(const IndexScoreParams<T>&);
  void (*index_score_grad)(const IndexScoreGradParams<T>&);
  void (*index_kl)(IndexKlParams<T>&);
  void (*swiglu)(const SwiGluParams<T>&);
  void (*swiglu_grad)(const SwiGluGradParams<T>&);
  void (*route)(const RouteParams<T>&);
  void (*route_grad)(const RouteGradParams<T>&);
  void (*cross_entropy)(const CrossEntropyParams<T>&);
};

/// Null where the build or the processor lacks the instructions.
const OpTable<float>* Avx512Ops();
/// As Avx512Ops, but products of bf16 operands.
const OpTable<float>* Avx512Bf16Ops();
const OpTable<float>* Avx2Ops();
const OpTable<float>* PortableOps();
const OpTable<double>* DoubleOps();

}  // namespace baleen::training
