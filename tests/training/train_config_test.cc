// A config means what it says or is refused, by the field's name.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "model/random_weights.h"
#include "model/training/train_config.h"
#include "tests/testing/temp_directory.h"

namespace baleen::training {
namespace {

using Json = nlohmann::json;

Json Valid() {
  ModelConfig model = TinyConfig(256);
  return {{"model", Json::parse(model.ToJson())},
          {"seed", 3},
          {"stages",
           {{{"name", "copy"},
             {"steps", 10},
             {"length", 64},
             {"rows", 2},
             {"micro_batches", 2},
             {"window", 16},
             {"sources", {{{"kind", "synthetic"}, {"repeats", 1}}}},
             {"gate", {{"after_step", 5}}}},
            {{"steps", 30},
             {"length", 128},
             {"indexer", "sparse"},
             {"quantise", true},
             {"sources", {{{"kind", "synthetic"}}}}}}}};
}

Result<TrainConfig> Parse(const Json& json) { return TrainConfig::FromJson(json.dump(), "."); }

TEST_CASE("AConfigIsReadWithItsDefaults") {
  const auto config = Parse(Valid());
  INFO(config.status().ToString());
  REQUIRE(config.ok());
  CHECK(config->seed == 3);
  CHECK(config->schedule.steps == 40);
  CHECK(config->optimiser.muon_for_matrices);
  CHECK(config->optimiser.muon.steps.fast == 8);
  CHECK(config->exports == std::vector<std::string>{"official"});
  REQUIRE(config->stages.size() == 2);
  const StageSpec& copy = config->stages[0];
  CHECK(copy.name == "copy");
  CHECK(copy.tokens_per_step() == 256);
  CHECK(copy.graph.window == 16);
  CHECK(copy.graph.indexer == IndexerStage::kOff);
  CHECK(copy.sources[0].options == R"({"repeats":1})");
  REQUIRE(copy.gate.has_value());
  CHECK(copy.gate->after_step == 5);
  CHECK(copy.gate->token_high == 256);
  CHECK(config->stages[1].graph.window == 128);
  CHECK(config->stages[1].graph.indexer == IndexerStage::kSparse);
  CHECK(config->stages[1].quantise_weights);
  CHECK(config->stages[1].graph.quantise);
  CHECK(config->total_tokens() == 10 * 256 + 30 * 128);
}

TEST_CASE("ConfigsThatCannotBeAreRefusedByField") {
  struct Case {
    const char* patch;  // JSON merge patch, or a JSON patch if it begins with [.
    const char* says;
  };
  const Case cases[] = {
      {R"({"model": null})", "model: expected the fields"},
      {R"({"model": {"hidden_size": 0}})", "hidden_size"},
      {R"({"model": {"num_experts_per_tok": 9}})", "num_experts_per_tok"},
      {R"({"model": {"index_topk": 0}})", "index_topk"},
      {R"({"model": {"compress_ratios": [0, 0, 8, 128, 4, 128]}})", "compress_ratios[2]"},
      {R"({"model": {"o_groups": 3}})", "o_groups"},
      {R"({"model": {"hidden_size": 100}})", "model.hidden_size: expected a multiple of 32"},
      {R"({"model": {"moe_intermediate_size": 40}})", "model.moe_intermediate_size"},
      {R"({"model": {"head_dim": 112}})", "model.head_dim"},
      {R"({"model": {"index_head_dim": 96}})", "model.index_head_dim"},
      {R"({"model": {"num_nextn_predict_layers": 2}})", "num_nextn_predict_layers"},
      {R"({"stage": []})", "stage: expected one of the fields"},
      {R"({"stages": []})", "stages: expected a list of 1 to 64"},
      {R"({"stages": null})", "stages: expected a list of 1 to 64"},
      {R"({"seed": -1})", "seed: expected an integer from 0"},
      {R"({"seed": 18446744073709551615})", "seed"},
      {R"({"optimiser": {"kind": "sgd"}})", "optimiser.kind: expected \"muon\" or \"adamw\""},
      {R"({"optimiser": {"matrix_rate": "x"}})", "optimiser.matrix_rate"},
      {R"({"optimiser": {"momentum": 1}})", "optimiser.momentum"},
      {R"({"optimiser": 3})", "optimiser: expected an object"},
      {R"({"schedule": {"warmup_step": 3}})", "schedule.warmup_step: expected one of the fields"},
      {R"({"schedule": {"decay_share": 1.5}})", "schedule.decay_share"},
      {R"({"start": {"kind": "warm"}})", "start.kind"},
      {R"({"start": {}})", "start.kind: expected a value"},
      {R"({"start": {"kind": "plain", "head_tie": 1}})", "start.head_tie"},
      {R"({"start": {"kind": "checkpoint"}})", "start.path"},
      {R"({"export": ["gguf"]})", "export"},
      {R"({"checkpoint": {"every_steps": 0}})", "checkpoint.every_steps"},
      {R"({"guards": {"loss_max": -1}})", "guards.loss_max"},
      {R"({"validation": {"every_steps": 5}})", "validation.sources: expected a list"},
      {R"([{"op": "remove", "path": "/stages/0/steps"}])", "stages[0].steps: expected a value"},
      {R"([{"op": "add", "path": "/stages/0/length", "value": 1}])", "stages[0].length"},
      {R"([{"op": "add", "path": "/stages/0/window", "value": 129}])", "stages[0].window"},
      {R"([{"op": "add", "path": "/stages/0/rows", "value": 5000}])", "stages[0].rows"},
      {R"([{"op": "add", "path": "/stages/1/length", "value": 1048577}])", "stages[1].length"},
      {R"([{"op": "add", "path": "/stages/1/train", "value": "heads"}])", "stages[1].train"},
      {R"([{"op": "add", "path": "/stages/0/train", "value": "indexer"}])", "stages[0].train"},
      {R"([{"op": "add", "path": "/stages/0/sources/0/kind", "value": "web"}])",
       "stages[0].sources[0].kind"},
      {R"([{"op": "add", "path": "/stages/0/sources/0/share", "value": 0}])",
       "stages[0].sources[0].share"},
      {R"([{"op": "add", "path": "/stages/0/gate/after_step", "value": 11}])",
       "stages[0].gate.after_step"},
      {R"([{"op": "add", "path": "/stages/0/gate/token_high", "value": 257}])",
       "stages[0].gate.token_high"},
  };
  for (const Case& c : cases) {
    Json json = Valid();
    const Json patch = Json::parse(c.patch);
    if (patch.is_array()) {
      json = json.patch(patch);
    } else {
      json.merge_patch(patch);
    }
    const Status status = Parse(json).status();
    INFO(c.patch << " -> " << status.ToString());
    CHECK(status.code() == StatusCode::kInvalidArgument);
    CHECK(status.message().find(c.says) != std::string::npos);
  }
  CHECK(TrainConfig::FromJson("{", ".").status().code() == StatusCode::kInvalidArgument);
  CHECK(TrainConfig::FromJson("[]", ".").status().code() == StatusCode::kInvalidArgument);
  CHECK(TrainConfig::FromFile("/nowhere/x.json").status().code() == StatusCode::kNotFound);
}

TEST_CASE("Float32ExportsNeedNoOfficialDimensions") {
  Json json = Valid();
  json["model"]["hidden_size"] = 100;
  json["export"] = {"float32"};
  json["stages"].erase(1);
  const auto config = Parse(json);
  INFO(config.status().ToString());
  CHECK(config.ok());
}

TEST_CASE("AStructuredStartIsCheckedAgainstTheModel") {
  Json json = Valid();
  json["start"] = {{"kind", "structured"}};
  CHECK(Parse(json).ok());
  json["start"]["csa_gains"] = {2, 1, 1};  // Only layers 2 and 4 are CSA.
  CHECK(Parse(json).status().message().find("csa_gains") != std::string::npos);
  json["start"]["csa_gains"] = {2, "x"};
  CHECK(Parse(json).status().message().find("start.csa_gains") != std::string::npos);
  json["start"].erase("csa_gains");
  json["model"]["num_attention_heads"] = 2;
  CHECK(Parse(json).status().message().find("num_attention_heads") != std::string::npos);
}

TEST_CASE("ModelAndPathsAreFoundFromTheConfigsFolder") {
  const TempDirectory folder;
  Json json = Valid();
  folder.Write("models/config.json", json["model"].dump());
  json["model"] = "models/config.json";
  folder.Write("train.json", json.dump());
  const auto config = TrainConfig::FromFile(folder.File("train.json"));
  INFO(config.status().ToString());
  REQUIRE(config.ok());
  CHECK(config->folder == folder.path());
  CHECK(config->model.hidden == 128);
  folder.Write("models/config.json", "{}");
  CHECK(TrainConfig::FromFile(folder.File("train.json")).status().message().find("model") !=
        std::string::npos);
}

TEST_CASE("CanonicalTextsDifferWhereTheCourseWould") {
  const auto base = Parse(Valid());
  Json json = Valid();
  json["guards"] = {{"loss_max", 50}};
  json["checkpoint"] = {{"every_steps", 7}};
  json["export"] = {"float32"};
  CHECK(FirstDifference(base->canonical, Parse(json)->canonical).empty());
  json["stages"][0]["steps"] = 11;
  CHECK(FirstDifference(base->canonical, Parse(json)->canonical) == "stages/0/steps");
  json = Valid();
  json["optimiser"]["matrix_rate"] = 0.5;
  CHECK(FirstDifference(base->canonical, Parse(json)->canonical) == "optimiser");
}

}  // namespace
}  // namespace baleen::training
