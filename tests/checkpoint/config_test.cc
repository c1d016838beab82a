// config.json in its two forms, and what is refused.
#include <catch2/catch.hpp>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "model/checkpoint/tensor_table.h"
#include "model/config.h"
#include "model/random_weights.h"

namespace baleen {
namespace {

using Json = nlohmann::json;

Json FlashJson() {
  Json ratios = {0, 0};
  for (int i = 0; i < 20; ++i) ratios.insert(ratios.end(), {4, 128});
  ratios.insert(ratios.end(), {4, 0});
  return Json{{"architectures", {"DeepseekV4ForCausalLM"}},
              {"model_type", "deepseek_v4"},
              {"hidden_size", 4096},
              {"num_hidden_layers", 43},
              {"num_attention_heads", 64},
              {"num_key_value_heads", 1},
              {"head_dim", 512},
              {"qk_rope_head_dim", 64},
              {"q_lora_rank", 1024},
              {"o_lora_rank", 1024},
              {"o_groups", 8},
              {"sliding_window", 128},
              {"index_n_heads", 64},
              {"index_head_dim", 128},
              {"index_topk", 512},
              {"moe_intermediate_size", 2048},
              {"n_routed_experts", 256},
              {"n_shared_experts", 1},
              {"num_experts_per_tok", 6},
              {"num_hash_layers", 3},
              {"scoring_func", "sqrtsoftplus"},
              {"topk_method", "noaux_tc"},
              {"norm_topk_prob", true},
              {"routed_scaling_factor", 1.5},
              {"swiglu_limit", 10.0},
              {"hidden_act", "silu"},
              {"hc_mult", 4},
              {"hc_sinkhorn_iters", 20},
              {"hc_eps", 1e-6},
              {"rms_norm_eps", 1e-6},
              {"rope_theta", 10000},
              {"compress_rope_theta", 160000},
              {"rope_scaling",
               {{"type", "yarn"},
                {"factor", 16},
                {"original_max_position_embeddings", 65536},
                {"beta_fast", 32},
                {"beta_slow", 1}}},
              {"max_position_embeddings", 1048576},
              {"num_nextn_predict_layers", 1},
              {"vocab_size", 129280},
              {"tie_word_embeddings", false},
              {"attention_bias", false},
              {"bos_token_id", 0},
              {"eos_token_id", 1},
              {"compress_ratios", ratios}};
}

Json ProJson() {
  Json json = FlashJson();
  Json ratios = {128, 128};
  for (int i = 0; i < 29; ++i) ratios.insert(ratios.end(), {4, 128});
  ratios.insert(ratios.end(), {4, 0});
  json.update({{"hidden_size", 7168},
               {"num_hidden_layers", 61},
               {"num_attention_heads", 128},
               {"q_lora_rank", 1536},
               {"o_groups", 16},
               {"index_topk", 1024},
               {"moe_intermediate_size", 3072},
               {"n_routed_experts", 384},
               {"routed_scaling_factor", 2.5},
               {"compress_ratios", ratios}});
  return json;
}

// What transformers' save_pretrained makes of the same model.
Json TransformersFlashJson() {
  Json json = FlashJson();
  Json layers = Json::array();
  Json mlps = Json::array();
  for (int l = 0; l < 43; ++l) {
    const int ratio = json["compress_ratios"][static_cast<size_t>(l)].get<int>();
    layers.push_back(ratio == 0   ? "sliding_attention"
                     : ratio == 4 ? "compressed_sparse_attention"
                                  : "heavily_compressed_attention");
    mlps.push_back(l < 3 ? "hash_moe" : "moe");
  }
  for (const char* key :
       {"compress_ratios", "num_hash_layers", "qk_rope_head_dim", "rope_scaling"}) {
    json.erase(key);
  }
  json.update(
      {{"layer_types", layers},
       {"mlp_layer_types", mlps},
       {"partial_rotary_factor", 0.125},
       {"compress_rates",
        {{"compressed_sparse_attention", 4}, {"heavily_compressed_attention", 128}}},
       {"eos_token_id", {1, 7}},
       {"rope_parameters",
        {{"main",
          {{"rope_type", "default"}, {"rope_theta", 10000.0}, {"partial_rotary_factor", 0.125}}},
         {"compress",
          {{"rope_type", "yarn"},
           {"rope_theta", 160000.0},
           {"factor", 16.0},
           {"original_max_position_embeddings", 65536},
           {"beta_fast", 32},
           {"beta_slow", 1},
           {"attention_factor", 1.0},
           {"partial_rotary_factor", 0.125}}}}}});
  return json;
}

ModelConfig Parsed(const Json& json) {
  Result<ModelConfig> config = ModelConfig::FromJson(json.dump());
  INFO(config.status().ToString());
  REQUIRE(config.ok());
  return *config;
}

// Tensors in the file: quantised matrices count twice, once for their scales.
size_t FileTensors(const std::vector<TensorSpec>& specs) {
  size_t count = 0;
  for (const TensorSpec& spec : specs) {
    const bool scaled = spec.format == TensorFormat::kFp8 || spec.format == TensorFormat::kExpert;
    count += scaled ? 2 : 1;
  }
  return count;
}

TEST_CASE("the released Flash config has the published size", "[config]") {
  const ModelConfig config = Parsed(FlashJson());
  CHECK(config.layers == 43);
  CHECK(config.layer_kinds[1] == LayerKind::kWindow);
  CHECK(config.Ratio(2) == 4);
  CHECK(config.Ratio(3) == 128);
  CHECK(config.yarn_factor == 16);
  CHECK(config.dialect == ChatDialect::kPreview);
  CHECK(config.expert_dtype == "fp4");
  const auto backbone = BackboneTensors(config);
  // 284.335 B and 13.27 B are rounded to the last digit shown.
  CHECK(std::abs(static_cast<double>(ParameterCount(backbone)) / 1e9 - 284.335) <= 0.0005);
  CHECK(std::abs(static_cast<double>(ActiveParameterCount(config)) / 1e9 - 13.27) <= 0.005);
  CHECK(FileTensors(backbone) == 67612);
  CHECK(FileTensors(MtpTensors(config)) == 1575);
}

TEST_CASE("the released Pro config has the published size", "[config]") {
  const ModelConfig config = Parsed(ProJson());
  CHECK(config.Ratio(0) == 128);
  CHECK(config.route_scale == 2.5F);
  const auto backbone = BackboneTensors(config);
  CHECK(std::abs(static_cast<double>(ParameterCount(backbone)) / 1e9 - 1573.0) <= 0.05);
  CHECK(std::abs(static_cast<double>(ActiveParameterCount(config)) / 1e9 - 48.85) <= 0.005);
  CHECK(FileTensors(backbone) == 142773);
  CHECK(FileTensors(MtpTensors(config)) == 2343);
}

TEST_CASE("the transformers form means the same", "[config]") {
  CHECK(Parsed(TransformersFlashJson()).ToJson() == Parsed(FlashJson()).ToJson());
}

TEST_CASE("canonical text parses to itself", "[config]") {
  for (const Json& json : {FlashJson(), ProJson(), Json::parse(TinyConfig().ToJson())}) {
    const std::string text = Parsed(json).ToJson();
    CHECK(Parsed(Json::parse(text)).ToJson() == text);
  }
  CHECK(Json::parse(Parsed(FlashJson()).ToJson())["rms_norm_eps"] == 1e-6);
}

TEST_CASE("the chat dialect follows the dspark keys unless stated", "[config]") {
  Json json = FlashJson();
  json["dspark_block_size"] = 5;
  json["compress_ratios"].insert(json["compress_ratios"].end(), {0, 0});  // 46 entries
  CHECK(Parsed(json).dialect == ChatDialect::k0731);
  json["baleen_chat_dialect"] = "preview";
  CHECK(Parsed(json).dialect == ChatDialect::kPreview);
  json["baleen_chat_dialect"] = "0801";
  CHECK(!ModelConfig::FromJson(json.dump()).ok());
}

TEST_CASE("rotary channels from a fraction without an exact value", "[config]") {
  Json json = TransformersFlashJson();
  json["head_dim"] = 96;
  json["partial_rotary_factor"] = 64.0 / 96.0;
  json["rope_parameters"]["main"].erase("partial_rotary_factor");
  CHECK(Parsed(json).rope_dim == 64);
}

struct Refusal {
  const char* field;    // JSON pointer of the field to change.
  Json value;           // Null: remove it.
  const char* message;  // Must occur in the status.
};

void CheckRefusals(const Json& base, const std::vector<Refusal>& refusals) {
  for (const Refusal& refusal : refusals) {
    Json json = base;
    const Json::json_pointer pointer(refusal.field);
    json[pointer] = refusal.value;
    const Result<ModelConfig> config = ModelConfig::FromJson(json.dump());
    INFO(refusal.field << " = " << refusal.value.dump() << ": " << config.status().ToString());
    CHECK(config.status().code() == StatusCode::kInvalidArgument);
    CHECK(config.status().message().find(refusal.message) != std::string::npos);
  }
}

TEST_CASE("official configs that cannot work are refused by name", "[config]") {
  CheckRefusals(
      FlashJson(),
      {{"/hidden_size", 0, "hidden_size: expected 1 to"},
       {"/hidden_size", -4, "got -4"},
       {"/hidden_size", nullptr, "hidden_size: expected a value, got nothing"},
       {"/hidden_size", 4096.5, "hidden_size: expected an integer, got 4096.5"},
       {"/hidden_size", 18446744073709551615ULL, "hidden_size: expected an integer"},
       {"/hidden_size", 1 << 25, "hidden_size: expected 1 to 16777216"},
       {"/vocab_size", 0, "vocab_size"},
       {"/num_hidden_layers", 1000000, "compress_ratios"},
       {"/num_key_value_heads", 2, "num_key_value_heads: expected 1, got 2"},
       {"/o_groups", 7, "o_groups: expected a divisor of num_attention_heads (64), got 7"},
       {"/qk_rope_head_dim", 63, "qk_rope_head_dim: expected an even number"},
       {"/qk_rope_head_dim", 514, "qk_rope_head_dim: expected an even number of at most head_dim"},
       {"/index_head_dim", 32, "index_head_dim: expected at least qk_rope_head_dim (64), got 32"},
       {"/sliding_window", 0, "sliding_window"},
       {"/num_experts_per_tok", 257, "num_experts_per_tok: expected at most n_routed_experts"},
       {"/n_routed_experts", 1 << 20, "n_routed_experts"},
       {"/compress_ratios/2", 8, "compress_ratios[2]: expected 0, 4 or 128, got 8"},
       {"/compress_ratios/43", 4, "compress_ratios[43]: expected 0 (a draft block), got 4"},
       {"/compress_ratios", Json::array({0, 4}), "43) entries, or 1 or 3 more, got 2 entries"},
       {"/compress_ratios", nullptr, "compress_ratios: expected a list (or layer_types"},
       {"/hc_mult", 0, "hc_mult: expected 1 to 8, got 0"},
       {"/hc_mult", 9, "hc_mult: expected 1 to 8, got 9"},
       {"/hc_sinkhorn_iters", 0, "hc_sinkhorn_iters"},
       {"/num_hash_layers", 44, "num_hash_layers: expected 0 to 43, got 44"},
       {"/tie_word_embeddings", true, "tie_word_embeddings: expected false, got true"},
       {"/attention_bias", true, "attention_bias"},
       {"/scoring_func", "sigmoid", "scoring_func: expected \"sqrtsoftplus\", got \"sigmoid\""},
       {"/model_type", "deepseek_v3", "model_type: expected \"deepseek_v4\""},
       {"/expert_dtype", "int4", "expert_dtype: expected \"fp4\" or \"fp8\", got \"int4\""},
       {"/rope_scaling/type", "linear", "rope_scaling.rope_type: expected \"yarn\""},
       {"/rope_scaling/factor", nullptr, "rope_scaling.factor"},
       {"/rope_scaling/factor", 0.5, "rope_scaling: expected factor >= 1"},
       {"/rope_scaling", "yarn", "rope_scaling: expected an object"},
       {"/rope_theta", "10000", "rope_theta: expected a finite number"},
       {"/rope_theta", 0, "rope_theta"},
       {"/routed_scaling_factor", 1e300, "routed_scaling_factor: expected a finite number"},
       {"/eos_token_id", 129280, "eos_token_id"},
       {"/max_position_embeddings", 0, "max_position_embeddings"}});
}

TEST_CASE("transformers configs that cannot work are refused by name", "[config]") {
  CheckRefusals(
      TransformersFlashJson(),
      {{"/layer_types/3", "full_attention", "layer_types[3]: expected sliding_attention"},
       {"/layer_types", Json::array({"sliding_attention"}), "layer_types: expected a list of"},
       {"/mlp_layer_types/5", "hash_moe", "mlp_layer_types[5]: expected hash_moe in the first"},
       {"/mlp_layer_types/5", "dense", "mlp_layer_types[5]"},
       {"/num_hash_layers", 2, "num_hash_layers: expected 3, got 2"},
       {"/compress_rates/compressed_sparse_attention", 8, "expected 4, got 8"},
       {"/compress_rate_hca", 64, "compress_rate_hca: expected 128, got 64"},
       {"/rope_parameters/main/partial_rotary_factor", 0.3, "partial_rotary_factor"},
       {"/rope_parameters/compress/attention_factor", 1.277, "attention_factor: expected 1.0"},
       {"/compress_ratios", Json::array({0}), "compress_ratios"}});
}

TEST_CASE("layer lists that contradict each other are refused", "[config]") {
  Json json = TransformersFlashJson();
  json["compress_ratios"] = FlashJson()["compress_ratios"];
  CHECK(ModelConfig::FromJson(json.dump()).ok());
  json["compress_ratios"][2] = 128;
  const Result<ModelConfig> config = ModelConfig::FromJson(json.dump());
  CHECK(config.status().message().find("layer_types: expected the kinds") != std::string::npos);
}

TEST_CASE("text that is no config is refused", "[config]") {
  for (const char* text :
       {"", "[]", "{", "nonsense", "\"deepseek_v4\"", "{}", "{\"rope_theta\": 1e999}"}) {
    CHECK(ModelConfig::FromJson(text).status().code() == StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace baleen
