// ModelConfig: the dimensions of one DeepSeek-V4, as its config.json states them.
//
// Flash, Pro and toys differ only in data. Read by the checkpoint loader; every other part of
// model/ takes its shapes from here.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tools_sdk/status.h"

namespace baleen {

/// What a layer's attention looks back on.
enum class LayerKind { kWindow, kCsa, kHca };

inline constexpr int kCsaRatio = 4;
inline constexpr int kHcaRatio = 128;

enum class ChatDialect { kUnknown, kPreview, k0731 };

struct ModelConfig {
  int64_t vocab = 0;
  int64_t hidden = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t head_dim = 0;
  int64_t rope_dim = 0;  ///< Last channels of a head; even.
  int64_t q_rank = 0;
  int64_t o_rank = 0;  ///< Per group.
  int64_t o_groups = 0;
  int64_t window = 0;  ///< Includes the current token.
  int64_t index_heads = 0;
  int64_t index_dim = 0;
  int64_t index_topk = 0;
  int64_t expert_dim = 0;
  int64_t experts = 0;
  int64_t shared_experts = 0;
  int64_t experts_per_token = 0;
  int64_t hash_layers = 0;
  float route_scale = 1.0F;
  float swiglu_limit = 0;  ///< <= 0: none.
  int64_t hc_mult = 0;
  int sinkhorn_iterations = 0;
  float hc_eps = 0;
  float norm_eps = 0;
  double rope_theta = 10000;            ///< Window-only layers and MTP; no YaRN.
  double compress_rope_theta = 160000;  ///< CSA and HCA layers, with YaRN.
  double yarn_factor = 1;               ///< 1: no YaRN.
  int64_t yarn_original_positions = 0;
  double yarn_beta_fast = 32;
  double yarn_beta_slow = 1;
  int64_t positions_max = 0;
  int64_t mtp_layers = 0;
  bool tied_embeddings = false;
  std::string expert_dtype = "fp4";    ///< "fp4" or "fp8"; ignored for unquantised checkpoints.
  std::vector<LayerKind> layer_kinds;  ///< [layers]
  int64_t bos_id = 0;
  int64_t eos_id = 1;
  ChatDialect dialect = ChatDialect::kUnknown;

  /// Compression ratio of layer l: 0, 4 or 128.
  int64_t Ratio(int64_t layer) const;

  /// Parses a Hugging Face config.json: the official form (`compress_ratios`) and the transformers
  /// form (`layer_types`, nested rope parameters).
  /// Errors: INVALID_ARGUMENT naming the field, what was expected and what was found.
  static Result<ModelConfig> FromJson(std::string_view json);

  /// Refuses dimensions that cannot work. Called by FromJson.
  Status Validate() const;

  /// Canonical JSON text (sorted keys), for the fingerprint and for `inspect`.
  std::string ToJson() const;
};

}  // namespace baleen
