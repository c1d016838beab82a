// Orthogonalisation and Muon against float64 goldens of an independent script; AdamW against its
// definition; the whole optimiser over a parameter set.
#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "model/random_weights.h"
#include "model/training/optimiser.h"
#include "model/training/random_stream.h"
#include "model/training/routing_bias.h"
#include "model/training/schedule.h"
#include "tests/testing/test_paths.h"

namespace baleen::training {
namespace {

nlohmann::json Goldens() {
  std::ifstream file(std::string(kTestData) + "/training/muon.json");
  REQUIRE(file.good());
  return nlohmann::json::parse(file);
}

double LargestDifference(const std::vector<float>& got, const std::vector<double>& expected) {
  REQUIRE(got.size() == expected.size());
  double largest = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(got[i]) - expected[i]));
  }
  return largest;
}

// Ten fp32 steps with rounding errors of a few ulp each, which the fast steps multiply by up
// to 3.4445 while a singular value is small. Measured: at most 4e-7.
constexpr double kOrthogonalTolerance = 4e-6;

TEST_CASE("NewtonSchulzMatchesTheFloat64Goldens") {
  const nlohmann::json goldens = Goldens();
  for (const auto& golden : goldens["orthogonalise"]) {
    const auto in = golden["in"].get<std::vector<float>>();
    std::vector<float> out(in.size());
    Orthogonaliser orthogonaliser;
    orthogonaliser.Run(in.data(), golden["rows"], golden["cols"], {}, out.data());
    const double difference = LargestDifference(out, golden["out"].get<std::vector<double>>());
    INFO(golden["rows"] << " x " << golden["cols"] << ": " << difference);
    CHECK(difference < kOrthogonalTolerance);
  }
}

TEST_CASE("NewtonSchulzDependsOnEachKindOfStep") {
  const nlohmann::json golden = Goldens()["orthogonalise"][5];
  const auto in = golden["in"].get<std::vector<float>>();
  std::vector<float> out(in.size());
  Orthogonaliser orthogonaliser;
  for (const NewtonSchulzSteps steps : {NewtonSchulzSteps{8, 1}, NewtonSchulzSteps{7, 2}}) {
    orthogonaliser.Run(in.data(), golden["rows"], golden["cols"], steps, out.data());
    CHECK(LargestDifference(out, golden["out"].get<std::vector<double>>()) >
          10 * kOrthogonalTolerance);
  }
}

// The iteration corrects itself: a step's rounding to 8 bits is what the last stable step leaves,
// and singular values stay near 1.
TEST_CASE("NewtonSchulzToleratesBf16Products") {
  const nlohmann::json goldens = Goldens();
  for (const auto& golden : goldens["orthogonalise"]) {
    if (golden["rows"] == 8) continue;  // A singular value of 1e-5 isn't raised alike.
    const auto in = golden["in"].get<std::vector<float>>();
    std::vector<float> out(in.size());
    Orthogonaliser orthogonaliser(Arithmetic::kBfloat16);
    orthogonaliser.Run(in.data(), golden["rows"], golden["cols"], {}, out.data());
    const double difference = LargestDifference(out, golden["out"].get<std::vector<double>>());
    INFO(golden["rows"] << " x " << golden["cols"] << ": " << difference);
    CHECK(difference < 0.05);
  }
}

TEST_CASE("ZeroStaysZeroWhenOrthogonalised") {
  std::vector<float> zero(12, 0.0F);
  Orthogonaliser orthogonaliser;
  orthogonaliser.Run(zero.data(), 3, 4, {}, zero.data());
  for (float value : zero) CHECK(value == 0.0F);
}

TEST_CASE("MuonStepsMatchTheFloat64Goldens") {
  const nlohmann::json goldens = Goldens();
  for (const auto& golden : goldens["steps"]) {
    auto weights = golden["weights"].get<std::vector<float>>();
    std::vector<float> momentum(weights.size());
    Orthogonaliser orthogonaliser;
    for (const auto& gradient : golden["gradients"]) {
      const auto g = gradient.get<std::vector<float>>();
      MuonStep({1, golden["rows"], golden["cols"]}, 0, g, 1, golden["rate"], {}, orthogonaliser,
               momentum, weights);
    }
    CHECK(LargestDifference(weights, golden["weights_after"].get<std::vector<double>>()) < 1e-5);
    CHECK(LargestDifference(momentum, golden["momentum_after"].get<std::vector<double>>()) < 1e-5);
  }
}

