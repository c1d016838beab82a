// Checkpoint folders: layouts, names, and everything that can be wrong with them.
#include "model/checkpoint/checkpoint.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <nlohmann/json.hpp>

#include "model/checkpoint/write_checkpoint.h"
#include "tests/checkpoint/folders.h"

namespace baleen {
namespace {

using testing::ReadFile;
using testing::Replaced;
using testing::SmallConfig;
using testing::WriteFile;

constexpr char kSingle[] = "model.safetensors";
constexpr char kIndex[] = "model.safetensors.index.json";

std::unique_ptr<Checkpoint> Opened(const TempDirectory& folder,
                                   WeightAccess access = WeightAccess::kMapped) {
  auto checkpoint = Checkpoint::Open(folder.path(), {access});
  INFO(checkpoint.status().ToString());
  REQUIRE(checkpoint.ok());
  return std::move(checkpoint).value();
}

// Same names, types, shapes and bytes.
void CheckSame(const WeightSource& got, const WeightSource& expected) {
  REQUIRE(got.Names() == expected.Names());
  CHECK(got.config().ToJson() == expected.config().ToJson());
  for (const std::string& name : expected.Names()) {
    const TensorView a = *got.Find(name);
    const TensorView b = *expected.Find(name);
    INFO(name);
    REQUIRE(a.dtype == b.dtype);
    REQUIRE(a.shape == b.shape);
    REQUIRE(a.bytes.size() == b.bytes.size());
    REQUIRE(std::memcmp(a.bytes.data(), b.bytes.data(), a.bytes.size()) == 0);
  }
}

void RequireWritten(const WeightSource& source, const TempDirectory& folder,
                    const WriteCheckpointOptions& options) {
  const Status status = WriteCheckpoint(source, folder.path(), options);
  INFO(status.ToString());
  REQUIRE(status.ok());
}

TEST_CASE("single and sharded folders give back what was written", "[checkpoint]") {
  ModelConfig config = SmallConfig();
  config.mtp_layers = 1;
  for (const char* expert_dtype : {"fp4", "fp8"}) {
    config.expert_dtype = expert_dtype;
    for (RandomStorage storage : {RandomStorage::kOfficial, RandomStorage::kFloat32}) {
      const RandomWeights weights(config, 7, storage);
      const TempDirectory single;
      const TempDirectory sharded;
      RequireWritten(weights, single, {});
      RequireWritten(weights, sharded, {100'000});
      CheckSame(*Opened(single), weights);
      CheckSame(*Opened(single, WeightAccess::kRead), weights);
      const auto checkpoint = Opened(sharded);
      CHECK(checkpoint->shard_names().size() > 2);
      CheckSame(*checkpoint, weights);
      CheckSame(*Opened(sharded, WeightAccess::kRead), weights);
    }
  }
}

TEST_CASE("transformers folders give back what was written", "[checkpoint]") {
  const RandomWeights weights(SmallConfig(), 7, RandomStorage::kFloat32);
  const TempDirectory folder;
  RequireWritten(weights, folder, {200'000, NameStyle::kTransformers});
  const std::string index = ReadFile(folder.File(kIndex));
  CHECK(index.find("\"model.layers.0.mlp.experts.gate_up_proj\"") != std::string::npos);
  CHECK(index.find("\"lm_head.weight\"") != std::string::npos);
  CHECK(index.find("wq_a") == std::string::npos);
  CheckSame(*Opened(folder), weights);
}

TEST_CASE("packed experts cannot be fused", "[checkpoint]") {
  const RandomWeights weights(SmallConfig(), 7, RandomStorage::kOfficial);
  const TempDirectory folder;
  const Status status = WriteCheckpoint(weights, folder.path(), {0, NameStyle::kTransformers});
  CHECK(status.message().find("layers.0.ffn.experts.0.w1.weight") != std::string::npos);
}

TEST_CASE("names of every dialect mean the official tensor", "[names]") {
  const std::pair<const char*, const char*> cases[] = {
      {"layers.3.attn.wq_a.weight", "layers.3.attn.wq_a.weight"},
      {"model.layers.3.attn.wq_a.weight", "layers.3.attn.wq_a.weight"},
      {"layers.3.attn.wq_a.weight_scale_inv", "layers.3.attn.wq_a.scale"},
      {"model.layers.3.self_attn.q_a_proj.weight_scale_inv", "layers.3.attn.wq_a.scale"},
      {"mtp.0.e_proj.weight_scale_inv", "mtp.0.e_proj.scale"},
      {"model.embed_tokens.weight", "embed.weight"},
      {"lm_head.weight", "head.weight"},
      {"model.norm.weight", "norm.weight"},
      {"model.hc_head.hc_base", "hc_head_base"},
      {"model.layers.0.attn_hc.scale", "layers.0.hc_attn_scale"},
      {"model.layers.0.ffn_hc.fn", "layers.0.hc_ffn_fn"},
      {"model.layers.0.self_attn.sinks", "layers.0.attn.attn_sink"},
      {"model.layers.0.self_attn.q_a_norm.weight", "layers.0.attn.q_norm.weight"},
      {"model.layers.2.self_attn.compressor.kv_norm.weight",
       "layers.2.attn.compressor.norm.weight"},
      {"model.layers.2.self_attn.compressor.position_bias", "layers.2.attn.compressor.ape"},
      {"model.layers.2.self_attn.compressor.indexer.gate_proj.weight",
       "layers.2.attn.indexer.compressor.wgate.weight"},
      {"model.layers.2.self_attn.compressor.indexer.scorer.weights_proj.weight",
       "layers.2.attn.indexer.weights_proj.weight"},
      {"model.layers.2.self_attn.compressor.indexer.weights_proj.weight",
       "layers.2.attn.indexer.weights_proj.weight"},
      {"model.layers.2.mlp.gate.weight", "layers.2.ffn.gate.weight"},
      {"model.layers.2.mlp.gate.e_score_correction_bias", "layers.2.ffn.gate.bias"},
      {"model.layers.2.mlp.gate.tid2eid", "layers.2.ffn.gate.tid2eid"},
      {"model.layers.2.mlp.shared_experts.up_proj.weight", "layers.2.ffn.shared_experts.w3.weight"},
      {"model.layers.2.mlp.experts.17.down_proj.weight", "layers.2.ffn.experts.17.w2.weight"},
      {"layers.2.ffn.experts.17.w2.scale", "layers.2.ffn.experts.17.w2.scale"},
      {"something.else", "something.else"},
      {"mlp.experts.", "mlp.experts."},
      {"layers.1.mlp.experts.gate_proj", "layers.1.mlp.experts.gate_proj"},
  };
  for (const auto& [file_name, official] : cases) {
    INFO(file_name);
    CHECK(OfficialName(file_name).official == official);
  }
  const TensorName fused = OfficialName("model.layers.9.mlp.experts.gate_up_proj_scale_inv");
  CHECK(fused.fused == FusedKind::kGateUp);
  CHECK(fused.scale);
  CHECK(fused.official == "layers.9.ffn.experts.");
}

// A folder written fine and then damaged.
class DamagedFolder {
 public:
  explicit DamagedFolder(int64_t shard_bytes = 0) {
    const RandomWeights weights(SmallConfig(), 3, RandomStorage::kOfficial);
    RequireWritten(weights, folder_, {shard_bytes});
  }
  std::string File(std::string_view name) const { return folder_.File(name); }

  void Edit(const char* name, std::string_view from, std::string_view to) {
    const std::string text = Replaced(ReadFile(File(name)), from, to);
    REQUIRE(!text.empty());
    WriteFile(File(name), text);
  }
  // A header edit that keeps the header's length: `to` is padded.
  void EditHeader(std::string_view from, std::string to) {
    REQUIRE(to.size() <= from.size());
    to.resize(from.size(), ' ');
    Edit(kSingle, from, to);
  }
  void CheckRefused(StatusCode code, const std::string& words) const {
    for (WeightAccess access : {WeightAccess::kMapped, WeightAccess::kRead}) {
      const Status status = Checkpoint::Open(folder_.path(), {access}).status();
      INFO(status.ToString() << "\nexpected: " << words);
      CHECK(status.code() == code);
      CHECK(status.message().find(words) != std::string::npos);
      CHECK(status.message().find(folder_.path()) != std::string::npos);
    }
  }

 private:
  TempDirectory folder_;
};

TEST_CASE("missing files are named", "[checkpoint]") {
  SECTION("config.json") {
    DamagedFolder folder;
    std::filesystem::remove(folder.File("config.json"));
    folder.CheckRefused(StatusCode::kNotFound, "config.json");
  }
  SECTION("weights") {
    DamagedFolder folder;
    std::filesystem::remove(folder.File(kSingle));
    folder.CheckRefused(StatusCode::kNotFound, kIndex);
  }
  SECTION("a shard") {
    DamagedFolder folder(100'000);
    const auto index = nlohmann::json::parse(ReadFile(folder.File(kIndex)));
    const std::string shard = index["weight_map"]["norm.weight"];
    std::filesystem::remove(folder.File(shard));
    folder.CheckRefused(StatusCode::kNotFound, shard);
  }
  SECTION("a dangling link") {
    DamagedFolder folder;
    std::filesystem::remove(folder.File(kSingle));
    std::filesystem::create_symlink("nowhere", folder.File(kSingle));
    folder.CheckRefused(StatusCode::kNotFound, "");
  }
}

TEST_CASE("damaged weights are refused by name", "[checkpoint]") {
  DamagedFolder folder;
  SECTION("truncated") {
    std::filesystem::resize_file(folder.File(kSingle),
                                 std::filesystem::file_size(folder.File(kSingle)) - 1);
    folder.CheckRefused(StatusCode::kDataLoss, "truncated");
  }
  SECTION("cut inside the header") {
    std::filesystem::resize_file(folder.File(kSingle), 100);
    folder.CheckRefused(StatusCode::kDataLoss, "header: expected");
  }
  SECTION("longer than stated") {
    WriteFile(folder.File(kSingle), ReadFile(folder.File(kSingle)) + "x");
    folder.CheckRefused(StatusCode::kDataLoss, "bytes after the header");
  }
  SECTION("a tensor is missing") {
    folder.EditHeader("\"layers.1.attn.wkv.weight\"", "\"layers.1.attn.wkx.weight\"");
    folder.CheckRefused(
        StatusCode::kNotFound,
        "1 tensor does not fit config.json: 'layers.1.attn.wkv.weight' (in transformers: "
        "'model.layers.1.self_attn.kv_proj.weight') is missing");
  }
  SECTION("scales are missing") {
    folder.EditHeader("\"layers.1.attn.wkv.scale\"", "\"layers.1.attn.wkv.scalx\"");
    folder.CheckRefused(StatusCode::kNotFound, "'layers.1.attn.wkv.scale' (in transformers: ");
  }
  SECTION("two names of one tensor") {
    folder.EditHeader("\"layers.2.attn.wkv.scale\"", "\"model.norm.weight\"");
    folder.CheckRefused(StatusCode::kInvalidArgument, "are both 'norm.weight'");
  }
  SECTION("wrong type") {
    folder.EditHeader("\"norm.weight\":{\"data_offsets\"", "\"norm.weight\":{\"data_offsets\"");
    const std::string text = ReadFile(folder.File(kSingle));
    const size_t at = text.find("\"BF16\"", text.find("\"norm.weight\":{"));
    REQUIRE(at != std::string::npos);
    WriteFile(folder.File(kSingle), std::string(text).replace(at, 6, "\"I8\"  "));
    folder.CheckRefused(StatusCode::kInvalidArgument, "tensor 'norm.weight'");
  }
  SECTION("a hash table with an expert that doesn't exist") {
    std::string text = ReadFile(folder.File(kSingle));
    uint64_t length = 0;
    std::memcpy(&length, text.data(), sizeof(length));
    const auto header = nlohmann::json::parse(text.substr(8, length));
    const size_t at = header["layers.0.ffn.gate.tid2eid"]["data_offsets"][0];
    text[8 + length + at + 5 * 2 * 8] = 4;  // Token 5, first pick; experts are 0 to 3.
    WriteFile(folder.File(kSingle), text);
    folder.CheckRefused(StatusCode::kInvalidArgument,
                        "'layers.0.ffn.gate.tid2eid': token 5: expected distinct expert ids "
                        "below 4, got 4");
  }
}

TEST_CASE("a config that contradicts the tensors is refused by tensor", "[checkpoint]") {
  DamagedFolder folder;
  SECTION("vocabulary") {
    folder.Edit("config.json", "\"vocab_size\": 64", "\"vocab_size\": 65");
    folder.CheckRefused(StatusCode::kInvalidArgument,
                        "'embed.weight': expected F32, BF16 or F16 [65, 128], got BF16 [64, 128]");
  }
  SECTION("a quantised matrix") {
    folder.Edit("config.json", "\"q_lora_rank\": 64", "\"q_lora_rank\": 65");
    folder.CheckRefused(
        StatusCode::kInvalidArgument,
        "'layers.0.attn.wq_a.weight': expected F32, BF16, F16 or F8_E4M3 [65, 128], "
        "got F8_E4M3 [64, 128]");
  }
  SECTION("experts") {
    folder.Edit("config.json", "\"n_routed_experts\": 4", "\"n_routed_experts\": 5");
    folder.CheckRefused(StatusCode::kInvalidArgument, "layers.0.ffn.gate.weight");
  }
  SECTION("a layer more") {
    folder.Edit("config.json", "\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4");
    folder.Edit("config.json", "128\n ]", "128,0\n ]");
    folder.CheckRefused(StatusCode::kNotFound, "layers.3.");
  }
  SECTION("another kind of layer") {
    folder.Edit("config.json", "  4,", "  128,");
    folder.CheckRefused(StatusCode::kInvalidArgument, "layers.1.attn.compressor.ape");
  }
  SECTION("the config itself") {
    folder.Edit("config.json", "\"hc_mult\": 4", "\"hc_mult\": 40");
    folder.CheckRefused(StatusCode::kInvalidArgument, "hc_mult: expected 1 to 8, got 40");
  }
}

TEST_CASE("a bad index is refused", "[checkpoint]") {
  DamagedFolder folder(100'000);
  const auto index = nlohmann::json::parse(ReadFile(folder.File(kIndex)));
  const std::string shard = index["weight_map"]["norm.weight"];
  const std::string entry = "\"norm.weight\": \"" + shard + "\"";
  SECTION("shards outside the folder") {
    for (const char* name : {"../evil.safetensors", "/etc/x.safetensors", "a\\\\b.safetensors",
                             "x.bin", "", "..", "a\\u0000.safetensors"}) {
      DamagedFolder other(100'000);
      other.Edit(kIndex, "\n  " + entry, "\n  \"norm.weight\": \"" + std::string(name) + "\"");
      other.CheckRefused(StatusCode::kInvalidArgument,
                         "weight_map of tensor 'norm.weight': expected the name of a .safetensors");
    }
  }
  SECTION("a tensor that its shard doesn't have") {
    const std::string other = index["weight_map"]["embed.weight"];
    REQUIRE(other != shard);
    folder.Edit(kIndex, "\n  " + entry, "\n  \"norm.weight\": \"" + other + "\"");
    folder.CheckRefused(StatusCode::kDataLoss, "tensor 'norm.weight' is missing");
  }
  SECTION("not an index") {
    WriteFile(folder.File(kIndex), "{\"weight_map\": []}");
    folder.CheckRefused(StatusCode::kInvalidArgument, "weight_map");
  }
}

TEST_CASE("fused tensors of the wrong shape are refused", "[checkpoint]") {
  const RandomWeights weights(SmallConfig(), 7, RandomStorage::kFloat32);
  const TempDirectory folder;
  RequireWritten(weights, folder, {0, NameStyle::kTransformers});
  const std::string text = ReadFile(folder.File(kSingle));
  // [4, 128, 128] -> [8, 64, 128]: as many elements, other experts.
  const size_t at = text.find("[4,128,128]", text.find("gate_up_proj"));
  REQUIRE(at != std::string::npos);
  WriteFile(folder.File(kSingle), std::string(text).replace(at, 11, "[8,64,128] "));
  const Status status = Checkpoint::Open(folder.path(), {}).status();
  INFO(status.ToString());
  CHECK(status.message().find("mlp.experts.gate_up_proj': expected [4, an even number, columns], "
                              "got [8, 64, 128]") != std::string::npos);
}

TEST_CASE("a folder of the other layout is not mixed up", "[checkpoint]") {
  const RandomWeights weights(SmallConfig(), 7, RandomStorage::kOfficial);
  const TempDirectory folder;
  RequireWritten(weights, folder, {});
  CHECK(WriteCheckpoint(weights, folder.path(), {1000}).code() == StatusCode::kAlreadyExists);
  RequireWritten(weights, folder, {});  // The same layout is replaced.
}

}  // namespace
}  // namespace baleen
