// The indexer of CSA layers: scores of entries, the choice of the best, and its KL loss.
//
// Its inputs are detached and its loss needs nothing from later layers, so its whole backward pass
// runs here, during the forward one: nothing has to be kept.  Source: spec sections 2.5.8, 7.3.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "model/training/pass.h"

namespace baleen::training {
template <class T>
void Pass<T>::OpenIndexer(size_t l, const T* x, const AttentionState<T>& s,
                          IndexerState<T>& index) {
  const LayerIndex& layer = index_.layers[l];
  if (layer.kind != LayerKind::kCsa || in_->options.indexer == IndexerStage::kOff) return;
  const int64_t heads = config_.index_heads;
  const int64_t dim = config_.index_dim;
  index.used = true;
  index.learns = in_->options.index_kl_weight > 0;
  index.q = arena_.Take<T>(tokens_ * heads * dim);
  index.weights = arena_.Take<T>(tokens_ * heads);
  Linear(s.q_low, layer.attn.index_q, index.q, tokens_, config_.q_rank, heads * dim);
  Rotate(index.q, compress_angles_, in_->documents->position.data(), tokens_, heads, dim,
         /*inverse=*/false);
  Linear(x, layer.attn.index_proj, index.weights, tokens_, config_.hidden, heads);
  const auto scale = static_cast<T>(1.0 / std::sqrt(static_cast<double>(dim)) *
                                    (1.0 / std::sqrt(static_cast<double>(heads))));
  for (int64_t i = 0; i < tokens_ * heads; ++i) index.weights[i] *= scale;
  index.keys.ratio = kCsaRatio;
  index.keys.overlap = true;
  index.keys.dim = dim;
  Compress(layer.attn.index_compressor, x, index.keys);
  RoundTripIndex(l, RoundedRows::kIndexQueries, index.q, tokens_ * heads);
  RoundTripIndex(l, RoundedRows::kIndexKeys, index.keys.rows, index.keys.entries);
  if (!index.learns) return;
  index.dq = arena_.TakeZeros<T>(tokens_ * heads * dim);
  index.dweights = arena_.TakeZeros<T>(tokens_ * heads);
  index.dkeys = arena_.TakeZeros<T>(index.keys.entries * dim);
}

template <class T>
void Pass<T>::ScoreIndex(size_t l, const QueryBlock& b, const IndexerState<T>& index, T* dots,
                         T* score, int64_t stride) {
  const int64_t heads = config_.index_heads;
  const int64_t dim = config_.index_dim;
  Multiply({.m = b.count * heads,
            .n = b.entry_count,
            .k = dim,
            .a = index.q + b.token * heads * dim,
            .a_row = dim,
            .a_col = 1,
            .b = index.keys.rows + b.entry * dim,
            .b_row = 1,
            .b_col = dim,
            .c = dots,
            .c_row = stride});
  ops_.index_score({.dots = dots,
                    .weight = index.weights + b.token * heads,
                    .visible = b.visible.data(),
                    .queries = b.count,
                    .heads = heads,
                    .stride = stride,
                    .score = score});
  if (in_->options.indexer == IndexerStage::kSparse && choosing()) {
    SelectEntries(l, b, score, stride);
  }
}

template <class T>
void Pass<T>::SelectEntries(size_t l, const QueryBlock& b, const T* score, int64_t stride) {
  LayerChoices<T>& choices = choices_[l];
  const auto document = static_cast<size_t>(b.document);
  const int64_t entries = in_->documents->all[document].count / kCsaRatio;
  std::vector<int32_t> order;
  for (int64_t q = 0; q < b.count; ++q) {
    const int64_t visible = b.visible[static_cast<size_t>(q)];
    const int64_t kept = std::min(visible, config_.index_topk);
    uint8_t* mask =
        choices.selected.data() + choices.selected_at[document] + (b.first + q) * entries;
    order.resize(static_cast<size_t>(visible));
    std::iota(order.begin(), order.end(), 0);
    const T* row = score + q * stride;
    if (kept < visible) {
      std::nth_element(
          order.begin(), order.begin() + kept, order.end(),
          [row](int32_t a, int32_t c) { return row[a] != row[c] ? row[a] > row[c] : a < c; });
    }
    for (int64_t i = 0; i < kept; ++i) mask[order[static_cast<size_t>(i)]] = 1;
  }
}

template <class T>
void Pass<T>::LearnIndex(const QueryBlock& b, const AttentionSoftmaxParams<T>& attention, T* dots,
                         T* score, int64_t stride, IndexerState<T>& index) {
  const int64_t heads = config_.index_heads;
  const int64_t dim = config_.index_dim;
  const auto scale = static_cast<T>(in_->scale.token * in_->options.index_kl_weight);
  IndexKlParams<T> kl = {.attention = attention, .score = score, .score_stride = stride};
  kl.scale = scale;
  ops_.index_kl(kl);
  in_->report->index_kl += kl.kl * in_->scale.token;
  if (!in_->training()) return;
  ops_.index_score_grad({.forward = {.weight = index.weights + b.token * heads,
                                     .visible = b.visible.data(),
                                     .queries = b.count,
                                     .heads = heads,
                                     .stride = stride},
                         .dots = dots,
                         .dscore = score,
                         .dweight = index.dweights + b.token * heads});
  GemmParams<T> gemm = {.m = b.count * heads,
                        .n = dim,
                        .k = b.entry_count,
                        .a = dots,
                        .a_row = stride,
                        .a_col = 1,
                        .b = index.keys.rows + b.entry * dim,
                        .b_row = dim,
                        .b_col = 1,
                        .c = index.dq + b.token * heads * dim,
                        .c_row = dim};
  Multiply(gemm);
  gemm = {.m = b.entry_count,
          .n = dim,
          .k = b.count * heads,
          .a = dots,
          .a_row = 1,
          .a_col = stride,
          .b = index.q + b.token * heads * dim,
          .b_row = dim,
          .b_col = 1,
          .c = index.dkeys + b.entry * dim,
          .c_row = dim,
          .accumulate = true};
  Multiply(gemm);
}

template <class T>
void Pass<T>::CloseIndexer(const LayerIndex& layer, const T* x, const AttentionState<T>& s,
                           IndexerState<T>& index) {
  if (!index.learns || !in_->training()) return;
  const int64_t heads = config_.index_heads;
  const int64_t dim = config_.index_dim;
  RoundTripIndexGrad(index.dq, tokens_ * heads);
  RoundTripIndexGrad(index.dkeys, index.keys.entries);
  Rotate(index.dq, compress_angles_, in_->documents->position.data(), tokens_, heads, dim,
         /*inverse=*/true);
  LinearGrad(s.q_low, layer.attn.index_q, index.dq, tokens_, config_.q_rank, heads * dim, nullptr,
             false);
  const auto scale = static_cast<T>(1.0 / std::sqrt(static_cast<double>(dim)) *
                                    (1.0 / std::sqrt(static_cast<double>(heads))));
  for (int64_t i = 0; i < tokens_ * heads; ++i) index.dweights[i] *= scale;
  LinearGrad(x, layer.attn.index_proj, index.dweights, tokens_, config_.hidden, heads, nullptr,
             false);
  CompressGrad(layer.attn.index_compressor, x, index.keys, index.dkeys, nullptr);
}

template class Pass<float>;
template class Pass<double>;

}  // namespace baleen::training
