#include "model/training/weight_index.h"

#include <string>

#include "kernels/check.h"

namespace baleen::training {
namespace {

class Resolver {
 public:
  explicit Resolver(const ParameterSet& parameters) : parameters_(parameters) {}
  void set_prefix(std::string prefix) { prefix_ = std::move(prefix); }

  size_t At(const std::string& name) const {
    const int64_t at = parameters_.IndexOf(prefix_ + name);
    DCHECK(at >= 0);
    return static_cast<size_t>(at);
  }

  int HashTableAt(const std::string& name) const {
    int at = 0;
    for (const HashTable& table : parameters_.hash_tables()) {
      if (table.name == prefix_ + name) return at;
      ++at;
    }
    return -1;
  }

  HcIndex Hc(const std::string& site) const {
    return {At("hc_" + site + "_fn"), At("hc_" + site + "_base"), At("hc_" + site + "_scale")};
  }

  CompressorIndex Compressor(const std::string& prefix) const {
    return {At(prefix + "wkv.weight"), At(prefix + "wgate.weight"), At(prefix + "ape"),
            At(prefix + "norm.weight")};
  }

  ExpertIndex Expert(const std::string& prefix) const {
    return {At(prefix + "w1.weight"), At(prefix + "w3.weight"), At(prefix + "w2.weight")};
  }

  AttentionIndex Attention(LayerKind kind) const {
    AttentionIndex a;
    a.sink = At("attn.attn_sink");
    a.q_a = At("attn.wq_a.weight");
    a.q_norm = At("attn.q_norm.weight");
    a.q_b = At("attn.wq_b.weight");
    a.kv = At("attn.wkv.weight");
    a.kv_norm = At("attn.kv_norm.weight");
    a.o_a = At("attn.wo_a.weight");
    a.o_b = At("attn.wo_b.weight");
    if (kind == LayerKind::kWindow) return a;
    a.compressor = Compressor("attn.compressor.");
    if (kind == LayerKind::kHca) return a;
    a.index_q = At("attn.indexer.wq_b.weight");
    a.index_proj = At("attn.indexer.weights_proj.weight");
    a.index_compressor = Compressor("attn.indexer.compressor.");
    return a;
  }

  MoeIndex Moe(int64_t experts) const {
    MoeIndex m;
    m.router = At("ffn.gate.weight");
    m.hash_table = HashTableAt("ffn.gate.tid2eid");
    if (m.hash_table < 0) m.bias = At("ffn.gate.bias");
    for (int64_t e = 0; e < experts; ++e) {
      m.experts.push_back(Expert("ffn.experts." + std::to_string(e) + "."));
    }
    m.shared = Expert("ffn.shared_experts.");
    return m;
  }

  LayerIndex Layer(LayerKind kind, int64_t experts) const {
    return {kind,
            Hc("attn"),
            At("attn_norm.weight"),
            Attention(kind),
            Hc("ffn"),
            At("ffn_norm.weight"),
            Moe(experts)};
  }

 private:
  const ParameterSet& parameters_;
  std::string prefix_;
};

}  // namespace

WeightIndex WeightIndex::Of(const ParameterSet& parameters) {
  const ModelConfig& config = parameters.config();
  Resolver resolver(parameters);
  WeightIndex index;
  index.embedding = resolver.At("embed.weight");
  index.head = resolver.At("head.weight");
  index.head_mix = {resolver.Hc("head"), resolver.At("norm.weight")};
  for (int64_t l = 0; l < config.layers; ++l) {
    resolver.set_prefix("layers." + std::to_string(l) + ".");
    index.layers.push_back(
        resolver.Layer(config.layer_kinds[static_cast<size_t>(l)], config.experts));
  }
  index.has_draft = config.mtp_layers > 0;
  if (!index.has_draft) return index;
  resolver.set_prefix("mtp.0.");
  index.layers.push_back(resolver.Layer(LayerKind::kWindow, config.experts));
  index.draft_mix = {resolver.Hc("head"), resolver.At("norm.weight")};
  index.draft_enorm = resolver.At("enorm.weight");
  index.draft_hnorm = resolver.At("hnorm.weight");
  index.draft_e_proj = resolver.At("e_proj.weight");
  index.draft_h_proj = resolver.At("h_proj.weight");
  return index;
}

}  // namespace baleen::training
