// Model::Open on folders; the forward pass has its own tests.
#include "model/model.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "model/checkpoint/write_checkpoint.h"
#include "tests/model/tiny_model.h"
#include "tests/testing/temp_directory.h"

namespace baleen {
namespace {

using testing::LogitBits;
using testing::MakeModel;
using testing::MixedConfig;
using testing::RandomTokens;
using testing::Run;

ModelOptions OneThread() {
  ModelOptions options;
  options.backend = std::string(kernels::BackendNames()[0]);
  options.threads = 1;
  return options;
}

TEST_CASE("OpenGivesTheModelThatWasWritten") {
  const TempDirectory folder;
  const ModelConfig config = MixedConfig();
  const RandomWeights weights(config, 1, RandomStorage::kFloat32);
  const Status written = WriteCheckpoint(weights, folder.path(), {});
  INFO(written.ToString());
  REQUIRE(written.ok());

  ModelOptions options = OneThread();
  int64_t last = 0;
  int64_t total = 0;
  options.progress = [&](int64_t done, int64_t of) {
    CHECK(done >= last);
    last = done;
    total = of;
  };
  const Result<std::unique_ptr<Model>> opened = Model::Open(folder.path(), options);
  INFO(opened.status().ToString());
  REQUIRE(opened.ok());
  CHECK(total > 0);
  CHECK(last == total);
  CHECK((*opened)->tokenizer() == nullptr);
  CHECK((*opened)->fingerprint().size() == 64);
  CHECK((*opened)->fingerprint().find_first_not_of("0123456789abcdef") == std::string::npos);

  auto direct = MakeModel(config);
  const std::vector<int32_t> tokens = RandomTokens(config, 40);
  KvCache a = (*opened)->NewCache();
  KvCache b = direct->NewCache();
  const std::vector<float> x = Run(**opened, a, tokens);
  const std::vector<float> y = Run(*direct, b, tokens);
  CHECK((LogitBits(*direct, x, 0, 40) == LogitBits(*direct, y, 0, 40)));
}

TEST_CASE("OpenRefusesWhatIsNotAModel") {
  const TempDirectory folder;
  CHECK(Model::Open(folder.path() + "/nothing", OneThread()).status().code() ==
        StatusCode::kNotFound);
  const RandomWeights weights(MixedConfig(), 1, RandomStorage::kFloat32);
  REQUIRE(WriteCheckpoint(weights, folder.path(), {}).ok());
  std::ofstream(folder.path() + "/tokenizer.json") << "{\"not\": \"a tokenizer\"}";
  const Status status = Model::Open(folder.path(), OneThread()).status();
  CHECK(status.code() == StatusCode::kInvalidArgument);
  CHECK_FALSE(status.message().empty());
}

}  // namespace
}  // namespace baleen
