// Activations: the scratch of the forward pass.
//
// Allocated once per model for the longest piece of a chunk; every buffer is fp32 unless said
// otherwise. Holds nothing between pieces. Used by forward.cc and its stages only.
#pragma once

#include <cstdint>
#include <vector>

#include "model/config.h"
#include "model/kv_rows.h"

namespace baleen {

/// Tokens per piece at most. Bounds the scratch; long enough that reading the weights, which every
/// piece does once, costs little per token.
inline constexpr int64_t kPieceTokens = 256;

struct Activations {
  Activations(const ModelConfig& config, kernels::RowFormat format);

  // P = kPieceTokens.
  std::vector<int64_t> positions;  ///< [P]
  std::vector<float> streams;      ///< [P, hc_mult, hidden]
  std::vector<float> collapsed;    ///< [P, hidden] input of a sublayer, normalised in place
  std::vector<float> sublayer;     ///< [P, hidden] output of a sublayer
  std::vector<float> hc_pre;       ///< [P, hc_mult]
  std::vector<float> hc_post;      ///< [P, hc_mult]
  std::vector<float> hc_comb;      ///< [P, hc_mult, hc_mult]

  // Attention.
  std::vector<float> q_low;           ///< [P, q_rank]
  std::vector<float> q;               ///< [P, heads, head_dim]
  std::vector<float> attended;        ///< [P, heads, head_dim]
  std::vector<float> kv;              ///< [P, head_dim]
  RowBuffer new_rows;                 ///< [P] window rows as stored
  std::vector<float> window;          ///< [window-1 + P, head_dim] as read back
  std::vector<int64_t> window_begin;  ///< [P]
  std::vector<int64_t> window_end;    ///< [P]
  std::vector<int64_t> visible;       ///< [P] entries
  std::vector<float> o_low;           ///< [P, o_groups, o_rank]

  // Compressors.
  std::vector<float> value;              ///< [ratio-1 + P, width]
  std::vector<float> gate;               ///< [ratio-1 + P, width]
  std::vector<float> slot_value;         ///< [P/4 + 1, 8, dim], overlapping windows only
  std::vector<float> slot_gate;          ///< [P/4 + 1, 8, dim]
  std::vector<float> pooled;             ///< [P/4 + 1, dim]
  std::vector<int64_t> entry_positions;  ///< [P/4 + 1]

  // Indexer.
  std::vector<float> index_q;        ///< [P, index_heads, index_dim]
  std::vector<float> index_weights;  ///< [P, index_heads]
  std::vector<int32_t> selected;     ///< [P, index_topk]

  // Experts.
  std::vector<float> router_logits;    ///< [P, experts]
  std::vector<int32_t> forced_ids;     ///< [P, experts_per_token]
  std::vector<int32_t> expert_ids;     ///< [P, experts_per_token]
  std::vector<float> expert_weights;   ///< [P, experts_per_token]
  std::vector<int32_t> expert_tokens;  ///< [P] tokens of one expert
  std::vector<float> routed_x;         ///< [P, hidden] their inputs
  std::vector<float> routed_weight;    ///< [P]
  std::vector<float> expert_gate;      ///< [P, expert_dim * shared_experts]
  std::vector<float> expert_up;        ///< [P, expert_dim * shared_experts]
  std::vector<float> expert_product;   ///< [P, expert_dim * shared_experts]
  std::vector<float> expert_out;       ///< [P, hidden]
};

}  // namespace baleen
