// What is exported is what was rounded in training, and the engine loads it.
#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>

#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/encode_tensor.h"
#include "model/model.h"
#include "model/random_weights.h"
#include "model/training/export_checkpoint.h"
#include "model/training/structured_start.h"
#include "model/training/weight_rounding.h"
#include "tests/testing/temp_directory.h"
#include "tests/testing/test_paths.h"

namespace baleen::training {
namespace {

ModelConfig SmallConfig(const std::string& expert_dtype) {
  ModelConfig config = TinyConfig(96);
  config.mtp_layers = 1;
  config.expert_dtype = expert_dtype;
  return config;
}

ParameterSet Started(const std::string& expert_dtype) {
  auto made = ParameterSet::Make(SmallConfig(expert_dtype));
  REQUIRE(made.ok());
  PlainStart(5, &*made);
  return std::move(made).value();
}

void RequireSameValues(const ParameterSet& a, const ParameterSet& b) {
  for (size_t p = 0; p < a.all().size(); ++p) {
    INFO(a.all()[p].name);
    REQUIRE(a.all()[p].value == b.all()[p].value);
  }
}

TEST_CASE("TheOfficialExportHoldsTheRoundedWeights") {
  for (const char* dtype : {"fp4", "fp8"}) {
    const TempDirectory folder;
    const ParameterSet master = Started(dtype);
    REQUIRE(ExportModel(master, folder.path(), {}).ok());
    const auto checkpoint = Checkpoint::Open(folder.path(), {});
    INFO(checkpoint.status().ToString());
    REQUIRE(checkpoint.ok());
    const auto read = ParameterSet::FromSource(**checkpoint);
    REQUIRE(read.ok());
    ParameterSet rounded = master;
    kernels::cpu::ThreadPool pool(2, 1);
    RoundWeights(master, pool, &rounded);
    RequireSameValues(*read, rounded);
    CHECK(rounded.Find("layers.0.ffn.experts.0.w1.weight")->value !=
          master.Find("layers.0.ffn.experts.0.w1.weight")->value);
    ParameterSet twice = rounded;
    RoundWeights(rounded, pool, &twice);
    RequireSameValues(twice, rounded);
  }
}

TEST_CASE("TheFloat32ExportIsTheMaster") {
  const TempDirectory folder;
  const ParameterSet master = Started("fp4");
  REQUIRE(ExportModel(master, folder.path(), {ExportFormat::kFloat32, ""}).ok());
  const auto checkpoint = Checkpoint::Open(folder.path(), {});
  REQUIRE(checkpoint.ok());
  RequireSameValues(*ParameterSet::FromSource(**checkpoint), master);
  CHECK((*checkpoint)->file_bytes() >= ExportBytes(master.config(), ExportFormat::kFloat32));
}

TEST_CASE("TheEngineRunsAnExport") {
  const TempDirectory folder;
  const ParameterSet master = Started("fp4");
  const std::string tokenizer = std::string(kTestData) + "/tokenizer/tokenizer.json";
  REQUIRE(ExportModel(master, folder.path(), {ExportFormat::kOfficial, tokenizer}).ok());
  CHECK(std::filesystem::exists(folder.File("tokenizer.json")));
  std::filesystem::remove(folder.File("tokenizer.json"));  // Of a larger vocabulary than the model.
  ModelOptions options;
  options.threads = 1;
  const auto model = Model::Open(folder.path(), options);
  INFO(model.status().ToString());
  REQUIRE(model.ok());
  KvCache cache = (*model)->NewCache();
  std::vector<float> logits;
  const std::vector<int32_t> tokens = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  CHECK((*model)->Forward(cache, tokens, LogitsWanted::kLast, &logits).ok());
  CHECK(logits.size() == 96);
  const auto bytes = std::filesystem::file_size(folder.File("model.safetensors"));
  const auto planned = ExportBytes(master.config(), ExportFormat::kOfficial);
  CHECK(static_cast<int64_t>(bytes) > planned);
  CHECK(static_cast<int64_t>(bytes) < planned + 200 * 1024);  // The header names every tensor.
}

TEST_CASE("AModelThatIsNotFiniteIsNotExported") {
  const TempDirectory folder;
  ParameterSet parameters = Started("fp4");
  parameters.Find("layers.1.attn.wkv.weight")->value[7] = INFINITY;
  const Status status = ExportModel(parameters, folder.File("out"), {});
  CHECK(status.code() == StatusCode::kAborted);
  CHECK(!std::filesystem::exists(folder.File("out")));
}

TEST_CASE("FourBitWeightsFitEightBitsUpToAScaleSpreadOf14Bits") {
  const TensorSpec spec{"x", {2, 64}, TensorFormat::kExpert};
  for (int spread : {0, 6, 11, 14}) {
    std::vector<float> values(128, std::ldexp(6.0F, -spread));
    values[1] = std::ldexp(0.5F, -spread);
    for (size_t i = 32; i < 64; ++i) values[i] = 6;
    CHECK(CheckFp4FitsFp8(spec, EncodeWeight(spec, values, ReleaseStyle::kNative)).ok());
  }
  std::vector<float> values(128, std::ldexp(6.0F, -15));
  values[1] = std::ldexp(0.5F, -15);
  for (size_t i = 32; i < 64; ++i) values[i] = 6;
  const Status status = CheckFp4FitsFp8(spec, EncodeWeight(spec, values, ReleaseStyle::kNative));
  CHECK(status.code() == StatusCode::kFailedPrecondition);
  CHECK(status.message().find("'x', row 0, column 1") != std::string::npos);
}

}  // namespace
}  // namespace baleen::training
