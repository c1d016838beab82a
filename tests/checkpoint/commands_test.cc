// `inspect` and `make-tiny` as functions.
#include "runtime/cli/checkpoint_commands.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/checkpoint/folders.h"

namespace baleen::cli {
namespace {

TEST_CASE("a tiny checkpoint is written and inspected", "[commands]") {
  const TempDirectory folder;
  testing::WriteFile(folder.File("source.json"), "{\"tokens\":1}");
  MakeTinyOptions make;
  make.folder = folder.File("tiny");
  make.config = testing::SmallConfig();
  make.tokenizer = folder.File("source.json");
  make.shard_bytes = 200'000;
  std::ostringstream made;
  const Status status = MakeTinyCheckpoint(make, made);
  INFO(status.ToString());
  REQUIRE(status.ok());
  CHECK(made.str().find("in 3 layers from seed 1, with a tokenizer") != std::string::npos);
  CHECK(testing::ReadFile(folder.File("tiny/tokenizer.json")) == "{\"tokens\":1}");

  InspectOptions inspect;
  inspect.model = make.folder;
  inspect.json = true;
  std::ostringstream out;
  REQUIRE(InspectCheckpoint(inspect, out).ok());
  const auto report = nlohmann::json::parse(out.str());
  CHECK(report["config"]["layer_pattern"] == "window, CSA, HCA");
  CHECK(report["config"]["csa_layers"] == 1);
  CHECK(report["tokenizer"] == true);
  CHECK(report["fingerprint"].get<std::string>().size() == 64);
  CHECK(report["dtypes"]["I64"]["tensors"] == 1);
  // 3 layers x 4 experts x 3 matrices.
  CHECK(report["dtypes"]["I8"]["tensors"] == 36);
  CHECK(report["files"].get<int>() > 1);

  inspect.json = false;
  std::ostringstream text;
  REQUIRE(InspectCheckpoint(inspect, text).ok());
  CHECK(text.str().find("layers        3: window, CSA, HCA; first 1 hash routed") !=
        std::string::npos);
  CHECK(text.str().find(report["fingerprint"].get<std::string>()) != std::string::npos);
}

TEST_CASE("the same seed writes the same files", "[commands]") {
  const TempDirectory folder;
  for (const char* name : {"a", "b", "c"}) {
    MakeTinyOptions make;
    make.folder = folder.File(name);
    make.config = testing::SmallConfig();
    make.seed = *name == 'c' ? 2 : 1;
    std::ostringstream out;
    REQUIRE(MakeTinyCheckpoint(make, out).ok());
  }
  const std::string a = testing::ReadFile(folder.File("a/model.safetensors"));
  CHECK(a == testing::ReadFile(folder.File("b/model.safetensors")));
  CHECK(a != testing::ReadFile(folder.File("c/model.safetensors")));
}

TEST_CASE("dimensions that cannot be stored are refused before writing", "[commands]") {
  const TempDirectory folder;
  MakeTinyOptions make;
  make.folder = folder.File("tiny");
  std::ostringstream out;
  SECTION("invalid") { make.config.heads = 5; }
  SECTION("no multiple of the FP4 block") { make.config.expert_dim = 48; }
  SECTION("not tiny") { make.config.hidden = 1 << 20; }
  SECTION("no such tokenizer") { make.tokenizer = folder.File("none"); }
  CHECK(!MakeTinyCheckpoint(make, out).ok());
  CHECK(out.str().empty());
  CHECK(!std::filesystem::exists(make.folder));
}

TEST_CASE("inspecting nothing prints nothing", "[commands]") {
  const TempDirectory folder;
  std::ostringstream out;
  InspectOptions inspect;
  inspect.model = folder.path();
  CHECK(InspectCheckpoint(inspect, out).code() == StatusCode::kNotFound);
  CHECK(out.str().empty());
}

TEST_CASE("KV bytes per token of Flash", "[commands]") {
  ModelConfig flash;
  flash.head_dim = 512;
  flash.rope_dim = 64;
  flash.index_dim = 128;
  flash.layer_kinds.assign(2, LayerKind::kWindow);
  flash.layer_kinds.insert(flash.layer_kinds.end(), 21, LayerKind::kCsa);
  flash.layer_kinds.insert(flash.layer_kinds.end(), 20, LayerKind::kHca);
  // Entries of 448 + 7 + 128 = 583 bytes, keys of 64 + 4 = 68. (Layouts that pad an entry to 584
  // bytes come to 3514.25.)
  CHECK(KvBytesPerToken(flash, true) == 21 * (583 + 68) / 4.0 + 20 * 583 / 128.0);
  CHECK(KvBytesPerToken(flash, false) == 21 * (2048 + 512) / 4.0 + 20 * 2048 / 128.0);
}

}  // namespace
}  // namespace baleen::cli
