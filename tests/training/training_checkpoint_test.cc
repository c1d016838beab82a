// Training checkpoints come back bit for bit, or are refused whole; a failed save harms no other.
#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "model/random_weights.h"
#include "model/training/random_stream.h"
#include "model/training/training_checkpoint.h"
#include "tests/store/small_disk.h"
#include "tests/testing/temp_directory.h"

namespace baleen::training {
namespace {

ModelConfig SmallConfig(int64_t vocab = 64) {
  ModelConfig config = TinyConfig(vocab);
  config.hidden = 32;
  config.experts = 2;
  config.layers = 3;
  config.layer_kinds.resize(3);
  return config;
}

struct Training {
  ParameterSet parameters;
  Optimiser optimiser;
};

Training Seeded(uint64_t seed, const ModelConfig& config = SmallConfig()) {
  auto made = ParameterSet::Make(config);
  REQUIRE(made.ok());
  Training training{*made, Optimiser(*made, {})};
  RandomStream random(seed);
  for (size_t p = 0; p < training.parameters.all().size(); ++p) {
    for (float& value : training.parameters.all()[p].value) value = random.Bell();
    ParameterMoments& moments = training.optimiser.moments()[p];
    for (float& value : moments.first) value = random.Bell();
    for (float& value : moments.second) value = random.Uniform();
    moments.steps = random.Below(100);
  }
  return training;
}

RunState State(int64_t step) {
  RunState state;
  state.step = step;
  state.tokens = 12345;
  state.seconds = 6.5;
  state.packer = {77, {3, 9, 76}};
  state.canonical = "{\"seed\":1}";
  state.source_identity = "synthetic/1 ...";
  return state;
}

Status Save(const std::string& folder, int64_t step, const Training& training, int64_t kept = 2) {
  return SaveTrainingCheckpoint(folder, State(step), training.parameters, training.optimiser, kept);
}

std::string Read(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

TEST_CASE("ATrainingCheckpointComesBackBitForBit") {
  const TempDirectory folder;
  const Training saved = Seeded(1);
  REQUIRE(Save(folder.path(), 40, saved).ok());
  Training loaded = Seeded(2);
  const auto state = LoadTrainingCheckpoint(TrainingCheckpointPath(folder.path(), 40),
                                            &loaded.parameters, &loaded.optimiser);
  INFO(state.status().ToString());
  REQUIRE(state.ok());
  CHECK(state->step == 40);
  CHECK(state->tokens == 12345);
  CHECK(state->seconds == 6.5);
  CHECK(state->packer.next == 77);
  CHECK(state->packer.pool == std::vector<uint64_t>{3, 9, 76});
  CHECK(state->canonical == "{\"seed\":1}");
  CHECK(state->source_identity == "synthetic/1 ...");
  for (size_t p = 0; p < saved.parameters.all().size(); ++p) {
    INFO(saved.parameters.all()[p].name);
    CHECK(loaded.parameters.all()[p].value == saved.parameters.all()[p].value);
    CHECK(loaded.optimiser.moments()[p].first == saved.optimiser.moments()[p].first);
    CHECK(loaded.optimiser.moments()[p].second == saved.optimiser.moments()[p].second);
    CHECK(loaded.optimiser.moments()[p].steps == saved.optimiser.moments()[p].steps);
  }
}

TEST_CASE("TheNewestCheckpointsAreKeptAndDraftsRemoved") {
  const TempDirectory folder;
  const Training training = Seeded(1);
  folder.Write("step-000000000002.train.part-99", "half");
  for (int64_t step : {1, 2, 3, 4}) REQUIRE(Save(folder.path(), step, training).ok());
  folder.Write("step-x.train", "");
  CHECK(ListTrainingCheckpoints(folder.path()) == std::vector<int64_t>{3, 4});
  CHECK(!std::filesystem::exists(folder.File("step-000000000002.train.part-99")));
  CHECK(ListTrainingCheckpoints(folder.File("none")).empty());
}

TEST_CASE("EveryDamageIsFoundAndNothingIsRead") {
  const TempDirectory folder;
  REQUIRE(Save(folder.path(), 40, Seeded(1)).ok());
  const std::string path = TrainingCheckpointPath(folder.path(), 40);
  const std::string whole = Read(path);
  Training loaded = Seeded(2);
  const Training before = loaded;
  const auto load = [&](const std::string& bytes) {
    folder.Write("step-000000000040.train", bytes);
    return LoadTrainingCheckpoint(path, &loaded.parameters, &loaded.optimiser).status();
  };
  RandomStream random(5);
  for (int i = 0; i < 60; ++i) {
    std::string bytes = whole;
    // The first flips hit the fixed part and the header, the others anywhere.
    const int64_t range = i < 20 ? 96 : i < 40 ? 4096 : static_cast<int64_t>(whole.size());
    const auto at = static_cast<size_t>(random.Below(range));
    bytes[at] = static_cast<char>(bytes[at] ^ 1 << random.Below(8));
    const Status status = load(bytes);
    INFO("byte " << at << ": " << status.ToString());
    CHECK((status.code() == StatusCode::kDataLoss ||
           status.code() == StatusCode::kFailedPrecondition));
  }
  for (size_t size : {size_t{0}, size_t{7}, size_t{79}, size_t{80}, size_t{500}, whole.size() / 2,
                      whole.size() - 1}) {
    CHECK(load(whole.substr(0, size)).code() == StatusCode::kDataLoss);
  }
  CHECK(load(whole + "x").code() == StatusCode::kDataLoss);
  for (size_t p = 0; p < before.parameters.all().size(); ++p) {
    CHECK(loaded.parameters.all()[p].value == before.parameters.all()[p].value);
  }
  CHECK(load(whole).ok());
}

TEST_CASE("ACheckpointOfAnotherModelIsRefused") {
  const TempDirectory folder;
  REQUIRE(Save(folder.path(), 1, Seeded(1)).ok());
  Training other = Seeded(2, SmallConfig(128));
  const Status status = LoadTrainingCheckpoint(TrainingCheckpointPath(folder.path(), 1),
                                               &other.parameters, &other.optimiser)
                            .status();
  CHECK(status.code() == StatusCode::kFailedPrecondition);
}

TEST_CASE("AStateThatIsNotFiniteIsNotSaved") {
  const TempDirectory folder;
  Training training = Seeded(1);
  REQUIRE(Save(folder.path(), 1, training).ok());
  training.parameters.Find("norm.weight")->value[3] = NAN;
  const Status status = Save(folder.path(), 2, training);
  CHECK(status.code() == StatusCode::kAborted);
  CHECK(status.reason() == "NOT_FINITE");
  CHECK(status.message().find("'norm.weight'") != std::string::npos);
  CHECK(ListTrainingCheckpoints(folder.path()) == std::vector<int64_t>{1});
}

TEST_CASE("AFullDiskLeavesTheLastCheckpointIntact") {
  const TempDirectory folder;
  const Training training = Seeded(1);
  REQUIRE(Save(folder.File("size"), 1, training).ok());
  const auto bytes = std::filesystem::file_size(TrainingCheckpointPath(folder.File("size"), 1));
  // Room for one checkpoint and a half.
  const SmallDisk disk(folder.File("disk"), std::to_string(bytes * 3 / 2));
  if (!disk.mounted()) {
    WARN("SKIPPED: no right to mount a small disk");
    return;
  }
  REQUIRE(Save(folder.File("disk"), 1, training).ok());
  const Status status = Save(folder.File("disk"), 2, training);
  INFO(status.ToString());
  CHECK(status.code() == StatusCode::kUnavailable);
  CHECK(ListTrainingCheckpoints(folder.File("disk")) == std::vector<int64_t>{1});
  Training loaded = Seeded(2);
  CHECK(LoadTrainingCheckpoint(TrainingCheckpointPath(folder.File("disk"), 1), &loaded.parameters,
                               &loaded.optimiser)
            .ok());
}

}  // namespace
}  // namespace baleen::training