TEST_CASE("AdamWFollowsItsDefinition") {
  const AdamWOptions options{0.9F, 0.95F, 1e-8F, 0.1F};
  std::vector<float> weights = {1.0F, -2.0F, 0.5F};
  std::vector<float> first(3);
  std::vector<float> second(3);
  double w[3] = {1, -2, 0.5};
  double m[3] = {};
  double v[3] = {};
  RandomStream random(3);
  for (int64_t step = 1; step <= 5; ++step) {
    std::vector<float> gradient(3);
    for (float& g : gradient) g = random.Bell();
    AdamWStep(gradient, 0.5F, 0.01F, step, options, {first, second}, weights);
    for (size_t i = 0; i < 3; ++i) {
      const double g = 0.5 * static_cast<double>(gradient[i]);
      m[i] = 0.9 * m[i] + 0.1 * g;
      v[i] = 0.95 * v[i] + 0.05 * g * g;
      const double m_hat = m[i] / (1 - std::pow(0.9, step));
      const double v_hat = v[i] / (1 - std::pow(0.95, step));
      w[i] -= 0.01 * (m_hat / (std::sqrt(v_hat) + 1e-8) + 0.1 * w[i]);
      CHECK(weights[i] == Approx(w[i]).margin(1e-6));
    }
  }
}

TEST_CASE("AdamWLeavesAnUntouchedElementToItsDecay") {
  std::vector<float> weights = {2.0F};
  std::vector<float> first(1);
  std::vector<float> second(1);
  AdamWStep(std::vector<float>{0.0F}, 1, 0.1F, 1, {}, {first, second}, weights);
  CHECK(weights[0] == Approx(2.0F * 0.99F));
}

ModelConfig SmallConfig() {
  ModelConfig config = TinyConfig(64);
  config.hidden = 32;
  config.mtp_layers = 1;
  config.experts = 2;
  return config;
}

ParameterSet Seeded(uint64_t seed) {
  auto made = ParameterSet::Make(SmallConfig());
  REQUIRE(made.ok());
  for (Parameter& parameter : made->all()) {
    RandomStream random(seed, parameter.name);
    for (float& value : parameter.value) value = random.Bell();
  }
  return std::move(made).value();
}

Gradients SeededGradients(const ParameterSet& parameters, uint64_t seed) {
  Gradients gradients(parameters);
  RandomStream random(seed);
  for (float& value : gradients.flat()) value = random.Bell();
  return gradients;
}

TEST_CASE("LogicalMatricesOfFusedTensors") {
  const ParameterSet parameters = Seeded(1);
  const ModelConfig& config = parameters.config();
  const auto shape = [&](const char* name) {
    return LogicalMatrices(*parameters.Find(name), config);
  };
  MuonMatrices m = shape("layers.2.attn.wo_a.weight");
  CHECK((m.count == 2 && m.rows == config.o_rank));
  m = shape("layers.2.attn.compressor.wkv.weight");
  CHECK((m.count == 2 && m.rows == config.head_dim && m.cols == config.hidden));
  m = shape("layers.3.attn.compressor.wgate.weight");  // HCA: not overlapped.
  CHECK((m.count == 1 && m.rows == config.head_dim));
  m = shape("layers.2.attn.indexer.compressor.wkv.weight");
  CHECK((m.count == 2 && m.rows == config.index_dim));
  m = shape("layers.2.attn.wq_b.weight");
  CHECK((m.count == 1 && m.rows == config.heads * config.head_dim));
}

TEST_CASE("OptimiserGivesTheSameBitsOnAnyNumberOfThreads") {
  ParameterSet one = Seeded(1);
  ParameterSet three = Seeded(1);
  Optimiser a(one, {});
  Optimiser b(three, {});
  kernels::cpu::ThreadPool single(1, 1);
  kernels::cpu::ThreadPool several(3, 1);
  const std::vector<bool> frozen(one.all().size(), false);
  for (uint64_t step = 0; step < 2; ++step) {
    const Gradients gradients = SeededGradients(one, step + 5);
    a.Step(gradients, {0.01F, 0.004F, 1}, frozen, single, &one);
    b.Step(gradients, {0.01F, 0.004F, 1}, frozen, several, &three);
  }
  for (size_t p = 0; p < one.all().size(); ++p) {
    INFO(one.all()[p].name);
    CHECK(one.all()[p].value == three.all()[p].value);
  }
}

