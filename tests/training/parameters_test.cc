// The trainable state has the checkpoint's tensors, and reads any checkpoint.
#include "model/training/parameters.h"

#include <catch2/catch.hpp>
#include <set>

#include "model/checkpoint/shape.h"
#include "model/checkpoint/tensor_table.h"
#include "model/random_weights.h"
#include "tests/model/tiny_model.h"

namespace baleen::training {
namespace {

ModelConfig DraftConfig() {
  ModelConfig config = baleen::testing::MixedConfig();
  config.mtp_layers = 1;
  return config;
}

TEST_CASE("EveryTensorOfTheInventoryIsAParameterOrAHashTable") {
  const ModelConfig config = DraftConfig();
  const Result<ParameterSet> set = ParameterSet::Make(config);
  REQUIRE(set.ok());
  std::vector<TensorSpec> specs = BackboneTensors(config);
  for (const TensorSpec& spec : MtpTensors(config)) specs.push_back(spec);
  REQUIRE(set->all().size() + set->hash_tables().size() == specs.size());
  for (const TensorSpec& spec : specs) {
    INFO(spec.name);
    if (spec.format == TensorFormat::kHashTable) continue;
    const Parameter* parameter = set->Find(spec.name);
    REQUIRE(parameter != nullptr);
    CHECK(parameter->shape == spec.shape);
    CHECK(static_cast<int64_t>(parameter->value.size()) == Elements(spec.shape));
    CHECK(parameter->value.front() == (spec.format == TensorFormat::kNorm ? 1.0F : 0.0F));
  }
  CHECK(set->Find("layers.9.attn_norm.weight") == nullptr);
  CHECK(set->IndexOf("nothing") == -1);
}

TEST_CASE("UpdateRulesFollowTheReport") {
  const Result<ParameterSet> set = ParameterSet::Make(DraftConfig());
  REQUIRE(set.ok());
  for (const char* name : {"embed.weight", "head.weight", "norm.weight", "layers.2.hc_attn_base",
                           "layers.2.hc_ffn_scale", "layers.2.attn.attn_sink",
                           "layers.2.attn.compressor.ape", "mtp.0.enorm.weight"}) {
    INFO(name);
    CHECK(set->Find(name)->rule == UpdateRule::kAdamW);
  }
  for (const char* name : {"layers.2.hc_attn_fn", "layers.2.ffn.gate.weight",
                           "layers.2.attn.indexer.wq_b.weight", "layers.0.ffn.experts.0.w2.weight",
                           "layers.3.attn.compressor.wgate.weight", "mtp.0.e_proj.weight"}) {
    INFO(name);
    CHECK(set->Find(name)->rule == UpdateRule::kMuon);
  }
  CHECK(set->Find("layers.2.ffn.gate.bias")->rule == UpdateRule::kRoutingBias);
}

TEST_CASE("HashTablesHoldDistinctExpertsAndLoadThemAlike") {
  const ModelConfig config = DraftConfig();
  const Result<ParameterSet> set = ParameterSet::Make(config);
  REQUIRE(set.ok());
  REQUIRE(set->hash_tables().size() == 2);
  const HashTable& first = set->hash_tables()[0];
  CHECK(first.experts != set->hash_tables()[1].experts);
  std::vector<int64_t> load(static_cast<size_t>(config.experts));
  for (int64_t token = 0; token < config.vocab; ++token) {
    const auto row = first.experts.begin() + token * config.experts_per_token;
    const std::set<int32_t> distinct(row, row + config.experts_per_token);
    CHECK(static_cast<int64_t>(distinct.size()) == config.experts_per_token);
    for (const int32_t expert : distinct) ++load.at(static_cast<size_t>(expert));
  }
  const double mean = static_cast<double>(config.vocab * config.experts_per_token) /
                      static_cast<double>(config.experts);
  for (const int64_t count : load) CHECK(std::abs(static_cast<double>(count) - mean) < mean);
}

TEST_CASE("ACheckpointOfAnyFormatIsRead") {
  const ModelConfig config = TinyConfig(64);
  const Result<ParameterSet> plain =
      ParameterSet::FromSource(RandomWeights(config, 3, RandomStorage::kFloat32));
  const Result<ParameterSet> official =
      ParameterSet::FromSource(RandomWeights(config, 3, RandomStorage::kOfficial));
  REQUIRE(plain.ok());
  REQUIRE(official.ok());
  for (size_t p = 0; p < plain->all().size(); ++p) {
    const Parameter& a = plain->all()[p];
    const Parameter& b = official->all()[p];
    INFO(a.name);
    double difference = 0;
    double size = 0;
    for (size_t i = 0; i < a.value.size(); ++i) {
      difference += std::pow(a.value[i] - b.value[i], 2.0);
      size += std::pow(a.value[i], 2.0);
    }
    CHECK(size > 0);
    CHECK(difference <= 0.03 * size);  // FP4 keeps about 12 % of a value as error.
  }
  CHECK(plain->hash_tables()[0].experts == official->hash_tables()[0].experts);
}

TEST_CASE("GradientsAddAndClear") {
  const Result<ParameterSet> set = ParameterSet::Make(DraftConfig());
  REQUIRE(set.ok());
  Gradients a(*set);
  Gradients b(*set);
  REQUIRE(static_cast<int64_t>(a.flat().size()) == set->element_count());
  const auto at = static_cast<size_t>(set->IndexOf("norm.weight"));
  a[at][1] = 2;
  b[at][1] = 3;
  a.Add(b);
  CHECK(a[at][1] == 5);
  CHECK(a[at].size() == set->all()[at].value.size());
  a.Clear();
  CHECK(a[at][1] == 0);
}

TEST_CASE("IndexerParametersAreTold") {
  CHECK(IsIndexerParameter("layers.2.attn.indexer.compressor.wkv.weight"));
  CHECK_FALSE(IsIndexerParameter("layers.2.attn.compressor.wkv.weight"));
}

}  // namespace
}  // namespace baleen::training
