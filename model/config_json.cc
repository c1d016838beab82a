// config.json <-> ModelConfig. What the fields must satisfy together is in config.cc.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "model/config.h"
#include "model/config_fields.h"

namespace baleen {
namespace {

using Json = nlohmann::json;

void ReadDimensions(Fields& fields, ModelConfig& config) {
  fields.Fixed("model_type", "deepseek_v4");
  fields.Int("vocab_size", &config.vocab);
  fields.Int("hidden_size", &config.hidden);
  fields.Int("num_hidden_layers", &config.layers);
  fields.Int("num_attention_heads", &config.heads);
  fields.Fixed("num_key_value_heads", 1);
  fields.Int("head_dim", &config.head_dim);
  fields.Int("q_lora_rank", &config.q_rank);
  fields.Int("o_lora_rank", &config.o_rank);
  fields.Int("o_groups", &config.o_groups);
  fields.Int("sliding_window", &config.window);
  fields.Int("index_n_heads", &config.index_heads);
  fields.Int("index_head_dim", &config.index_dim);
  fields.Int("index_topk", &config.index_topk);
  fields.Int("moe_intermediate_size", &config.expert_dim);
  fields.Int("n_routed_experts", &config.experts);
  config.shared_experts = 1;
  fields.OptionalInt("n_shared_experts", &config.shared_experts);
  fields.Int("num_experts_per_tok", &config.experts_per_token);
  fields.Int("hc_mult", &config.hc_mult);
  fields.Int("max_position_embeddings", &config.positions_max);
  fields.OptionalInt("num_nextn_predict_layers", &config.mtp_layers);
}

void ReadScalars(Fields& fields, ModelConfig& config) {
  fields.Fixed("scoring_func", "sqrtsoftplus");
  fields.Fixed("topk_method", "noaux_tc");
  fields.Fixed("norm_topk_prob", true);
  fields.Fixed("hidden_act", "silu");
  fields.Fixed("attention_bias", false);
  fields.Fixed("mlp_bias", false);
  fields.Fixed("tie_word_embeddings", false);  // No released V4 ties them; the loader wants both.
  fields.Number("routed_scaling_factor", &config.route_scale);
  fields.Number("swiglu_limit", &config.swiglu_limit);
  int64_t iterations = 20;
  fields.OptionalInt("hc_sinkhorn_iters", &iterations);
  config.sinkhorn_iterations =
      static_cast<int>(std::clamp<int64_t>(iterations, -1, std::numeric_limits<int>::max()));
  config.hc_eps = 1e-6F;
  fields.OptionalNumber("hc_eps", &config.hc_eps);
  config.norm_eps = 1e-6F;
  fields.OptionalNumber("rms_norm_eps", &config.norm_eps);
  fields.OptionalInt("bos_token_id", &config.bos_id);
  const Json* eos = fields.Find("eos_token_id");
  if (eos != nullptr && eos->is_array() && !eos->empty() && (*eos)[0].is_number_integer()) {
    config.eos_id = (*eos)[0].get<int64_t>();  // A list means "any of these"; the first is EOS.
  } else {
    fields.OptionalInt("eos_token_id", &config.eos_id);
  }
  fields.OptionalString("expert_dtype", &config.expert_dtype);
  if (const Json* quantisation = fields.Object("quantization_config")) {
    Fields inner(*quantisation, "quantization_config.");
    inner.OptionalString("expert_dtype", &config.expert_dtype);
    fields.Fail(inner.status());
  }
}

// The YaRN parameters of the compressed layers; `rope` is `rope_scaling` or
// `rope_parameters.compress`.
void ReadYarn(const Json& rope, const std::string& prefix, Fields& fields, ModelConfig& config) {
  Fields yarn(rope, prefix);
  std::string type = "default";
  yarn.OptionalString("type", &type);
  yarn.OptionalString("rope_type", &type);
  yarn.OptionalNumber("rope_theta", &config.compress_rope_theta);
  yarn.Fixed("attention_factor", 1.0);  // V4 scales neither the rotation nor the softmax.
  if (type == "yarn") {
    yarn.Number("factor", &config.yarn_factor);
    yarn.Int("original_max_position_embeddings", &config.yarn_original_positions);
    yarn.OptionalNumber("beta_fast", &config.yarn_beta_fast);
    yarn.OptionalNumber("beta_slow", &config.yarn_beta_slow);
  } else if (type != "default") {
    yarn.Complain("rope_type", "\"yarn\" or \"default\"", '"' + type + '"');
  }
  fields.Fail(yarn.status());
}

// partial_rotary_factor -> channels. Rounded, since 64/96 has no exact representation.
void ReadRotaryFactor(double factor, Fields& fields, ModelConfig& config) {
  const double channels = factor * static_cast<double>(config.head_dim);
  if (!(channels >= 0) || channels > static_cast<double>(config.head_dim) ||
      std::abs(channels - std::round(channels)) > 1e-6) {
    return fields.Complain("partial_rotary_factor",
                           "a fraction of head_dim that gives a whole number",
                           std::to_string(channels) + " channels");
  }
  config.rope_dim = std::llround(channels);
}

void ReadRope(Fields& fields, ModelConfig& config) {
  fields.OptionalNumber("rope_theta", &config.rope_theta);
  fields.OptionalNumber("compress_rope_theta", &config.compress_rope_theta);
  double factor = -1;
  fields.OptionalNumber("partial_rotary_factor", &factor);
  const Json* scaling = fields.Object("rope_scaling");
  const Json* parameters = fields.Object("rope_parameters");
  if (parameters != nullptr) {
    Fields outer(*parameters, "rope_parameters.");
    const Json* main = outer.Object("main");
    const Json* compress = outer.Object("compress");
    if (main != nullptr) {
      Fields inner(*main, "rope_parameters.main.");
      inner.OptionalNumber("rope_theta", &config.rope_theta);
      inner.OptionalNumber("partial_rotary_factor", &factor);
      inner.Fixed("rope_type", "default");
      fields.Fail(inner.status());
    }
    if (compress != nullptr) ReadYarn(*compress, "rope_parameters.compress.", fields, config);
    // Not nested: transformers' spelling of rope_scaling, whose theta is not the compressed one.
    if (main == nullptr && compress == nullptr) scaling = parameters;
    fields.Fail(outer.status());
  }
  if (scaling != nullptr) {
    Json flat = *scaling;
    flat.erase("rope_theta");
    ReadYarn(flat, "rope_scaling.", fields, config);
  }
  if (fields.Find("qk_rope_head_dim") != nullptr || factor < 0) {
    fields.Int("qk_rope_head_dim", &config.rope_dim);
  } else {
    ReadRotaryFactor(factor, fields, config);
  }
}

bool KindOfRatio(int64_t ratio, LayerKind* kind) {
  switch (ratio) {
    case 0: *kind = LayerKind::kWindow; return true;
    case kCsaRatio: *kind = LayerKind::kCsa; return true;
    case kHcaRatio: *kind = LayerKind::kHca; return true;
    default: return false;
  }
}

// The official list also covers the draft blocks after the last layer: one in the preview, three in
// the 0731 release, whatever num_nextn_predict_layers says.
void ReadCompressRatios(const Json& list, Fields& fields, ModelConfig& config) {
  const int64_t extra = list.is_array() ? static_cast<int64_t>(list.size()) - config.layers : -1;
  if (extra != 0 && extra != 1 && extra != 3 && !(extra > 0 && extra == config.mtp_layers)) {
    const std::string l = std::to_string(config.layers);
    return fields.Complain(
        "compress_ratios", "a list of num_hidden_layers (" + l + ") entries, or 1 or 3 more",
        list.is_array() ? std::to_string(list.size()) + " entries" : ShownJson(list));
  }
  for (size_t i = 0; i < list.size(); ++i) {
    LayerKind kind = LayerKind::kWindow;
    const bool draft = static_cast<int64_t>(i) >= config.layers;
    if (!list[i].is_number_integer() || !KindOfRatio(list[i].get<int64_t>(), &kind) ||
        (draft && kind != LayerKind::kWindow)) {
      return fields.Complain("compress_ratios[" + std::to_string(i) + "]",
                             draft ? "0 (a draft block)" : "0, 4 or 128", ShownJson(list[i]));
    }
    if (!draft) config.layer_kinds.push_back(kind);
  }
}

void CheckListLength(const char* key, const Json& list, Fields& fields, const ModelConfig& config) {
  if (list.is_array() && static_cast<int64_t>(list.size()) == config.layers) return;
  fields.Complain(key,
                  "a list of num_hidden_layers (" + std::to_string(config.layers) + ") entries",
                  list.is_array() ? std::to_string(list.size()) + " entries" : ShownJson(list));
}

void ReadLayerTypes(const Json& list, Fields& fields, ModelConfig& config) {
  CheckListLength("layer_types", list, fields, config);
  if (!fields.status().ok()) return;
  std::vector<LayerKind> kinds;
  for (size_t i = 0; i < list.size(); ++i) {
    if (list[i] == "sliding_attention") {
      kinds.push_back(LayerKind::kWindow);
    } else if (list[i] == "compressed_sparse_attention") {
      kinds.push_back(LayerKind::kCsa);
    } else if (list[i] == "heavily_compressed_attention") {
      kinds.push_back(LayerKind::kHca);
    } else {
      return fields.Complain("layer_types[" + std::to_string(i) + "]",
                             "sliding_attention, compressed_sparse_attention or "
                             "heavily_compressed_attention",
                             ShownJson(list[i]));
    }
  }
  if (!config.layer_kinds.empty() && config.layer_kinds != kinds) {
    return fields.Complain("layer_types", "the kinds that compress_ratios gives", "others");
  }
  config.layer_kinds = std::move(kinds);
}

void ReadLayerKinds(Fields& fields, ModelConfig& config) {
  const Json* ratios = fields.Find("compress_ratios");
  const Json* types = fields.Find("layer_types");
  if (ratios != nullptr) ReadCompressRatios(*ratios, fields, config);
  if (types != nullptr) ReadLayerTypes(*types, fields, config);
  if (ratios == nullptr && types == nullptr) {
    fields.Complain("compress_ratios", "a list (or layer_types, the transformers form)", "neither");
  }
  if (const Json* rates = fields.Object("compress_rates")) {
    Fields inner(*rates, "compress_rates.");
    inner.Fixed("compressed_sparse_attention", kCsaRatio);
    inner.Fixed("heavily_compressed_attention", kHcaRatio);
    fields.Fail(inner.status());
  }
  fields.Fixed("compress_rate_csa", kCsaRatio);
  fields.Fixed("compress_rate_hca", kHcaRatio);
}

void ReadHashLayers(Fields& fields, ModelConfig& config) {
  const Json* types = fields.Find("mlp_layer_types");
  if (types == nullptr) return fields.Int("num_hash_layers", &config.hash_layers);
  CheckListLength("mlp_layer_types", *types, fields, config);
  if (!fields.status().ok()) return;
  int64_t hashed = 0;
  for (size_t i = 0; i < types->size(); ++i) {
    const Json& type = (*types)[i];
    const bool hash = type == "hash_moe";
    if ((!hash && type != "moe") || (hash && static_cast<int64_t>(i) != hashed)) {
      return fields.Complain("mlp_layer_types[" + std::to_string(i) + "]",
                             "hash_moe in the first layers, then moe", ShownJson(type));
    }
    hashed += hash ? 1 : 0;
  }
  config.hash_layers = hashed;
  fields.Fixed("num_hash_layers", hashed);
}

void ReadDialect(const Json& root, Fields& fields, ModelConfig& config) {
  config.dialect = ChatDialect::kPreview;
  for (const auto& item : root.items()) {
    if (item.key().rfind("dspark_", 0) == 0) config.dialect = ChatDialect::k0731;
  }
  std::string stated;
  fields.OptionalString("baleen_chat_dialect", &stated);
  if (stated == "preview") config.dialect = ChatDialect::kPreview;
  if (stated == "0731") config.dialect = ChatDialect::k0731;
  if (!stated.empty() && stated != "preview" && stated != "0731") {
    fields.Complain("baleen_chat_dialect", "\"preview\" or \"0731\"", '"' + stated + '"');
  }
}

// Shortest decimal of a float, so that 1e-6F is written as 1e-06 and not with its binary tail.
double Shortest(float value) {
  char text[32];
  const auto written = std::to_chars(text, text + sizeof(text), value);
  double result = 0;
  std::from_chars(text, written.ptr, result);
  return result;
}

}  // namespace

Result<ModelConfig> ModelConfig::FromJson(std::string_view json) {
  const Json root = Json::parse(json.begin(), json.end(), nullptr, /*allow_exceptions=*/false);
  if (!root.is_object()) {
    return InvalidArgumentError(
        "config.json: expected one JSON object, got " +
        std::string(root.is_discarded() ? "text that is not JSON" : root.type_name()));
  }
  ModelConfig config;
  Fields fields(root, "");
  ReadDimensions(fields, config);
  ReadScalars(fields, config);
  RETURN_IF_ERROR(fields.status());
  ReadRope(fields, config);
  ReadLayerKinds(fields, config);
  ReadHashLayers(fields, config);
  ReadDialect(root, fields, config);
  RETURN_IF_ERROR(fields.status());
  RETURN_IF_ERROR(config.Validate());
  return config;
}

std::string ModelConfig::ToJson() const {
  Json ratios = Json::array();
  for (int64_t l = 0; l < layers; ++l) ratios.push_back(Ratio(l));
  Json root = {
      {"model_type", "deepseek_v4"},
      {"vocab_size", vocab},
      {"hidden_size", hidden},
      {"num_hidden_layers", layers},
      {"num_attention_heads", heads},
      {"num_key_value_heads", 1},
      {"head_dim", head_dim},
      {"qk_rope_head_dim", rope_dim},
      {"q_lora_rank", q_rank},
      {"o_lora_rank", o_rank},
      {"o_groups", o_groups},
      {"sliding_window", window},
      {"index_n_heads", index_heads},
      {"index_head_dim", index_dim},
      {"index_topk", index_topk},
      {"moe_intermediate_size", expert_dim},
      {"n_routed_experts", experts},
      {"n_shared_experts", shared_experts},
      {"num_experts_per_tok", experts_per_token},
      {"num_hash_layers", hash_layers},
      {"routed_scaling_factor", Shortest(route_scale)},
      {"swiglu_limit", Shortest(swiglu_limit)},
      {"hc_mult", hc_mult},
      {"hc_sinkhorn_iters", sinkhorn_iterations},
      {"hc_eps", Shortest(hc_eps)},
      {"rms_norm_eps", Shortest(norm_eps)},
      {"rope_theta", rope_theta},
      {"compress_rope_theta", compress_rope_theta},
      {"max_position_embeddings", positions_max},
      {"num_nextn_predict_layers", mtp_layers},
      {"tie_word_embeddings", tied_embeddings},
      {"expert_dtype", expert_dtype},
      {"compress_ratios", std::move(ratios)},
      {"bos_token_id", bos_id},
      {"eos_token_id", eos_id},
  };
  if (dialect != ChatDialect::kUnknown) {
    root["baleen_chat_dialect"] = dialect == ChatDialect::k0731 ? "0731" : "preview";
  }
  if (yarn_factor != 1) {
    root["rope_scaling"] = {{"type", "yarn"},
                            {"factor", yarn_factor},
                            {"original_max_position_embeddings", yarn_original_positions},
                            {"beta_fast", yarn_beta_fast},
                            {"beta_slow", yarn_beta_slow}};
  }
  return root.dump(1);
}

}  // namespace baleen
