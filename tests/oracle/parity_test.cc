// The engine in pure mode against Hugging Face transformers: logits at every position of every
// case, for every backend, however the text is cut into calls.
//
// Tolerance: 1e-4 of the largest |logit|. transformers' own fp32 logits are within 2e-6 of its
// float64 ones (PROVENANCE.md), and leaving out any one part moves some logit by more than 1e-2
// (sensitivity_test.cc): a hundred times more on either side.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "model/model.h"
#include "tests/oracle/oracle_case.h"

namespace baleen::oracle {
namespace {

constexpr double kTolerance = 1e-4;
constexpr float kGapMin = 1e-5F;  // As in make_goldens.py.

struct Chunking {
  std::string name;
  std::vector<int64_t> sizes;  ///< Sum: the tokens of the case.
};

Chunking EqualChunks(int64_t tokens, int64_t size) {
  Chunking chunking = {"chunks of " + std::to_string(size), {}};
  for (int64_t done = 0; done < tokens; done += size) {
    chunking.sizes.push_back(std::min(size, tokens - done));
  }
  return chunking;
}

Chunking RandomChunks(int64_t tokens, uint32_t seed) {
  Chunking chunking = {"random chunks, seed " + std::to_string(seed), {}};
  std::mt19937 random(seed);
  for (int64_t done = 0; done < tokens; done += chunking.sizes.back()) {
    chunking.sizes.push_back(std::min<int64_t>(1 + random() % 50, tokens - done));
  }
  return chunking;
}

std::vector<Chunking> Chunkings(int64_t tokens) {
  return {EqualChunks(tokens, tokens), EqualChunks(tokens, 1), EqualChunks(tokens, 7),
          EqualChunks(tokens, 64), RandomChunks(tokens, 20260731)};
}

OracleCase LoadCase(const std::string& name) {
  Result<OracleCase> loaded = OracleCase::Load(name);
  INFO(loaded.status().ToString());
  REQUIRE(loaded.ok());
  return std::move(loaded).value();
}

std::unique_ptr<Model> OpenPure(const OracleCase& expected, std::string_view backend) {
  ModelOptions options;
  options.mode = NumericMode::kPure;
  options.backend = std::string(backend);
  options.threads = 2;
  Result<std::unique_ptr<Model>> model = Model::Open(expected.folder, options);
  INFO(model.status().ToString());
  REQUIRE(model.ok());
  return std::move(model).value();
}

std::vector<float> LogitsOf(Model& model, const OracleCase& expected, const Chunking& chunking) {
  KvCache cache = model.NewCache();
  std::vector<float> all;
  size_t done = 0;
  for (int64_t size : chunking.sizes) {
    const auto count = static_cast<size_t>(size);
    std::vector<float> logits;
    const Status status = model.Forward(cache, std::span(expected.ids).subspan(done, count),
                                        LogitsWanted::kAll, &logits);
    INFO(status.ToString());
    REQUIRE(status.ok());
    all.insert(all.end(), logits.begin(), logits.end());
    done += count;
  }
  REQUIRE(all.size() == expected.logits.size());
  return all;
}

void CheckParity(const std::string& name) {
  const OracleCase expected = LoadCase(name);
  for (const std::string_view backend : kernels::BackendNames()) {
    const std::unique_ptr<Model> model = OpenPure(expected, backend);
    std::vector<float> first;
    for (const Chunking& chunking : Chunkings(expected.tokens())) {
      const std::vector<float> got = LogitsOf(*model, expected, chunking);
      const Distance distance = expected.DistanceOf(got);
      INFO(name << " on " << backend << ", " << chunking.name << ": " << distance.ToString());
      CHECK(distance.relative <= kTolerance);
      if (first.empty()) first = got;
      CHECK(got == first);  // The cut into calls doesn't change a bit.
    }
  }
}

TEST_CASE("LogitsEqualTransformersWithTheLayersOfFlash") { CheckParity("flash"); }
TEST_CASE("LogitsEqualTransformersWithTheLayersOfPro") { CheckParity("pro"); }
TEST_CASE("LogitsEqualTransformersAtOddSizes") { CheckParity("odd"); }
TEST_CASE("LogitsEqualTransformersFarBeyondTheOriginalLength") { CheckParity("long"); }
TEST_CASE("LogitsEqualTransformersWhereTheIndexerIsBypassed") { CheckParity("short"); }

TEST_CASE("EveryCommittedCaseIsTested") {
  const std::set<std::string> tested(std::begin(kCaseNames), std::end(kCaseNames));
  std::set<std::string> committed;
  for (const auto& entry : std::filesystem::directory_iterator(CasesFolder())) {
    if (entry.is_directory()) committed.insert(entry.path().filename().string());
  }
  CHECK(committed == tested);
}

TEST_CASE("PositionsAreSetAsideOnlyNearATie") {
  for (const std::string name : kCaseNames) {
    const OracleCase oracle_case = LoadCase(name);
    for (int64_t t = 0; t < oracle_case.tokens(); ++t) {
      const float gap = oracle_case.ClosestGap(t);
      INFO(name << ", position " << t << ": gap " << gap);
      const bool aside =
          std::count(oracle_case.set_aside.begin(), oracle_case.set_aside.end(), t) > 0;
      CHECK(aside == (gap < kGapMin));
      if (aside) WARN("set aside: " << name << ", position " << t << ", gap " << gap);
    }
    CHECK(oracle_case.set_aside.size() * 100 <= oracle_case.ids.size());
  }
}

TEST_CASE("NothingIsSetAsideWhereTheIndexerIsBypassed") {
  const OracleCase oracle_case = LoadCase("short");
  const std::unique_ptr<Model> model = OpenPure(oracle_case, "ref");
  REQUIRE(oracle_case.tokens() <= kCsaRatio * model->config().index_topk);
  CHECK(oracle_case.set_aside.empty());
  for (float gap : oracle_case.index_gap) CHECK(std::isinf(gap));
}

// Prints what the tests above only bound. Hidden: run with the test's name or [.figures].
TEST_CASE("Figures", "[.figures]") {
  for (const std::string name : kCaseNames) {
    const OracleCase expected = LoadCase(name);
    for (const std::string_view backend : kernels::BackendNames()) {
      const std::unique_ptr<Model> model = OpenPure(expected, backend);
      for (const Chunking& chunking : Chunkings(expected.tokens())) {
        const Distance distance = expected.DistanceOf(LogitsOf(*model, expected, chunking));
        std::cout << name << "  " << backend << "  " << chunking.name << ": " << distance.ToString()
                  << "\n";
      }
    }
  }
}

}  // namespace
}  // namespace baleen::oracle
