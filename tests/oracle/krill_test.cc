// Krill, the model that comes along: found where no model is named, and its logits in pure mode
// beside those that Hugging Face transformers computes from the same FP4 and FP8 weights.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "model/model.h"
#include "runtime/default_model.h"
#include "tests/oracle/oracle_case.h"

namespace baleen::oracle {
namespace {

constexpr double kTolerance = 1e-4;  // As in parity_test.cc.

/// Largest difference over the largest golden |logit|, at the positions that count.
double DistanceOf(const std::vector<float>& all, const SampledLogits& golden) {
  const auto vocab = static_cast<size_t>(golden.vocab);
  double peak = 0;
  double worst = 0;
  for (size_t p = 0; p < golden.positions.size(); ++p) {
    const int64_t position = golden.positions[p];
    const bool aside = std::count(golden.set_aside.begin(), golden.set_aside.end(), position) > 0;
    for (size_t v = 0; v < vocab; ++v) {
      const double expected = golden.logits[p * vocab + v];
      const double got = all[static_cast<size_t>(position) * vocab + v];
      peak = std::max(peak, std::abs(expected));
      if (!aside) worst = std::max(worst, std::abs(got - expected));
    }
  }
  return worst / peak;
}

TEST_CASE("KrillIsTheModelWhereNoneIsNamed") {
  const Result<std::string> path = DefaultModelPath();
  INFO(path.status().ToString());
  REQUIRE(path.ok());
  REQUIRE(std::filesystem::path(*path).filename() == "krill");
}

TEST_CASE("KrillsLogitsEqualTransformers") {
  const Result<SampledLogits> golden = SampledLogits::Load(CasesFolder() + "/krill.safetensors");
  INFO(golden.status().ToString());
  REQUIRE(golden.ok());
  REQUIRE(golden->set_aside.size() * 2 < golden->positions.size());
  const Result<std::string> path = DefaultModelPath();
  REQUIRE(path.ok());
  ModelOptions options;
  options.mode = NumericMode::kPure;
  options.threads = 2;
  Result<std::unique_ptr<Model>> model = Model::Open(*path, options);
  INFO(model.status().ToString());
  REQUIRE(model.ok());
  REQUIRE((*model)->config().vocab == golden->vocab);
  KvCache cache = (*model)->NewCache();
  std::vector<float> logits;
  const Status status = (*model)->Forward(cache, golden->ids, LogitsWanted::kAll, &logits);
  INFO(status.ToString());
  REQUIRE(status.ok());
  const double distance = DistanceOf(logits, *golden);
  INFO("distance " << distance);
  CHECK(distance <= kTolerance);
}

}  // namespace
}  // namespace baleen::oracle
