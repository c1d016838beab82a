#include "model/checkpoint/tensor_names.h"

#include <span>

namespace baleen {
namespace {

struct Rename {
  std::string_view official;
  std::string_view transformers;
};

// Whole names outside the layers.
constexpr Rename kTopNames[] = {
    {"embed.weight", "embed_tokens.weight"}, {"head.weight", "lm_head.weight"},
    {"hc_head_fn", "hc_head.hc_fn"},         {"hc_head_base", "hc_head.hc_base"},
    {"hc_head_scale", "hc_head.hc_scale"},   {"norm.weight", "norm.weight"},
};

// Within a layer: names without ".weight" and ".scale". For each direction the first match counts,
// so older spellings come after the current one.
constexpr Rename kLayerNames[] = {
    {"attn_norm", "input_layernorm"},
    {"ffn_norm", "post_attention_layernorm"},
    {"hc_attn_fn", "attn_hc.fn"},
    {"hc_attn_base", "attn_hc.base"},
    {"hc_attn_scale", "attn_hc.scale"},
    {"hc_ffn_fn", "ffn_hc.fn"},
    {"hc_ffn_base", "ffn_hc.base"},
    {"hc_ffn_scale", "ffn_hc.scale"},
    {"attn.attn_sink", "self_attn.sinks"},
    {"attn.wq_a", "self_attn.q_a_proj"},
    {"attn.wq_b", "self_attn.q_b_proj"},
    {"attn.wkv", "self_attn.kv_proj"},
    {"attn.wo_a", "self_attn.o_a_proj"},
    {"attn.wo_b", "self_attn.o_b_proj"},
    {"attn.q_norm", "self_attn.q_a_norm"},
    {"attn.kv_norm", "self_attn.kv_norm"},
    {"attn.kv_norm", "attn.norm"},  // What transformers' save_pretrained makes of it by default.
    {"attn.compressor.wkv", "self_attn.compressor.kv_proj"},
    {"attn.compressor.wgate", "self_attn.compressor.gate_proj"},
    {"attn.compressor.ape", "self_attn.compressor.position_bias"},
    {"attn.compressor.norm", "self_attn.compressor.kv_norm"},
    {"attn.indexer.wq_b", "self_attn.compressor.indexer.q_b_proj"},
    {"attn.indexer.weights_proj", "self_attn.compressor.indexer.scorer.weights_proj"},
    {"attn.indexer.weights_proj", "self_attn.compressor.indexer.weights_proj"},
    {"attn.indexer.compressor.wkv", "self_attn.compressor.indexer.kv_proj"},
    {"attn.indexer.compressor.wgate", "self_attn.compressor.indexer.gate_proj"},
    {"attn.indexer.compressor.ape", "self_attn.compressor.indexer.position_bias"},
    {"attn.indexer.compressor.norm", "self_attn.compressor.indexer.kv_norm"},
    {"ffn.gate", "mlp.gate"},
    {"ffn.gate.bias", "mlp.gate.e_score_correction_bias"},
    {"ffn.gate.tid2eid", "mlp.gate.tid2eid"},
    {"ffn.shared_experts.w1", "mlp.shared_experts.gate_proj"},
    {"ffn.shared_experts.w2", "mlp.shared_experts.down_proj"},
    {"ffn.shared_experts.w3", "mlp.shared_experts.up_proj"},
};

struct FusedName {
  std::string_view leaf;
  FusedKind fused;
  bool scale;
};

constexpr std::string_view kFusedPrefix = "mlp.experts.";
constexpr FusedName kFusedNames[] = {
    {"gate_up_proj", FusedKind::kGateUp, false},
    {"down_proj", FusedKind::kDown, false},
    {"gate_up_proj_scale_inv", FusedKind::kGateUp, true},
    {"down_proj_scale_inv", FusedKind::kDown, true},
};

// Transformers' expert matrices where they were left apart: "mlp.experts.7.up_proj.weight".
constexpr Rename kExpertNames[] = {{"w1", "gate_proj"}, {"w2", "down_proj"}, {"w3", "up_proj"}};

// Splits "layers.12.rest" into "layers.12." and "rest"; the first is empty if it isn't one.
std::string_view LayerPrefix(std::string_view name) {
  constexpr std::string_view kLayers = "layers.";
  if (!name.starts_with(kLayers)) return {};
  const size_t dot = name.find('.', kLayers.size());
  return dot == std::string_view::npos ? std::string_view() : name.substr(0, dot + 1);
}

// Splits ".weight", ".scale" and its other spelling off; `*suffix` gets the official spelling.
std::string_view Stem(std::string_view name, std::string_view* suffix) {
  constexpr Rename kSuffixes[] = {
      {".scale", ".weight_scale_inv"}, {".weight", ".weight"}, {".scale", ".scale"}};
  for (const Rename& rename : kSuffixes) {
    if (!name.ends_with(rename.transformers)) continue;
    *suffix = rename.official;
    return name.substr(0, name.size() - rename.transformers.size());
  }
  return name;
}

std::string_view OfficialStem(std::string_view stem) {
  for (const Rename& rename : kLayerNames) {
    if (rename.transformers == stem) return rename.official;
  }
  return {};
}

// "mlp.experts.7.up_proj" -> "ffn.experts.7.w3"; empty if it isn't one.
std::string OfficialExpertStem(std::string_view stem) {
  if (!stem.starts_with(kFusedPrefix)) return {};
  for (const Rename& rename : kExpertNames) {
    if (!stem.ends_with(rename.transformers)) continue;
    const std::string_view number =  // With the dot after it.
        stem.substr(kFusedPrefix.size(),
                    stem.size() - kFusedPrefix.size() - rename.transformers.size());
    if (number.size() < 2 || number.back() != '.') return {};
    std::string official = "ffn.experts.";
    official += number;
    official += rename.official;
    return official;
  }
  return {};
}

}  // namespace

TensorName OfficialName(std::string_view file_name) {
  constexpr std::string_view kModel = "model.";
  std::string_view name = file_name;
  if (name.starts_with(kModel)) name.remove_prefix(kModel.size());
  for (const Rename& rename : kTopNames) {
    if (rename.transformers == name) return {std::string(rename.official)};
  }
  const std::string prefix(LayerPrefix(name));
  const std::string_view rest = name.substr(prefix.size());
  if (!prefix.empty() && rest.starts_with(kFusedPrefix)) {
    for (const FusedName& fused : kFusedNames) {
      if (rest.substr(kFusedPrefix.size()) == fused.leaf) {
        return {prefix + "ffn.experts.", fused.fused, fused.scale};
      }
    }
  }
  // The released layer gates end in ".attn_hc.scale" under transformers: whole names before
  // suffixes.
  if (const std::string_view whole = OfficialStem(rest); !prefix.empty() && !whole.empty()) {
    return {prefix + std::string(whole)};
  }
  std::string_view suffix;
  const std::string_view stem = Stem(rest, &suffix);
  std::string official(prefix.empty() ? std::string_view() : OfficialStem(stem));
  if (official.empty()) official = prefix.empty() ? std::string() : OfficialExpertStem(stem);
  if (official.empty()) official = stem;
  return {prefix + official + std::string(suffix)};
}

std::optional<std::string> TransformersName(std::string_view official) {
  for (const Rename& rename : kTopNames) {
    if (rename.official != official) continue;
    const bool outside = rename.transformers.starts_with("lm_head");
    std::string name = outside ? "" : "model.";
    name += rename.transformers;
    return name;
  }
  const std::string_view prefix = LayerPrefix(official);
  if (prefix.empty()) return std::nullopt;
  const std::string_view rest = official.substr(prefix.size());
  for (const Rename& rename : kLayerNames) {
    std::string_view suffix;
    if (rest.starts_with(rename.official)) suffix = rest.substr(rename.official.size());
    const bool scale = suffix == ".scale";
    if (rest != rename.official && !scale && suffix != ".weight") continue;
    std::string name = "model.";
    name += prefix;
    name += rename.transformers;
    name += scale ? ".weight_scale_inv" : suffix;
    return name;
  }
  return std::nullopt;
}

}  // namespace baleen