TEST_CASE("EachParameterIsChangedByItsRule") {
  ParameterSet parameters = Seeded(1);
  const ParameterSet before = parameters;
  Optimiser optimiser(parameters, {});
  kernels::cpu::ThreadPool pool(1, 1);
  std::vector<bool> frozen(parameters.all().size(), false);
  const auto still = static_cast<size_t>(parameters.IndexOf("layers.0.attn.wq_a.weight"));
  frozen[still] = true;
  const Gradients gradients = SeededGradients(parameters, 2);
  optimiser.Step(gradients, {0.01F, 0.004F, 1}, frozen, pool, &parameters);
  for (size_t p = 0; p < parameters.all().size(); ++p) {
    const Parameter& parameter = parameters.all()[p];
    INFO(parameter.name);
    const bool kept = parameter.rule == UpdateRule::kRoutingBias || p == still;
    CHECK((parameter.value == before.all()[p].value) == kept);
    if (kept) continue;
    if (parameter.rule == UpdateRule::kAdamW) {
      // The first step of AdamW is rate * sign(g), whatever the size of g.
      const float first = before.all()[p].value[0] * (1 - 0.004F * 0.1F);
      CHECK(std::abs(parameter.value[0] - first) == Approx(0.004F).epsilon(1e-3));
    }
  }
}

TEST_CASE("MuonUpdatesHaveTheStatedSize") {
  ParameterSet parameters = Seeded(1);
  Optimiser optimiser(parameters, {});
  kernels::cpu::ThreadPool pool(1, 1);
  const ParameterSet before = parameters;
  optimiser.Step(SeededGradients(parameters, 2), {0.01F, 0, 1},
                 std::vector<bool>(parameters.all().size(), false), pool, &parameters);
  const std::string name = "layers.2.attn.wo_a.weight";  // Two wide matrices of full row rank.
  const Parameter& after = *parameters.Find(name);
  double squares = 0;
  for (size_t i = 0; i < after.value.size(); ++i) {
    const double old = static_cast<double>(before.Find(name)->value[i]) * (1 - 0.01 * 0.1);
    squares += std::pow((static_cast<double>(after.value[i]) - old) / 0.01, 2);
  }
  const double rms = std::sqrt(squares / static_cast<double>(after.value.size()));
  CHECK(rms == Approx(0.18).epsilon(0.02));  // The stable steps leave singular values within 1 %.
}

TEST_CASE("ScheduleWarmsUpHoldsAndDecays") {
  const Schedule schedule{100, 10, 0.3, 0.1};
  CHECK(schedule.ShareAt(0) == Approx(0.1));
  CHECK(schedule.ShareAt(9) == Approx(1));
  CHECK(schedule.ShareAt(50) == 1);
  CHECK(schedule.decay_start() == 70);
  CHECK(schedule.ShareAt(69) == 1);
  CHECK(schedule.ShareAt(84) == Approx(0.1 + 0.9 * 15.0 / 30));
  CHECK(schedule.ShareAt(99) == Approx(0.1));
  CHECK(schedule.ShareAt(1000) == Approx(0.1));
  const Schedule constant{10, 0, 0, 0.5};
  CHECK(constant.ShareAt(0) == 1);
  CHECK(constant.ShareAt(9) == 1);
}

TEST_CASE("RoutingBiasMovesTowardsTheMean") {
  std::vector<float> bias = {0, 0, 0, 1};
  UpdateRoutingBias(std::vector<int64_t>{10, 0, 5, 5}, 0.25F, bias);
  CHECK(bias == std::vector<float>{-0.25F, 0.25F, 0, 1});
  UpdateRoutingBias(std::vector<int64_t>{0, 0, 0, 0}, 0.25F, bias);
  CHECK(bias == std::vector<float>{-0.25F, 0.25F, 0, 1});
}

}  // namespace
}  // namespace baleen::training
