#include "model/checkpoint/tensor_table.h"

#include <utility>

#include "model/checkpoint/shape.h"

namespace baleen {
namespace {

class Table {
 public:
  void Add(std::string name, std::vector<int64_t> shape, TensorFormat format) {
    tensors_.push_back({prefix_ + std::move(name), std::move(shape), format});
  }
  void set_prefix(std::string prefix) { prefix_ = std::move(prefix); }
  std::vector<TensorSpec> Take() { return std::move(tensors_); }

 private:
  std::string prefix_;
  std::vector<TensorSpec> tensors_;
};

void AddHyperConnection(const std::string& site, const ModelConfig& c, Table& table) {
  const int64_t gates = (2 + c.hc_mult) * c.hc_mult;
  table.Add("hc_" + site + "_fn", {gates, c.hc_mult * c.hidden}, TensorFormat::kF32);
  table.Add("hc_" + site + "_base", {gates}, TensorFormat::kF32);
  table.Add("hc_" + site + "_scale", {3}, TensorFormat::kF32);
}

void AddHeadMix(const ModelConfig& c, Table& table) {
  table.Add("norm.weight", {c.hidden}, TensorFormat::kNorm);
  table.Add("hc_head_fn", {c.hc_mult, c.hc_mult * c.hidden}, TensorFormat::kF32);
  table.Add("hc_head_base", {c.hc_mult}, TensorFormat::kF32);
  table.Add("hc_head_scale", {1}, TensorFormat::kF32);
}

// CSA pools overlapping windows and so projects to both halves; HCA's windows are disjoint.
void AddCompressor(const std::string& prefix, int64_t ratio, int64_t dim, const ModelConfig& c,
                   Table& table) {
  const int64_t width = ratio == kCsaRatio ? 2 * dim : dim;
  table.Add(prefix + "ape", {ratio, width}, TensorFormat::kF32);
  table.Add(prefix + "wkv.weight", {width, c.hidden}, TensorFormat::kBf16);
  table.Add(prefix + "wgate.weight", {width, c.hidden}, TensorFormat::kBf16);
  table.Add(prefix + "norm.weight", {dim}, TensorFormat::kNorm);
}

void AddAttention(LayerKind kind, const ModelConfig& c, Table& table) {
  const int64_t group_width = c.heads / c.o_groups * c.head_dim;
  table.Add("attn.attn_sink", {c.heads}, TensorFormat::kF32);
  table.Add("attn.wq_a.weight", {c.q_rank, c.hidden}, TensorFormat::kFp8);
  table.Add("attn.q_norm.weight", {c.q_rank}, TensorFormat::kNorm);
  table.Add("attn.wq_b.weight", {c.heads * c.head_dim, c.q_rank}, TensorFormat::kFp8);
  table.Add("attn.wkv.weight", {c.head_dim, c.hidden}, TensorFormat::kFp8);
  table.Add("attn.kv_norm.weight", {c.head_dim}, TensorFormat::kNorm);
  table.Add("attn.wo_a.weight", {c.o_groups * c.o_rank, group_width}, TensorFormat::kFp8);
  table.Add("attn.wo_b.weight", {c.hidden, c.o_groups * c.o_rank}, TensorFormat::kFp8);
  if (kind == LayerKind::kWindow) return;
  const int64_t ratio = kind == LayerKind::kCsa ? kCsaRatio : kHcaRatio;
  AddCompressor("attn.compressor.", ratio, c.head_dim, c, table);
  if (kind != LayerKind::kCsa) return;
  table.Add("attn.indexer.wq_b.weight", {c.index_heads * c.index_dim, c.q_rank},
            TensorFormat::kFp8);
  table.Add("attn.indexer.weights_proj.weight", {c.index_heads, c.hidden}, TensorFormat::kBf16);
  AddCompressor("attn.indexer.compressor.", ratio, c.index_dim, c, table);
}

void AddExpert(const std::string& prefix, int64_t width, TensorFormat format, const ModelConfig& c,
               Table& table) {
  table.Add(prefix + "w1.weight", {width, c.hidden}, format);
  table.Add(prefix + "w2.weight", {c.hidden, width}, format);
  table.Add(prefix + "w3.weight", {width, c.hidden}, format);
}

void AddFeedForward(bool hash_routed, const ModelConfig& c, Table& table) {
  table.Add("ffn.gate.weight", {c.experts, c.hidden}, TensorFormat::kBf16);
  if (hash_routed) {
    table.Add("ffn.gate.tid2eid", {c.vocab, c.experts_per_token}, TensorFormat::kHashTable);
  } else {
    table.Add("ffn.gate.bias", {c.experts}, TensorFormat::kF32);
  }
  AddExpert("ffn.shared_experts.", c.expert_dim * c.shared_experts, TensorFormat::kFp8, c, table);
  for (int64_t e = 0; e < c.experts; ++e) {
    AddExpert("ffn.experts." + std::to_string(e) + ".", c.expert_dim, TensorFormat::kExpert, c,
              table);
  }
}

void AddBlock(LayerKind kind, bool hash_routed, const ModelConfig& c, Table& table) {
  table.Add("attn_norm.weight", {c.hidden}, TensorFormat::kNorm);
  table.Add("ffn_norm.weight", {c.hidden}, TensorFormat::kNorm);
  AddHyperConnection("attn", c, table);
  AddHyperConnection("ffn", c, table);
  AddAttention(kind, c, table);
  AddFeedForward(hash_routed, c, table);
}

}  // namespace

std::string ScaleName(const std::string& weight_name) {
  constexpr std::string_view kSuffix = "weight";
  return weight_name.substr(0, weight_name.size() - kSuffix.size()) + "scale";
}

std::vector<TensorSpec> BackboneTensors(const ModelConfig& config) {
  Table table;
  table.Add("embed.weight", {config.vocab, config.hidden}, TensorFormat::kBf16);
  for (int64_t l = 0; l < config.layers; ++l) {
    table.set_prefix("layers." + std::to_string(l) + ".");
    AddBlock(config.layer_kinds[static_cast<size_t>(l)], l < config.hash_layers, config, table);
  }
  table.set_prefix("");
  AddHeadMix(config, table);
  table.Add("head.weight", {config.vocab, config.hidden}, TensorFormat::kBf16);
  return table.Take();
}

std::vector<TensorSpec> MtpTensors(const ModelConfig& config) {
  Table table;
  for (int64_t k = 0; k < config.mtp_layers; ++k) {
    table.set_prefix("mtp." + std::to_string(k) + ".");
    AddBlock(LayerKind::kWindow, /*hash_routed=*/false, config, table);
    AddHeadMix(config, table);
    table.Add("enorm.weight", {config.hidden}, TensorFormat::kNorm);
    table.Add("hnorm.weight", {config.hidden}, TensorFormat::kNorm);
    table.Add("e_proj.weight", {config.hidden, config.hidden}, TensorFormat::kFp8);
    table.Add("h_proj.weight", {config.hidden, config.hidden}, TensorFormat::kFp8);
  }
  return table.Take();
}

int64_t ParameterCount(const std::vector<TensorSpec>& tensors) {
  int64_t total = 0;
  for (const TensorSpec& tensor : tensors) total += Elements(tensor.shape);
  return total;
}

int64_t ActiveParameterCount(const ModelConfig& config) {
  const int64_t expert = 3 * config.expert_dim * config.hidden;
  const int64_t idle = config.experts - config.experts_per_token;
  return ParameterCount(BackboneTensors(config)) - config.layers * idle * expert -
         config.vocab * config.hidden;
}

}  // namespace baleen
