#include "model/activations.h"

#include <algorithm>

namespace baleen {
namespace {

constexpr int64_t P = kPieceTokens;

template <typename T>
void Allocate(std::vector<T>& buffer, int64_t rows, int64_t width = 1) {
  buffer.resize(static_cast<size_t>(rows * width));
}

}  // namespace

Activations::Activations(const ModelConfig& c, kernels::RowFormat format) {
  Allocate(positions, P);
  Allocate(streams, P, c.hc_mult * c.hidden);
  Allocate(collapsed, P, c.hidden);
  Allocate(sublayer, P, c.hidden);
  Allocate(hc_pre, P, c.hc_mult);
  Allocate(hc_post, P, c.hc_mult);
  Allocate(hc_comb, P, c.hc_mult * c.hc_mult);

  Allocate(q_low, P, c.q_rank);
  Allocate(q, P, c.heads * c.head_dim);
  Allocate(attended, P, c.heads * c.head_dim);
  Allocate(kv, P, c.head_dim);
  new_rows = RowBuffer(RowShape::Entry(c, format), P);
  Allocate(window, c.window - 1 + P, c.head_dim);
  Allocate(window_begin, P);
  Allocate(window_end, P);
  Allocate(visible, P);
  Allocate(o_low, P, c.o_groups * c.o_rank);

  const int64_t dim = std::max(c.head_dim, c.index_dim);
  const int64_t compressed = std::max((kCsaRatio - 1 + P) * 2 * dim, (kHcaRatio - 1 + P) * dim);
  const int64_t entries = P / kCsaRatio + 1;
  Allocate(value, compressed);
  Allocate(gate, compressed);
  Allocate(slot_value, entries, 2 * kCsaRatio * dim);
  Allocate(slot_gate, entries, 2 * kCsaRatio * dim);
  Allocate(pooled, entries, dim);
  Allocate(entry_positions, entries);

  Allocate(index_q, P, c.index_heads * c.index_dim);
  Allocate(index_weights, P, c.index_heads);
  Allocate(selected, P, c.index_topk);

  const int64_t width = c.expert_dim * c.shared_experts;
  Allocate(router_logits, P, c.experts);
  Allocate(forced_ids, P, c.experts_per_token);
  Allocate(expert_ids, P, c.experts_per_token);
  Allocate(expert_weights, P, c.experts_per_token);
  Allocate(expert_tokens, P);
  Allocate(routed_x, P, c.hidden);
  Allocate(routed_weight, P);
  Allocate(expert_gate, P, width);
  Allocate(expert_up, P, width);
  Allocate(expert_product, P, width);
  Allocate(expert_out, P, c.hidden);
}

}  // namespace baleen
