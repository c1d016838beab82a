// Attention of one layer: queries, the sliding window, compressed entries and the output
// projection.
#include <algorithm>
#include <cmath>

#include "kernels/integer_math.h"
#include "model/forward.h"

namespace baleen {

Status ForwardPass::Attention(KvCacheState& cache, LayerKv& kv, const AttentionWeights& w,
                              const Piece& piece) {
  const bool compressed = kv.kind != LayerKind::kWindow;
  const std::vector<float>& frequencies = compressed ? compress_frequencies_ : window_frequencies_;
  ProjectQueries(w, frequencies, piece);
  ExtendWindow(kv, w, frequencies, piece);

  kernels::SparseAttentionParams params = {
      .q = a_.q.data(),
      .window = a_.window.data(),
      .window_begin = a_.window_begin.data(),
      .window_end = a_.window_end.data(),
      .entries = {},
      .sink = w.sink.data(),
      .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(config_.head_dim))),
      .out = a_.attended.data(),
      .tokens = piece.count(),
      .heads = config_.heads,
      .dim = config_.head_dim};
  params.entries.format = format_;
  params.entries.dim = config_.head_dim;
  params.entries.rope = config_.rope_dim;
  params.visible = a_.visible.data();
  std::fill_n(a_.visible.begin(), piece.count(), 0);
  if (compressed) {
    // Entries first: a window is visible to the query that is its own last token.
    AppendEntries(cache, kv, w, piece);
    const int64_t ratio = kv.compressor.ratio;
    for (int64_t t = 0; t < piece.count(); ++t) {
      a_.visible[static_cast<size_t>(t)] = (piece.position + t + 1) / ratio;
    }
    if (kv.kind == LayerKind::kCsa) {
      if (SelectEntries(kv.index_keys, w.indexer, piece)) {
        params.selected = a_.selected.data();
        params.topk = config_.index_topk;
      }
      RETURN_IF_ERROR(ObtainEntries(cache, kv, params.selected, piece));
    }
    params.entries = KvCacheState::Paged(kv.entries, piece.end() / ratio);
  }
  backend_.SparseAttention(params);
  ProjectOutput(w, frequencies, piece);
  return OkStatus();
}

Status ForwardPass::ObtainEntries(KvCacheState& cache, LayerKv& kv, const int32_t* selected,
                                  const Piece& piece) {
  // The blocks below `limit` that tokens [first, piece.count()) attend to, ascending.
  const auto blocks_from = [&](int64_t first, int64_t limit) {
    std::vector<int32_t> blocks;
    if (selected == nullptr) {
      for (int64_t i = 0; i < limit; ++i) blocks.push_back(static_cast<int32_t>(i));
      return blocks;
    }
    const auto rows = static_cast<int32_t>(kv.entries.rows_per_block);
    for (int64_t i = first * config_.index_topk; i < piece.count() * config_.index_topk; ++i) {
      if (selected[i] < 0 || selected[i] / rows >= limit) continue;
      const int32_t block = selected[i] / rows;
      if (blocks.empty() || blocks.back() != block) blocks.push_back(block);
    }
    std::sort(blocks.begin(), blocks.end());
    blocks.erase(std::unique(blocks.begin(), blocks.end()), blocks.end());
    return blocks;
  };
  // With the block that this piece may seal, so that the note doesn't depend on the chunking.
  kv.selected_blocks = blocks_from(piece.count() - 1, piece.end() / kBlockTokens);
  cache.RefreshTables(kv.entries);
  if (kv.entries.absent == 0) return OkStatus();

  std::vector<KvUnitRef> absent;
  const int64_t touched = CeilDivide(piece.end(), kBlockTokens);
  for (const int32_t index : blocks_from(0, std::min(touched, std::ssize(cache.blocks())))) {
    const std::shared_ptr<KvBlock>& block = cache.blocks()[static_cast<size_t>(index)];
    if (!block->present(kv.entries.unit)) absent.push_back({block, index, kv.entries.unit});
  }
  if (!absent.empty()) {
    if (cache.row_source() == nullptr) {
      return InternalError("forward pass: " + std::to_string(absent.size()) +
                           " units of rows are absent and the cache has no row source");
    }
    RETURN_IF_ERROR(cache.row_source()->Fetch(absent));
  }
  cache.RefreshTables(kv.entries);
  return OkStatus();
}

void ForwardPass::ProjectQueries(const AttentionWeights& w, const std::vector<float>& frequencies,
                                 const Piece& piece) {
  const int64_t tokens = piece.count();
  Linear(*w.q_a, a_.collapsed.data(), a_.q_low.data(), tokens);
  Norm(w.q_norm.data(), a_.q_low.data(), tokens, config_.q_rank);
  Linear(*w.q_b, a_.q_low.data(), a_.q.data(), tokens);
  Norm(nullptr, a_.q.data(), tokens * config_.heads, config_.head_dim);
  Rotate(a_.q.data(), a_.positions.data(), tokens, config_.heads, config_.head_dim, frequencies,
         kernels::RopeDirection::kForward);
}

