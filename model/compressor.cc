// The compressors: tokens in, one entry per full window out.
//
// CSA windows overlap: entry j pools 8 slots, the low half of c and g of the four tokens before its
// window and the high half of its own four; entry 0 has nothing before it, which a gate of -inf
// says. HCA windows are disjoint. Unfinished windows wait in CompressorState.
#include <algorithm>
#include <limits>

#include "model/forward.h"

namespace baleen {
namespace {

/// c and g of the tokens since the last window border, in the piece's scratch.
struct WindowRun {
  const float* value = nullptr;  ///< [tokens, width]
  const float* gate = nullptr;   ///< [tokens, width]
  int64_t tokens = 0;
};

/// Lays out the 8 slots of each entry, the previous window's first.
void FillSlots(const CompressorState& state, const WindowRun& run, int64_t entries,
               float* slot_value, float* slot_gate) {
  const int64_t ratio = state.ratio;
  const int64_t dim = state.dim;
  for (int64_t e = 0; e < entries; ++e) {
    for (int64_t s = 0; s < ratio; ++s) {
      float* value = slot_value + (e * 2 * ratio + s) * dim;
      float* gate = slot_gate + (e * 2 * ratio + s) * dim;
      if (e > 0) {
        const int64_t token = (e - 1) * ratio + s;
        std::copy_n(run.value + token * state.width, dim, value);
        std::copy_n(run.gate + token * state.width, dim, gate);
      } else if (!state.previous_value.empty()) {
        std::copy_n(state.previous_value.data() + s * dim, dim, value);
        std::copy_n(state.previous_gate.data() + s * dim, dim, gate);
      } else {
        std::fill_n(value, dim, 0.0F);
        std::fill_n(gate, dim, -std::numeric_limits<float>::infinity());
      }
      const int64_t token = e * ratio + s;
      std::copy_n(run.value + token * state.width + dim, dim, value + ratio * dim);
      std::copy_n(run.gate + token * state.width + dim, dim, gate + ratio * dim);
    }
  }
}

/// The low halves of a window's rows, which the next entry needs.
void KeepLowHalves(const float* rows, const CompressorState& state, std::vector<float>& out) {
  out.resize(static_cast<size_t>(state.ratio * state.dim));
  for (int64_t s = 0; s < state.ratio; ++s) {
    std::copy_n(rows + s * state.width, state.dim, out.data() + s * state.dim);
  }
}

/// Moves on past `entries` windows; what follows them stays pending.
void Retain(CompressorState& state, const WindowRun& run, int64_t entries) {
  const int64_t consumed = entries * state.ratio;
  if (entries > 0 && state.overlaps()) {
    const int64_t last = (consumed - state.ratio) * state.width;
    KeepLowHalves(run.value + last, state, state.previous_value);
    KeepLowHalves(run.gate + last, state, state.previous_gate);
  }
  state.pending_value.assign(run.value + consumed * state.width,
                             run.value + run.tokens * state.width);
  state.pending_gate.assign(run.gate + consumed * state.width, run.gate + run.tokens * state.width);
}

}  // namespace

int64_t ForwardPass::Compress(const CompressorWeights& w, CompressorState& state,
                              const Piece& piece) {
  const int64_t pending = piece.position % state.ratio;
  const int64_t tokens = piece.count();
  std::copy(state.pending_value.begin(), state.pending_value.end(), a_.value.begin());
  std::copy(state.pending_gate.begin(), state.pending_gate.end(), a_.gate.begin());
  float* value = a_.value.data() + pending * state.width;
  float* gate = a_.gate.data() + pending * state.width;
  Linear(*w.value, a_.collapsed.data(), value, tokens);
  Linear(*w.gate, a_.collapsed.data(), gate, tokens);
  for (int64_t t = 0; t < tokens; ++t) {
    const float* ape = w.ape.data() + (piece.position + t) % state.ratio * state.width;
    for (int64_t i = 0; i < state.width; ++i) gate[t * state.width + i] += ape[i];
  }

  const WindowRun run = {a_.value.data(), a_.gate.data(), pending + tokens};
  const int64_t entries = run.tokens / state.ratio;
  if (entries > 0) {
    kernels::GatedPoolParams pool = {.value = run.value,
                                     .gate = run.gate,
                                     .out = a_.pooled.data(),
                                     .entries = entries,
                                     .slots = state.ratio,
                                     .dim = state.dim};
    if (state.overlaps()) {
      FillSlots(state, run, entries, a_.slot_value.data(), a_.slot_gate.data());
      pool.value = a_.slot_value.data();
      pool.gate = a_.slot_gate.data();
      pool.slots = 2 * state.ratio;
    }
    backend_.GatedPool(pool);
    Norm(w.norm.data(), a_.pooled.data(), entries, state.dim);
    const int64_t first_window = piece.position - pending;
    for (int64_t e = 0; e < entries; ++e) {
      a_.entry_positions[static_cast<size_t>(e)] = first_window + e * state.ratio;
    }
    Rotate(a_.pooled.data(), a_.entry_positions.data(), entries, 1, state.dim,
           compress_frequencies_, kernels::RopeDirection::kForward);
  }
  Retain(state, run, entries);
  return entries;
}

void ForwardPass::AppendEntries(KvCacheState& cache, LayerKv& kv, const AttentionWeights& w,
                                const Piece& piece) {
  // In a replay the rows are there already, and exact; the first ones computed here are not.
  const bool store = !cache.replaying();
  // A piece stays inside a block, so that its entries are consecutive rows of the open one.
  const int64_t row = piece.position / kv.compressor.ratio % kv.entries.rows_per_block;
  if (kv.kind == LayerKind::kCsa) {
    const int64_t keys = Compress(w.indexer.compressor, kv.index_compressor, piece);
    if (keys > 0 && store) {
      backend_.StoreIndexKeys({.x = a_.pooled.data(),
                               .rows = keys,
                               .dim = config_.index_dim,
                               .format = format_,
                               .out = cache.OpenRows(kv.index_keys, row)});
    }
  }
  const int64_t entries = Compress(w.compressor, kv.compressor, piece);
  if (entries == 0 || !store) return;
  backend_.StoreEntries({.x = a_.pooled.data(),
                         .rows = entries,
                         .dim = config_.head_dim,
                         .rope = config_.rope_dim,
                         .format = format_,
                         .out = cache.OpenRows(kv.entries, row)});
}

}  // namespace baleen
