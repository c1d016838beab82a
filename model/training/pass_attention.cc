// Attention of the pass: low-rank queries, one key and value row per token, compressed entries, a
// sink, and the grouped output. Queries go in blocks; a block's keys are two runs of rows.
#include <algorithm>
#include <cmath>

#include "model/training/pass.h"

namespace baleen::training {
namespace {

/// Queries of a block: their heads together fill a matrix product, their windows overlap well.
constexpr int64_t kBlockQueries = 32;

}  // namespace

template <class T>
QueryBlock Pass<T>::BlockAt(int64_t document, int64_t first,
                            const CompressorRows<T>& entries) const {
  const Document& d = in_->documents->all[static_cast<size_t>(document)];
  const int64_t window = in_->options.window;
  QueryBlock b;
  b.document = document;
  b.first = first;
  b.count = std::min(kBlockQueries, d.count - first);
  b.token = d.begin + first;
  const int64_t window_first = std::max<int64_t>(0, first - window + 1);
  b.window_token = d.begin + window_first;
  b.window_count = first + b.count - window_first;
  if (entries.ratio > 0) {
    b.entry = entries.first[static_cast<size_t>(document)];
    b.entry_count = (first + b.count) / entries.ratio;
  }
  for (int64_t i = 0; i < b.count; ++i) {
    const int64_t position = first + i;
    b.window_begin.push_back(std::max<int64_t>(0, position - window + 1) - window_first);
    b.window_end.push_back(position + 1 - window_first);
    // A window is visible to the query that is its last token.
    b.visible.push_back(entries.ratio > 0 ? (position + 1) / entries.ratio : 0);
  }
  return b;
}

template <class T>
std::vector<QueryBlock> Pass<T>::Blocks(const CompressorRows<T>& entries) const {
  std::vector<QueryBlock> blocks;
  for (size_t d = 0; d < in_->documents->all.size(); ++d) {
    for (int64_t first = 0; first < in_->documents->all[d].count; first += kBlockQueries) {
      blocks.push_back(BlockAt(static_cast<int64_t>(d), first, entries));
    }
  }
  return blocks;
}

template <class T>
void Pass<T>::ProjectQueriesAndKeys(size_t l, const T* x, AttentionState<T>& s) {
  const LayerIndex& layer = index_.layers[l];
  const AttentionIndex& w = layer.attn;
  const int64_t heads = config_.heads;
  const int64_t dim = config_.head_dim;
  const T eps = static_cast<T>(config_.norm_eps);
  const RopeAngles<T>& angles =
      layer.kind == LayerKind::kWindow ? window_angles_ : compress_angles_;
  const int32_t* position = in_->documents->position.data();

  s.q_low_raw = arena_.Take<T>(tokens_ * config_.q_rank);
  s.q_low_rstd = arena_.Take<T>(tokens_);
  s.q_low = arena_.Take<T>(tokens_ * config_.q_rank);
  s.q = arena_.Take<T>(tokens_ * heads * dim);
  s.q_rstd = arena_.Take<T>(tokens_ * heads);
  Linear(x, w.q_a, s.q_low_raw, tokens_, config_.hidden, config_.q_rank);
  ops_.rms_norm(
      {s.q_low_raw, Value(w.q_norm), s.q_low, s.q_low_rstd, tokens_, config_.q_rank, eps});
  Linear(s.q_low, w.q_b, s.q, tokens_, config_.q_rank, heads * dim);
  ops_.rms_norm({s.q, nullptr, s.q, s.q_rstd, tokens_ * heads, dim, eps});
  Rotate(s.q, angles, position, tokens_, heads, dim, /*inverse=*/false);

  s.kv_raw = arena_.Take<T>(tokens_ * dim);
  s.kv_rstd = arena_.Take<T>(tokens_);
  s.kv = arena_.Take<T>(tokens_ * dim);
  Linear(x, w.kv, s.kv_raw, tokens_, config_.hidden, dim);
  ops_.rms_norm({s.kv_raw, Value(w.kv_norm), s.kv, s.kv_rstd, tokens_, dim, eps});
  Rotate(s.kv, angles, position, tokens_, 1, dim, /*inverse=*/false);
  RoundTripEntries(l, RoundedRows::kWindow, s.kv, tokens_);
}

template <class T>
AttentionSoftmaxParams<T> Pass<T>::ScoreBlock(size_t l, const QueryBlock& b,
                                              const AttentionState<T>& s) {
  const int64_t heads = config_.heads;
  const int64_t dim = config_.head_dim;
  const int64_t stride = (b.columns() + 15) / 16 * 16;
  T* scores = arena_.Take<T>(b.count * heads * stride);
  const auto scale = static_cast<T>(1.0 / std::sqrt(static_cast<double>(dim)));
  const auto score = [&](const T* keys, int64_t count, int64_t column) {
    Multiply({.m = b.count * heads,
              .n = count,
              .k = dim,
              .a = s.q + b.token * heads * dim,
              .a_row = dim,
              .a_col = 1,
              .b = keys,
              .b_row = 1,
              .b_col = dim,
              .c = scores + column,
              .c_row = stride,
              .alpha = scale});
  };
  score(s.kv + b.window_token * dim, b.window_count, 0);
  score(s.entries.rows + b.entry * dim, b.entry_count, b.window_count);

  AttentionSoftmaxParams<T> p;
  p.scores = scores;
  p.stride = stride;
  p.queries = b.count;
  p.heads = heads;
  p.entries_at = b.window_count;
  p.columns = b.columns();
  p.window_begin = b.window_begin.data();
  p.window_end = b.window_end.data();
  p.visible = b.visible.data();
  const LayerChoices<T>& choices = choices_[l];
  if (!choices.selected_at.empty()) {
    const auto document = static_cast<size_t>(b.document);
    p.mask_stride = in_->documents->all[document].count / kCsaRatio;
    p.mask = choices.selected.data() + choices.selected_at[document] + b.first * p.mask_stride;
  }
  p.sink = Value(index_.layers[l].attn.sink);
  p.lse = s.lse + b.token * heads;
  return p;
}

template <class T>
void Pass<T>::AttendBlock(size_t l, const QueryBlock& b, AttentionState<T>& s,
                          IndexerState<T>& index) {
  const int64_t heads = config_.heads;
  const int64_t dim = config_.head_dim;
  const Arena::Mark mark = arena_.mark();
  const int64_t index_stride = (b.entry_count + 15) / 16 * 16;
  T* dots = nullptr;
  T* index_score = nullptr;
  if (index.used && b.entry_count > 0) {
    dots = arena_.Take<T>(b.count * config_.index_heads * index_stride);
    index_score = arena_.Take<T>(b.count * index_stride);
    ScoreIndex(l, b, index, dots, index_score, index_stride);
  }
  const AttentionSoftmaxParams<T> p = ScoreBlock(l, b, s);
  ops_.attention_softmax(p);
  if (index.learns && b.entry_count > 0) LearnIndex(b, p, dots, index_score, index_stride, index);
  const auto gather = [&](const T* values, int64_t count, int64_t column, bool accumulate) {
    Multiply({.m = b.count * heads,
              .n = dim,
              .k = count,
              .a = p.scores + column,
              .a_row = p.stride,
              .a_col = 1,
              .b = values,
              .b_row = dim,
              .b_col = 1,
              .c = s.out + b.token * heads * dim,
              .c_row = dim,
              .accumulate = accumulate});
  };
  gather(s.kv + b.window_token * dim, b.window_count, 0, false);
  gather(s.entries.rows + b.entry * dim, b.entry_count, b.window_count, true);
  arena_.Release(mark);
}

template <class T>
void Pass<T>::Attention(size_t l, const T* x, T* y, AttentionState<T>& s) {
  const LayerIndex& layer = index_.layers[l];
  const int64_t heads = config_.heads;
  const int64_t dim = config_.head_dim;
  ProjectQueriesAndKeys(l, x, s);
  s.lse = arena_.Take<T>(tokens_ * heads);
  s.out = arena_.Take<T>(tokens_ * heads * dim);
  s.o_low = arena_.Take<T>(tokens_ * config_.o_groups * config_.o_rank);
  if (layer.kind != LayerKind::kWindow) {
    s.entries.ratio = layer.kind == LayerKind::kCsa ? kCsaRatio : kHcaRatio;
    s.entries.overlap = layer.kind == LayerKind::kCsa;
    s.entries.dim = dim;
    Compress(layer.attn.compressor, x, s.entries);
    RoundTripEntries(l, RoundedRows::kEntries, s.entries.rows, s.entries.entries);
  }

  const Arena::Mark mark = arena_.mark();
  IndexerState<T> index;
  OpenIndexer(l, x, s, index);
  if (choosing()) choices_[l].selected_at.clear();
  if (index.used && in_->options.indexer == IndexerStage::kSparse && choosing()) {
    int64_t total = 0;
    for (const Document& d : in_->documents->all) {
      choices_[l].selected_at.push_back(total);
      total += d.count * (d.count / kCsaRatio);
    }
    choices_[l].selected.assign(static_cast<size_t>(total), 0);
  }
  for (const QueryBlock& block : Blocks(s.entries)) AttendBlock(l, block, s, index);
  CloseIndexer(layer, x, s, index);
  arena_.Release(mark);

  // Keys carry their own rotation and are values too; undoing the query's leaves relative
  // positions.
  Rotate(s.out, layer.kind == LayerKind::kWindow ? window_angles_ : compress_angles_,
         in_->documents->position.data(), tokens_, heads, dim, /*inverse=*/true);
  const int64_t groups = config_.o_groups;
  const int64_t width = heads / groups * dim;
  for (int64_t g = 0; g < groups; ++g) {
    Multiply({.m = tokens_,
              .n = config_.o_rank,
              .k = width,
              .a = s.out + g * width,
              .a_row = heads * dim,
              .a_col = 1,
              .b = Value(layer.attn.o_a) + g * config_.o_rank * width,
              .b_row = 1,
              .b_col = width,
              .c = s.o_low + g * config_.o_rank,
              .c_row = groups * config_.o_rank});
  }
  Linear(s.o_low, layer.attn.o_b, y, tokens_, groups * config_.o_rank, config_.hidden);
}

template class Pass<float>;
template class Pass<double>;

}  // namespace baleen::training
