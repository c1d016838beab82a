// Would the parity test notice? Each part of the model is left out in turn; some golden logit must
// then be off by at least 1e-2 of the largest |logit|, a hundred times what parity_test.cc allows.
//
// Checked in every case that has the part, so that no case is blind to what it seems to cover.
#include <catch2/catch.hpp>
#include <iomanip>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "model/checkpoint/checkpoint.h"
#include "model/forward.h"
#include "model/weights.h"
#include "tests/oracle/left_out.h"
#include "tests/oracle/oracle_case.h"

namespace baleen::oracle {
namespace {

constexpr double kVisible = 1e-2;
constexpr double kTolerance = 1e-4;  // As in parity_test.cc.

struct OpenCase {
  OracleCase expected;
  std::unique_ptr<Checkpoint> checkpoint;
};

OpenCase Open(const std::string& name) {
  Result<OracleCase> expected = OracleCase::Load(name);
  INFO(expected.status().ToString());
  REQUIRE(expected.ok());
  Result<std::unique_ptr<Checkpoint>> checkpoint =
      Checkpoint::Open(expected->folder, {.access = WeightAccess::kRead});
  INFO(checkpoint.status().ToString());
  REQUIRE(checkpoint.ok());
  return {std::move(expected).value(), std::move(checkpoint).value()};
}

// How far the goldens are from a model without `part`.
Distance DistanceWithout(const Part& part, const OpenCase& open) {
  const EditedWeights source(*open.checkpoint, part);
  const ModelConfig& config = source.config();
  const std::unique_ptr<kernels::Backend> backend = MakeFaultyBackend(part.fault);
  const Result<ModelWeights> weights = LoadWeights(source, *backend, nullptr);
  INFO(part.name << ": " << weights.status().ToString());
  REQUIRE(weights.ok());
  ForwardPass pass(config, *weights, *backend, kernels::RowFormat::kFloat);
  KvCacheState cache(config, kernels::RowFormat::kFloat);
  std::vector<float> logits;
  const Status status = pass.Run(cache, open.expected.ids, LogitsWanted::kAll, &logits);
  INFO(part.name << ": " << status.ToString());
  REQUIRE(status.ok());
  return open.expected.DistanceOf(logits);
}

void CheckEveryPartMatters(const std::string& name) {
  const OpenCase open = Open(name);
  const Part nothing = {"nothing", nullptr, nullptr, nullptr};
  CHECK(DistanceWithout(nothing, open).relative <= kTolerance);
  for (const Part& part : Parts()) {
    const Distance distance = DistanceWithout(part, open);
    INFO(name << " without " << part.name << ": " << distance.ToString());
    if (part.present(open.checkpoint->config(), open.expected.tokens())) {
      CHECK(distance.relative >= kVisible);
    } else {
      CHECK(distance.relative <= kTolerance);  // What isn't there can't be missed.
    }
  }
}

TEST_CASE("EveryPartMattersWithTheLayersOfFlash") { CheckEveryPartMatters("flash"); }
TEST_CASE("EveryPartMattersWithTheLayersOfPro") { CheckEveryPartMatters("pro"); }
TEST_CASE("EveryPartMattersAtOddSizes") { CheckEveryPartMatters("odd"); }
TEST_CASE("EveryPartMattersFarBeyondTheOriginalLength") { CheckEveryPartMatters("long"); }
TEST_CASE("EveryPartMattersWhereTheIndexerIsBypassed") { CheckEveryPartMatters("short"); }

// Prints the table. Hidden: run with the test's name or [.figures].
TEST_CASE("SensitivityFigures", "[.figures]") {
  for (const std::string name : kCaseNames) {
    const OpenCase open = Open(name);
    for (const Part& part : Parts()) {
      const bool present = part.present(open.checkpoint->config(), open.expected.tokens());
      std::cout << std::setw(6) << name << "  " << std::setw(30) << std::left << part.name
                << std::right << std::setprecision(2) << DistanceWithout(part, open).relative
                << (present ? "" : "  (not in this case)") << "\n";
    }
  }
}

}  // namespace
}  // namespace baleen::oracle
