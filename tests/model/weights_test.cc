#include "model/weights.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <map>
#include <set>

#include "model/checkpoint/tensor_table.h"
#include "tests/model/tiny_model.h"

namespace baleen {
namespace {

using Catch::Matchers::Contains;
using testing::LogitBits;
using testing::MixedConfig;
using testing::RandomTokens;

/// Another source with some tensors taken away, replaced or changed.
class EditedWeights : public WeightSource {
 public:
  explicit EditedWeights(const RandomWeights& base) : base_(base) {}

  void Remove(const std::string& name) { removed_.insert(name); }
  /// A private copy to write to.
  std::vector<std::byte>& Edit(const std::string& name) {
    const Result<TensorView> view = base_.Find(name);
    REQUIRE(view.ok());
    edited_[name] = {*view, {view->bytes.begin(), view->bytes.end()}};
    return edited_[name].bytes;
  }
  void Replace(const std::string& name, DType dtype, std::vector<int64_t> shape,
               std::vector<std::byte> bytes) {
    edited_[name] = {{dtype, std::move(shape), {}}, std::move(bytes)};
  }

  const ModelConfig& config() const override { return base_.config(); }
  std::vector<std::string> Names() const override { return base_.Names(); }
  Result<TensorView> Find(std::string_view name) const override {
    if (removed_.contains(std::string(name))) return NotFoundError("tensor " + std::string(name));
    const auto it = edited_.find(std::string(name));
    if (it == edited_.end()) return base_.Find(name);
    TensorView view = it->second.view;
    view.bytes = it->second.bytes;
    return view;
  }