void ForwardPass::ExtendWindow(LayerKv& kv, const AttentionWeights& w,
                               const std::vector<float>& frequencies, const Piece& piece) {
  const int64_t tokens = piece.count();
  const int64_t dim = config_.head_dim;
  Linear(*w.kv, a_.collapsed.data(), a_.kv.data(), tokens);
  Norm(w.kv_norm.data(), a_.kv.data(), tokens, dim);
  Rotate(a_.kv.data(), a_.positions.data(), tokens, 1, dim, frequencies,
         kernels::RopeDirection::kForward);

  // What the queries see must be what a later pass will read, so new rows go through storage too.
  backend_.StoreEntries({.x = a_.kv.data(),
                         .rows = tokens,
                         .dim = dim,
                         .rope = config_.rope_dim,
                         .format = format_,
                         .out = a_.new_rows.MutableRows(0)});
  const auto load = [&](const kernels::RowPlanes& rows, int64_t count, int64_t at) {
    backend_.LoadEntries({.in = rows,
                          .rows = count,
                          .dim = dim,
                          .rope = config_.rope_dim,
                          .format = format_,
                          .out = a_.window.data() + at * dim});
  };
  const int64_t size = config_.window;
  const int64_t earlier = std::min(piece.position, size - 1);
  for (int64_t done = 0; done < earlier;) {
    const int64_t slot = (piece.position - earlier + done) % size;
    const int64_t run = std::min(earlier - done, size - slot);
    load(kv.window.Rows(slot), run, done);
    done += run;
  }
  load(a_.new_rows.Rows(0), tokens, earlier);
  for (int64_t t = 0; t < tokens; ++t) {
    a_.window_end[static_cast<size_t>(t)] = earlier + t + 1;
    a_.window_begin[static_cast<size_t>(t)] = std::max<int64_t>(0, earlier + t + 1 - size);
  }

  for (int64_t t = std::max<int64_t>(0, tokens - size); t < tokens;) {
    const int64_t slot = (piece.position + t) % size;
    const int64_t run = std::min(tokens - t, size - slot);
    kv.window.CopyRows(a_.new_rows, t, slot, run);
    t += run;
  }
}

bool ForwardPass::SelectEntries(const BlockRows& index_keys, const IndexerWeights& w,
                                const Piece& piece) {
  const int64_t tokens = piece.count();
  const int64_t entries = piece.end() / kCsaRatio;
  // Choosing the best k of at most k is choosing all: the scores need not be known.
  if (entries <= config_.index_topk) return false;
  const int64_t heads = config_.index_heads;
  const int64_t dim = config_.index_dim;
  Linear(*w.q_b, a_.q_low.data(), a_.index_q.data(), tokens);
  Rotate(a_.index_q.data(), a_.positions.data(), tokens, heads, dim, compress_frequencies_,
         kernels::RopeDirection::kForward);
  backend_.IndexQuery(
      {.x = a_.index_q.data(), .rows = tokens * heads, .dim = dim, .format = format_});
  Linear(*w.proj, a_.collapsed.data(), a_.index_weights.data(), tokens);
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(dim)) *
                                        (1.0 / std::sqrt(static_cast<double>(heads))));
  for (int64_t i = 0; i < tokens * heads; ++i) a_.index_weights[static_cast<size_t>(i)] *= scale;
  backend_.IndexTopK({.q = a_.index_q.data(),
                      .weights = a_.index_weights.data(),
                      .keys = KvCacheState::Paged(index_keys, entries),
                      .visible = a_.visible.data(),
                      .tokens = tokens,
                      .heads = heads,
                      .topk = config_.index_topk,
                      .selected = a_.selected.data()});
  return true;
}

void ForwardPass::ProjectOutput(const AttentionWeights& w, const std::vector<float>& frequencies,
                                const Piece& piece) {
  const int64_t tokens = piece.count();
  // Keys carry their own rotation and are values too; undoing the query's leaves relative
  // positions.
  Rotate(a_.attended.data(), a_.positions.data(), tokens, config_.heads, config_.head_dim,
         frequencies, kernels::RopeDirection::kInverse);
  const int64_t width = config_.heads / config_.o_groups * config_.head_dim;
  for (int64_t g = 0; g < config_.o_groups; ++g) {
    backend_.Linear({.x = a_.attended.data() + g * width,
                     .x_stride = config_.heads * config_.head_dim,
                     .w = w.o_a[static_cast<size_t>(g)].get(),
                     .out = a_.o_low.data() + g * config_.o_rank,
                     .out_stride = config_.o_groups * config_.o_rank,
                     .tokens = tokens});
  }
  Linear(*w.o_b, a_.o_low.data(), a_.sublayer.data(), tokens);
}

}  // namespace baleen
