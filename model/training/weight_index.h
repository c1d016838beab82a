// WeightIndex: where each tensor of the graph lies in a ParameterSet. Resolved once per graph.
#pragma once

#include <cstddef>
#include <vector>

#include "model/config.h"
#include "model/training/parameters.h"

namespace baleen::training {

struct HcIndex {
  size_t fn = 0;
  size_t base = 0;
  size_t scale = 0;
};

struct CompressorIndex {
  size_t value = 0;  ///< wkv
  size_t gate = 0;
  size_t ape = 0;
  size_t norm = 0;
};

struct AttentionIndex {
  size_t sink = 0;
  size_t q_a = 0;
  size_t q_norm = 0;
  size_t q_b = 0;
  size_t kv = 0;
  size_t kv_norm = 0;
  size_t o_a = 0;
  size_t o_b = 0;
  CompressorIndex compressor;  ///< CSA, HCA.
  size_t index_q = 0;          ///< CSA.
  size_t index_proj = 0;
  CompressorIndex index_compressor;
};

struct ExpertIndex {
  size_t gate = 0;  ///< w1
  size_t up = 0;    ///< w3
  size_t down = 0;  ///< w2
};

struct MoeIndex {
  size_t router = 0;
  size_t bias = 0;      ///< Score-routed layers.
  int hash_table = -1;  ///< Place in hash_tables(); -1: score-routed.
  std::vector<ExpertIndex> experts;
  ExpertIndex shared;
};

struct LayerIndex {
  LayerKind kind = LayerKind::kWindow;
  HcIndex attn_hc;
  size_t attn_norm = 0;
  AttentionIndex attn;
  HcIndex ffn_hc;
  size_t ffn_norm = 0;
  MoeIndex moe;
};

struct HeadIndex {
  HcIndex hc;
  size_t norm = 0;
};

struct WeightIndex {
  size_t embedding = 0;
  size_t head = 0;
  HeadIndex head_mix;
  std::vector<LayerIndex> layers;  ///< The draft block's last, if there is one.
  bool has_draft = false;
  HeadIndex draft_mix;
  size_t draft_enorm = 0;
  size_t draft_hnorm = 0;
  size_t draft_e_proj = 0;
  size_t draft_h_proj = 0;

  /// Requires: at most one draft block; `parameters` made from its config.
  static WeightIndex Of(const ParameterSet& parameters);
};

}  // namespace baleen::training