 private:
  struct Tensor {
    TensorView view;
    std::vector<std::byte> bytes;
  };
  const RandomWeights& base_;
  std::set<std::string> removed_;
  std::map<std::string, Tensor> edited_;
};

Status Load(const WeightSource& source) {
  const auto backend = kernels::MakeBackend("ref", 1);
  return LoadWeights(source, *backend, {}).status();
}

template <typename T>
void Poke(std::vector<std::byte>& bytes, size_t index, T value) {
  std::memcpy(bytes.data() + index * sizeof(T), &value, sizeof(T));
}

TEST_CASE("MissingTensorsAreReportedTogether") {
  const RandomWeights base(MixedConfig(), 1, RandomStorage::kFloat32);
  EditedWeights source(base);
  source.Remove("norm.weight");
  source.Remove("layers.2.attn.indexer.wq_b.weight");
  Status status = Load(source);
  CHECK(status.code() == StatusCode::kNotFound);
  CHECK_THAT(status.message(), Contains("2 tensors"));
  CHECK_THAT(status.message(), Contains("norm.weight"));
  CHECK_THAT(status.message(), Contains("layers.2.attn.indexer.wq_b.weight"));
  for (int e = 0; e < 8; ++e) {
    for (const char* w : {".w1.weight", ".w2.weight", ".w3.weight"}) {
      source.Remove("layers.0.ffn.experts." + std::to_string(e) + w);
    }
  }
  status = Load(source);
  CHECK_THAT(status.message(), Contains("26 tensors"));
  CHECK(status.message().size() < 1000);  // ten names, not 26
}

TEST_CASE("WrongShapesAndTypesNameTheTensor") {
  const RandomWeights base(MixedConfig(), 1, RandomStorage::kFloat32);
  EditedWeights source(base);
  source.Replace("norm.weight", DType::kF32, {63}, std::vector<std::byte>(63 * 4));
  source.Replace("layers.1.ffn.gate.tid2eid", DType::kF32, {96, 2},
                 std::vector<std::byte>(96 * 2 * 4));
  source.Replace("layers.0.attn_norm.weight", DType::kF32, {64}, std::vector<std::byte>(8));
  source.Replace("layers.0.attn.wq_a.weight", DType::kI8, {32, 32}, std::vector<std::byte>(1024));
  const Status status = Load(source);
  CHECK(status.code() == StatusCode::kInvalidArgument);
  CHECK_THAT(status.message(), Contains("4 tensors"));
  CHECK_THAT(status.message(),
             Contains("'norm.weight': expected F32, BF16 or F16 [64], got F32 [63]"));
  CHECK_THAT(status.message(),
             Contains("'layers.1.ffn.gate.tid2eid': expected I64 or I32 [96, 2], got F32"));
  CHECK_THAT(status.message(), Contains("'layers.0.attn_norm.weight': expected 256 bytes, got 8"));
  CHECK_THAT(status.message(),
             Contains("'layers.0.attn.wq_a.weight': expected F32, BF16, F16 or F8_E4M3"));
}

TEST_CASE("ValuesNoModelHasAreRefused") {
  const RandomWeights base(MixedConfig(), 1, RandomStorage::kFloat32);
  for (const char* name : {"layers.3.attn.attn_sink", "norm.weight", "layers.0.hc_attn_fn",
                           "layers.2.attn.compressor.ape"}) {
    EditedWeights source(base);
    Poke(source.Edit(name), 1, NAN);
    const Status status = Load(source);
    CHECK(status.code() == StatusCode::kDataLoss);
    CHECK_THAT(status.message(), Contains(name));
  }
  for (const int64_t bad : {int64_t{-1}, int64_t{8}, int64_t{1} << 40}) {
    EditedWeights source(base);
    Poke(source.Edit("layers.0.ffn.gate.tid2eid"), 21, bad);
    const Status status = Load(source);
    CHECK(status.code() == StatusCode::kInvalidArgument);
    CHECK_THAT(status.message(), Contains("token 10: expected distinct expert ids below 8, got " +
                                          std::to_string(bad)));
  }
  EditedWeights twice(base);
  std::vector<std::byte>& table = twice.Edit("layers.0.ffn.gate.tid2eid");
  std::memcpy(table.data() + 8, table.data(), 8);
  CHECK(Load(twice).code() == StatusCode::kInvalidArgument);
  CHECK_THAT(Load(twice).message(), Contains("token 0: ") && Contains(" twice"));
}

TEST_CASE("OfficialFormatsLoadAndBadScalesAreRefused") {
  for (const char* experts : {"fp4", "fp8"}) {
    ModelConfig config = MixedConfig();
    config.expert_dtype = experts;
    const RandomWeights base(config, 1, RandomStorage::kOfficial);
    ModelOptions options;
    options.backend = std::string(kernels::BackendNames()[0]);
    options.threads = 1;
    const Result<std::unique_ptr<Model>> model = Model::FromWeights(base, options, "");
    INFO(experts << ": " << model.status().ToString());
    REQUIRE(model.ok());
    KvCache cache = (*model)->NewCache();
    testing::Run(**model, cache, RandomTokens(config, 150));

    for (const char* name : {"layers.0.ffn.experts.3.w1.scale", "layers.4.attn.wo_a.scale"}) {
      EditedWeights source(base);
      std::vector<std::byte>& scales = source.Edit(name);
      std::fill(scales.begin(), scales.end(), std::byte{0xFF});  // E8M0 255, or F32 NaN
      const Status status = Load(source);
      CHECK(status.code() == StatusCode::kDataLoss);
      CHECK_THAT(status.message(), Contains(name));
    }
    EditedWeights source(base);
    source.Remove("layers.2.attn.wkv.scale");
    CHECK_THAT(Load(source).message(),
               Contains("'layers.2.attn.wkv.scale' (in transformers: ") && Contains("is missing"));
  }
}

TEST_CASE("GroupsOfTheOutputProjectionKeepTheirScales") {
  // One scale block of 128 rows spans all groups here (2 groups of 16 rows), and with 128 rows per
  // group each group has its own: both must equal the same weights unquantised.
  for (const int64_t o_rank : {16, 128}) {
    ModelConfig config = MixedConfig();
    config.o_rank = o_rank;
    const RandomWeights official(config, 1, RandomStorage::kOfficial);
    EditedWeights plain(official);
    const std::string name = "layers.0.attn.wo_a.weight";
    const Result<TensorView> codes = official.Find(name);
    const Result<TensorView> scales = official.Find("layers.0.attn.wo_a.scale");
    REQUIRE((codes.ok() && scales.ok()));
    REQUIRE(codes->dtype == DType::kF8E4M3);
    const int64_t cols = codes->shape[1];
    std::vector<std::byte> floats(codes->bytes.size() * 4);
    for (size_t i = 0; i < codes->bytes.size(); ++i) {
      const auto row = static_cast<int64_t>(i) / cols;
      const auto col = static_cast<int64_t>(i) % cols;
      const size_t s = static_cast<size_t>(row / 128 * scales->shape[1] + col / 128);
      Poke(floats, i,
           DecodeE4M3(static_cast<uint8_t>(codes->bytes[i])) *
               DecodeE8M0(static_cast<uint8_t>(scales->bytes[s])));
    }
    plain.Replace(name, DType::kF32, codes->shape, floats);

    const std::vector<int32_t> tokens = RandomTokens(config, 20);
    std::string bits[2];
    const WeightSource* sources[2] = {&official, &plain};
    for (int i = 0; i < 2; ++i) {
      ModelOptions options;
      options.backend = std::string(kernels::BackendNames()[0]);
      options.threads = 1;
      Result<std::unique_ptr<Model>> model = Model::FromWeights(*sources[i], options, "");
      INFO(model.status().ToString());
      REQUIRE(model.ok());
      KvCache cache = (*model)->NewCache();
      bits[i] = LogitBits(**model, testing::Run(**model, cache, tokens), 0, 20);
    }
    INFO("o_rank " << o_rank);
    CHECK((bits[0] == bits[1]));
  }
}

TEST_CASE("EveryPlainTypeIsRead") {
  // Values that all three types hold exactly; 2^-24 is subnormal in F16.
  const uint32_t f32[3] = {0x3F800000, 0xBF000000, 0x33800000};
  const uint16_t bf16[3] = {0x3F80, 0xBF00, 0x3380};
  const uint16_t f16[3] = {0x3C00, 0xB800, 0x0001};
  const RandomWeights base(MixedConfig(), 1, RandomStorage::kFloat32);
  std::string expected;
  for (const DType dtype : {DType::kF32, DType::kBf16, DType::kF16}) {
    EditedWeights source(base);
    for (const auto& [name, shape] : {std::pair("embed.weight", std::vector<int64_t>{96, 64}),
                                      std::pair("norm.weight", std::vector<int64_t>{64}),
                                      std::pair("head.weight", std::vector<int64_t>{96, 64})}) {
      const size_t count = static_cast<size_t>(shape[0] * (shape.size() == 2 ? shape[1] : 1));
      std::vector<std::byte> bytes(count * (dtype == DType::kF32 ? 4 : 2));
      for (size_t i = 0; i < count; ++i) {
        const size_t pick = i * i % 7 % 3;
        if (dtype == DType::kF32) Poke(bytes, i, f32[pick]);
        if (dtype == DType::kBf16) Poke(bytes, i, bf16[pick]);
        if (dtype == DType::kF16) Poke(bytes, i, f16[pick]);
      }
      source.Replace(name, dtype, shape, bytes);
    }
    ModelOptions options;
    options.backend = "ref";
    const Result<std::unique_ptr<Model>> model = Model::FromWeights(source, options, "");
    REQUIRE(model.ok());
    KvCache cache = (*model)->NewCache();
    const std::vector<float> logits =
        testing::Run(**model, cache, RandomTokens((*model)->config(), 3));
    const std::string bits = LogitBits(**model, logits, 0, 3);
    if (dtype == DType::kF32) expected = bits;
    CHECK((bits == expected));
  }
}

TEST_CASE("MtpTensorsMayBeAbsentButNotWrong") {
  ModelConfig config = MixedConfig();
  config.mtp_layers = 1;
  const RandomWeights base(config, 1, RandomStorage::kFloat32);
  CHECK(Load(base).ok());
  EditedWeights source(base);
  for (const TensorSpec& spec : MtpTensors(config)) source.Remove(spec.name);
  CHECK(Load(source).ok());
  EditedWeights wrong(base);
  wrong.Replace("mtp.0.enorm.weight", DType::kF32, {65}, std::vector<std::byte>(65 * 4));
  const Status status = Load(wrong);
  CHECK(status.code() == StatusCode::kInvalidArgument);
  CHECK_THAT(status.message(), Contains("mtp.0.enorm.weight"));
}

TEST_CASE("ProgressEndsAtTheTotal") {
  const RandomWeights base(MixedConfig(), 1, RandomStorage::kOfficial);
  int64_t last = 0;
  int64_t total = 0;
  const auto backend = kernels::MakeBackend("ref", 1);
  REQUIRE(LoadWeights(base, *backend, [&](int64_t done, int64_t of) {
            REQUIRE(done >= last);
            last = done;
            total = of;
          }).ok());
  CHECK(last == total);
  CHECK(total > 0);
}

TEST_CASE("UnknownBackendsAndImpossibleConfigsAreRefused") {
  ModelConfig config = MixedConfig();
  const auto refusal = [](const ModelConfig& c, const ModelOptions& options) {
    const RandomWeights base(c, 1, RandomStorage::kFloat32);
    const Result<std::unique_ptr<Model>> model = Model::FromWeights(base, options, "");
    CHECK(model.status().code() == StatusCode::kInvalidArgument);
    return model.status().message();
  };
  ModelOptions options;
  options.backend = "abacus";
  CHECK_THAT(refusal(config, options), Contains("abacus"));
  options.backend = "ref";
  config.index_dim = 24;
  CHECK_THAT(refusal(config, options), Contains("index_head_dim"));
  config = MixedConfig();
  config.window = 1 << 20;
  CHECK_THAT(refusal(config, options), Contains("sliding_window"));
}

}  // namespace
}  // namespace baleen
