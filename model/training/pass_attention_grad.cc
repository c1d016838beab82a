// Gradient of the pass's attention. Probabilities are computed again from the kept log sums.
#include <algorithm>
#include <cmath>

#include "model/training/pass.h"

namespace baleen::training {

template <class T>
void Pass<T>::AttendBlockGrad(size_t l, const QueryBlock& b, const AttentionState<T>& s,
                              const T* dout, const T* delta, T* dq, T* dkv, T* dentries) {
  const int64_t heads = config_.heads;
  const int64_t dim = config_.head_dim;
  const int64_t rows = b.count * heads;
  const Arena::Mark mark = arena_.mark();
  const AttentionSoftmaxParams<T> p = ScoreBlock(l, b, s);
  ops_.attention_probabilities(p);
  T* d = arena_.Take<T>(rows * p.stride);
  const T* block_dout = dout + b.token * heads * dim;
  const auto dot_values = [&](const T* values, int64_t count, int64_t column) {
    Multiply({.m = rows,
              .n = count,
              .k = dim,
              .a = block_dout,
              .a_row = dim,
              .a_col = 1,
              .b = values,
              .b_row = 1,
              .b_col = dim,
              .c = d + column,
              .c_row = p.stride});
  };
  dot_values(s.kv + b.window_token * dim, b.window_count, 0);
  dot_values(s.entries.rows + b.entry * dim, b.entry_count, b.window_count);
  ops_.attention_softmax_grad({.forward = p,
                               .dprobabilities = d,
                               .delta = delta + b.token * heads,
                               .dsink = Gradient(index_.layers[l].attn.sink)});

  const auto scale = static_cast<T>(1.0 / std::sqrt(static_cast<double>(dim)));
  // A row is key and value: it gets both gradients.
  const auto to_rows = [&](const T* keys, T* dkeys, int64_t count, int64_t column,
                           bool accumulate_q) {
    GemmParams<T> gemm = {.m = rows,
                          .n = dim,
                          .k = count,
                          .a = d + column,
                          .a_row = p.stride,
                          .a_col = 1,
                          .b = keys,
                          .b_row = dim,
                          .b_col = 1,
                          .c = dq + b.token * heads * dim,
                          .c_row = dim,
                          .alpha = scale,
                          .accumulate = accumulate_q};
    Multiply(gemm);
    gemm = {.m = count,
            .n = dim,
            .k = rows,
            .a = d + column,
            .a_row = 1,
            .a_col = p.stride,
            .b = s.q + b.token * heads * dim,
            .b_row = dim,
            .b_col = 1,
            .c = dkeys,
            .c_row = dim,
            .alpha = scale,
            .accumulate = true};
    Multiply(gemm);
    gemm.a = p.scores + column;
    gemm.b = block_dout;
    gemm.alpha = 1;
    Multiply(gemm);
  };
  to_rows(s.kv + b.window_token * dim, dkv + b.window_token * dim, b.window_count, 0, false);
  if (b.entry_count > 0) {
    to_rows(s.entries.rows + b.entry * dim, dentries + b.entry * dim, b.entry_count, b.window_count,
            true);
  }
  arena_.Release(mark);
}

template <class T>
void Pass<T>::AttentionGrad(size_t l, const T* x, const AttentionState<T>& s, const T* dy, T* dx) {
  const LayerIndex& layer = index_.layers[l];
  const AttentionIndex& w = layer.attn;
  const int64_t heads = config_.heads;
  const int64_t dim = config_.head_dim;
  const int64_t groups = config_.o_groups;
  const int64_t width = heads / groups * dim;
  const int64_t low = groups * config_.o_rank;
  const Arena::Mark mark = arena_.mark();
  const RopeAngles<T>& angles =
      layer.kind == LayerKind::kWindow ? window_angles_ : compress_angles_;
  const int32_t* position = in_->documents->position.data();

  T* dlow = arena_.Take<T>(tokens_ * low);
  T* dout = arena_.Take<T>(tokens_ * heads * dim);
  LinearGrad(s.o_low, w.o_b, dy, tokens_, low, config_.hidden, dlow, /*add_dx=*/false);
  for (int64_t g = 0; g < groups; ++g) {
    GemmParams<T> gemm = {.m = config_.o_rank,
                          .n = width,
                          .k = tokens_,
                          .a = dlow + g * config_.o_rank,
                          .a_row = 1,
                          .a_col = low,
                          .b = s.out + g * width,
                          .b_row = heads * dim,
                          .b_col = 1,
                          .c = Gradient(w.o_a) + g * config_.o_rank * width,
                          .c_row = width,
                          .accumulate = true};
    Multiply(gemm);
    gemm = {.m = tokens_,
            .n = width,
            .k = config_.o_rank,
            .a = dlow + g * config_.o_rank,
            .a_row = low,
            .a_col = 1,
            .b = Value(w.o_a) + g * config_.o_rank * width,
            .b_row = width,
            .b_col = 1,
            .c = dout + g * width,
            .c_row = heads * dim};
    Multiply(gemm);
  }
  T* delta = arena_.Take<T>(tokens_ * heads);
  ops_.row_dot({s.out, dout, tokens_ * heads, dim, delta});
  Rotate(dout, angles, position, tokens_, heads, dim, /*inverse=*/false);

  T* dq = arena_.Take<T>(tokens_ * heads * dim);
  T* dkv = arena_.TakeZeros<T>(tokens_ * dim);
  T* dentries = arena_.TakeZeros<T>(s.entries.entries * dim);
  for (const QueryBlock& block : Blocks(s.entries)) {
    AttendBlockGrad(l, block, s, dout, delta, dq, dkv, dentries);
  }

  ops_.head_norm_grad({s.q, s.q_rstd, dq, tokens_ * heads, dim});
  Rotate(dq, angles, position, tokens_, heads, dim, /*inverse=*/true);
  T* dq_low = arena_.Take<T>(tokens_ * config_.q_rank);
  LinearGrad(s.q_low, w.q_b, dq, tokens_, config_.q_rank, heads * dim, dq_low, /*add_dx=*/false);
  ops_.rms_norm_grad({s.q_low_raw, Value(w.q_norm), s.q_low_rstd, dq_low, dq_low,
                      Gradient(w.q_norm), tokens_, config_.q_rank});
  LinearGrad(x, w.q_a, dq_low, tokens_, config_.hidden, config_.q_rank, dx, /*add_dx=*/false);

  Rotate(dkv, angles, position, tokens_, 1, dim, /*inverse=*/true);
  ops_.rms_norm_grad(
      {s.kv_raw, Value(w.kv_norm), s.kv_rstd, dkv, dkv, Gradient(w.kv_norm), tokens_, dim});
  LinearGrad(x, w.kv, dkv, tokens_, config_.hidden, dim, dx, /*add_dx=*/true);
  if (layer.kind != LayerKind::kWindow) CompressGrad(w.compressor, x, s.entries, dentries, dx);
  arena_.Release(mark);
}

template class Pass<float>;
template class Pass<double>;

}  // namespace baleen::training
