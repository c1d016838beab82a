// Seeded weights: deterministic, complete, in the official formats.
#include "model/random_weights.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <set>

#include "model/checkpoint/fingerprint.h"
#include "model/checkpoint/tensor_check.h"
#include "model/checkpoint/tensor_table.h"
#include "tests/checkpoint/folders.h"

namespace baleen {
namespace {

using testing::SmallConfig;

std::vector<float> Floats(const TensorView& view) {
  REQUIRE(view.dtype == DType::kF32);
  std::vector<float> values(view.bytes.size() / sizeof(float));
  std::memcpy(values.data(), view.bytes.data(), view.bytes.size());
  return values;
}

double Deviation(const std::vector<float>& values) {
  double sum = 0;
  double squares = 0;
  for (float value : values) {
    sum += value;
    squares += static_cast<double>(value) * value;
  }
  const double n = static_cast<double>(values.size());
  return std::sqrt(squares / n - sum / n * (sum / n));
}

TEST_CASE("the tiny configs are valid and complete in every storage", "[random]") {
  for (int64_t vocab : {512, 129280}) {
    const ModelConfig config = TinyConfig(vocab);
    REQUIRE(config.Validate().ok());
    CHECK(ModelConfig::FromJson(config.ToJson())->ToJson() == config.ToJson());
  }
  ModelConfig config = TinyConfig();
  config.mtp_layers = 1;
  for (RandomStorage storage : {RandomStorage::kFloat32, RandomStorage::kOfficial}) {
    for (const char* dtype : {"fp4", "fp8"}) {
      config.expert_dtype = dtype;
      const RandomWeights weights(config, 1, storage);
      const Status status = CheckTensors(weights).status();
      INFO(status.ToString());
      CHECK(status.ok());
      CHECK(weights.Find("mtp.0.e_proj.weight").ok());
      CHECK(weights.Find("nothing").status().code() == StatusCode::kNotFound);
    }
  }
}

// Written down once, so that another compiler or C library with other bits is noticed.
TEST_CASE("a seed means the same bytes everywhere", "[random]") {
  const auto fingerprint = [](uint64_t seed, RandomStorage storage) {
    return *FingerprintOf(RandomWeights(SmallConfig(), seed, storage), "", nullptr);
  };
  CHECK(fingerprint(1, RandomStorage::kFloat32) ==
        "ea939ad823e9ba39de5be2c425487277fbd25f11846bc4eea1b9018188e588fb");
  CHECK(fingerprint(1, RandomStorage::kOfficial) ==
        "bd28a49b493e8fd778d6b5d8c30b0f3f20e2cb68b95f16915dd31f252bd2f9c2");
  CHECK(fingerprint(2, RandomStorage::kFloat32) != fingerprint(1, RandomStorage::kFloat32));
}

TEST_CASE("magnitudes keep a forward pass lively", "[random]") {
  const RandomWeights weights(TinyConfig(), 1, RandomStorage::kFloat32);
  // 65536 samples of deviation s: the estimate is within 5 * s / sqrt(2 * 65536) = 0.014 s.
  CHECK(std::abs(Deviation(Floats(*weights.Find("embed.weight"))) - 1) < 0.014);
  // 2/sqrt(128) by the design of the logits.
  const double head = 2 / std::sqrt(128.0);
  CHECK(std::abs(Deviation(Floats(*weights.Find("head.weight"))) - head) < 0.014 * head);
  for (float value : Floats(*weights.Find("norm.weight"))) {
    CHECK(value > 0.25F);  // 1 - 0.2 * 3.5, the bell's end.
    CHECK(value < 1.75F);
  }
}

TEST_CASE("hash tables pick distinct experts, all of them somewhere", "[random]") {
  const RandomWeights weights(TinyConfig(), 1, RandomStorage::kFloat32);
  const TensorView view = *weights.Find("layers.1.ffn.gate.tid2eid");
  REQUIRE(view.shape == std::vector<int64_t>{512, 2});
  std::set<int64_t> used;
  for (int64_t t = 0; t < 512; ++t) {
    int64_t ids[2];
    std::memcpy(ids, view.bytes.data() + t * 16, 16);
    CHECK(ids[0] != ids[1]);
    used.insert(ids, ids + 2);
  }
  CHECK(used.size() == 8);
  CHECK(*used.begin() == 0);
  CHECK(*used.rbegin() == 7);
}

// The quantised tensor, dequantised, is near the float tensor of the same seed.
TEST_CASE("official formats hold the values they were made from", "[random]") {
  const ModelConfig config = SmallConfig();
  const RandomWeights exact(config, 9, RandomStorage::kFloat32);
  const RandomWeights stored(config, 9, RandomStorage::kOfficial);
  const auto scale = [&](const TensorView& scales, int64_t row, int64_t col) {
    const auto at = static_cast<size_t>(row * scales.shape[1] + col);
    return DecodeE8M0(static_cast<uint8_t>(scales.bytes[at]));
  };
  SECTION("FP8") {
    const std::string name = "layers.1.attn.wq_b.weight";  // [384, 64]: three blocks down.
    const TensorView codes = *stored.Find(name);
    const TensorView scales = *stored.Find(ScaleName(name));
    REQUIRE(codes.dtype == DType::kF8E4M3);
    REQUIRE(scales.shape == std::vector<int64_t>{3, 1});
    const std::vector<float> values = Floats(*exact.Find(name));
    for (size_t i = 0; i < values.size(); ++i) {
      const float s = scale(scales, static_cast<int64_t>(i) / 64 / 128, 0);
      const float got = DecodeE4M3(static_cast<uint8_t>(codes.bytes[i])) * s;
      // Half of the last of three mantissa bits; below 2^-6 half of the step 2^-9.
      CHECK(std::abs(got - values[i]) <= std::max(std::abs(values[i]) / 16, s / 1024));
    }
  }
  SECTION("FP4") {
    const std::string name = "layers.1.ffn.experts.3.w2.weight";  // [128, 64]
    const TensorView codes = *stored.Find(name);
    const TensorView scales = *stored.Find(ScaleName(name));
    REQUIRE(codes.dtype == DType::kI8);
    REQUIRE(codes.shape == std::vector<int64_t>{128, 32});
    REQUIRE(scales.shape == std::vector<int64_t>{128, 2});
    const std::vector<float> values = Floats(*exact.Find(name));
    for (size_t i = 0; i < values.size(); ++i) {
      const auto byte = static_cast<uint8_t>(codes.bytes[i / 2]);
      const uint8_t code = i % 2 == 0 ? byte & 15 : byte >> 4;
      const int64_t column = static_cast<int64_t>(i) % 64;
      const float s = scale(scales, static_cast<int64_t>(i) / 64, column / 32);
      // Half of the widest step, from 4 to 6.
      CHECK(std::abs(DecodeE2M1(code) * s - values[i]) <= s);
    }
  }
}

}  // namespace
}  // namespace baleen
