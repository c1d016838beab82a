// What the dimensions of a DeepSeek-V4 must satisfy. Reading and writing JSON is in config_json.cc.
#include "model/config.h"

#include <algorithm>
#include <cstdint>
#include <string>

namespace baleen {
namespace {

// Bounds that keep every product of two dimensions far inside int64_t, and the list of tensors
// small enough to hold. The largest released model needs 129280, 61 layers and 384 experts.
constexpr int64_t kDimMax = int64_t{1} << 24;
constexpr int64_t kLayersMax = 4096;
constexpr int64_t kExpertMatricesMax = int64_t{1} << 18;
constexpr int64_t kMatrixElementsMax = int64_t{1} << 40;
constexpr int64_t kPositionsMax = int64_t{1} << 30;
constexpr int64_t kMtpLayersMax = 8;
constexpr int64_t kHcMultMax = 8;
constexpr int kSinkhornMax = 1000;

Status Refuse(const std::string& field, const std::string& expected, const std::string& got) {
  return InvalidArgumentError("config.json: " + field + ": expected " + expected + ", got " + got);
}

struct NamedDim {
  const char* field;
  int64_t value;
};

Status CheckRange(const NamedDim& dim, int64_t low, int64_t high) {
  if (dim.value >= low && dim.value <= high) return OkStatus();
  return Refuse(dim.field, std::to_string(low) + " to " + std::to_string(high),
                std::to_string(dim.value));
}

Status CheckAttention(const ModelConfig& c) {
  if (c.heads % c.o_groups != 0) {
    return Refuse("o_groups", "a divisor of num_attention_heads (" + std::to_string(c.heads) + ")",
                  std::to_string(c.o_groups));
  }
  if (c.rope_dim % 2 != 0 || c.rope_dim > c.head_dim) {
    return Refuse("qk_rope_head_dim",
                  "an even number of at most head_dim (" + std::to_string(c.head_dim) + ")",
                  std::to_string(c.rope_dim));
  }
  const bool csa = std::count(c.layer_kinds.begin(), c.layer_kinds.end(), LayerKind::kCsa) > 0;
  if (csa && c.rope_dim > c.index_dim) {
    return Refuse("index_head_dim",
                  "at least qk_rope_head_dim (" + std::to_string(c.rope_dim) + ")",
                  std::to_string(c.index_dim));
  }
  if (!(c.rope_theta > 1) || !(c.compress_rope_theta > 1)) {
    return Refuse("rope_theta", "both bases above 1",
                  std::to_string(c.rope_theta) + " and " + std::to_string(c.compress_rope_theta));
  }
  if (!(c.yarn_factor >= 1) || (c.yarn_factor > 1 && c.yarn_original_positions <= 0)) {
    return Refuse(
        "rope_scaling", "factor >= 1 and original_max_position_embeddings > 0",
        std::to_string(c.yarn_factor) + " and " + std::to_string(c.yarn_original_positions));
  }
  if (!(c.yarn_beta_slow > 0) || !(c.yarn_beta_fast >= c.yarn_beta_slow)) {
    return Refuse("rope_scaling", "beta_fast >= beta_slow > 0",
                  std::to_string(c.yarn_beta_fast) + " and " + std::to_string(c.yarn_beta_slow));
  }
  return OkStatus();
}

Status CheckExperts(const ModelConfig& c) {
  if (c.experts_per_token > c.experts) {
    return Refuse("num_experts_per_tok",
                  "at most n_routed_experts (" + std::to_string(c.experts) + ")",
                  std::to_string(c.experts_per_token));
  }
  if (c.expert_dtype != "fp4" && c.expert_dtype != "fp8") {
    return Refuse("expert_dtype", "\"fp4\" or \"fp8\"", '"' + c.expert_dtype + '"');
  }
  if (!(c.route_scale > 0)) {
    return Refuse("routed_scaling_factor", "a positive number", std::to_string(c.route_scale));
  }
  const int64_t matrices = (c.layers + c.mtp_layers) * c.experts;
  if (matrices > kExpertMatricesMax) {
    return Refuse("n_routed_experts",
                  "at most " + std::to_string(kExpertMatricesMax) + " experts over all layers",
                  std::to_string(matrices));
  }
  return OkStatus();
}

Status CheckMatrix(const char* what, int64_t rows, int64_t cols) {
  if (rows <= kMatrixElementsMax / cols) return OkStatus();
  return Refuse(what, "a matrix of at most 2^40 elements",
                std::to_string(rows) + " x " + std::to_string(cols));
}

}  // namespace

int64_t ModelConfig::Ratio(int64_t layer) const {
  switch (layer_kinds[static_cast<size_t>(layer)]) {
    case LayerKind::kCsa: return kCsaRatio;
    case LayerKind::kHca: return kHcaRatio;
    case LayerKind::kWindow: break;
  }
  return 0;
}

Status ModelConfig::Validate() const {
  const NamedDim dims[] = {{"vocab_size", vocab},
                           {"hidden_size", hidden},
                           {"num_attention_heads", heads},
                           {"head_dim", head_dim},
                           {"qk_rope_head_dim", rope_dim},
                           {"q_lora_rank", q_rank},
                           {"o_lora_rank", o_rank},
                           {"o_groups", o_groups},
                           {"sliding_window", window},
                           {"index_n_heads", index_heads},
                           {"index_head_dim", index_dim},
                           {"index_topk", index_topk},
                           {"n_routed_experts", experts},
                           {"moe_intermediate_size", expert_dim},
                           {"n_shared_experts", shared_experts},
                           {"num_experts_per_tok", experts_per_token}};
  for (const NamedDim& dim : dims) RETURN_IF_ERROR(CheckRange(dim, 1, kDimMax));
  RETURN_IF_ERROR(CheckRange({"num_hidden_layers", layers}, 1, kLayersMax));
  RETURN_IF_ERROR(CheckRange({"max_position_embeddings", positions_max}, 1, kPositionsMax));
  RETURN_IF_ERROR(CheckRange({"hc_mult", hc_mult}, 1, kHcMultMax));
  RETURN_IF_ERROR(CheckRange({"hc_sinkhorn_iters", sinkhorn_iterations}, 1, kSinkhornMax));
  RETURN_IF_ERROR(CheckRange({"num_hash_layers", hash_layers}, 0, layers));
  RETURN_IF_ERROR(CheckRange({"num_nextn_predict_layers", mtp_layers}, 0, kMtpLayersMax));
  RETURN_IF_ERROR(CheckRange({"bos_token_id", bos_id}, 0, vocab - 1));
  RETURN_IF_ERROR(CheckRange({"eos_token_id", eos_id}, 0, vocab - 1));
  if (static_cast<int64_t>(layer_kinds.size()) != layers) {
    return Refuse("compress_ratios", std::to_string(layers) + " layer kinds",
                  std::to_string(layer_kinds.size()));
  }
  if (tied_embeddings) return Refuse("tie_word_embeddings", "false", "true");
  if (!(hc_eps >= 0) || !(norm_eps >= 0)) return Refuse("rms_norm_eps, hc_eps", ">= 0", "less");
  RETURN_IF_ERROR(CheckAttention(*this));
  RETURN_IF_ERROR(CheckExperts(*this));
  RETURN_IF_ERROR(CheckMatrix("vocab_size", vocab, hidden));
  RETURN_IF_ERROR(CheckMatrix("head_dim", heads * head_dim, std::max(q_rank, o_rank)));
  RETURN_IF_ERROR(
      CheckMatrix("o_lora_rank", o_groups * o_rank, std::max(hidden, heads * head_dim)));
  RETURN_IF_ERROR(CheckMatrix("index_head_dim", index_heads * index_dim, q_rank));
  RETURN_IF_ERROR(CheckMatrix("q_lora_rank", std::max(q_rank, 2 * head_dim), hidden));
  RETURN_IF_ERROR(CheckMatrix("n_routed_experts", experts, std::max(hidden, experts_per_token)));
  RETURN_IF_ERROR(CheckMatrix("vocab_size", vocab, experts_per_token));
  return CheckMatrix("moe_intermediate_size", expert_dim * shared_experts, hidden);
}

}  // namespace baleen
