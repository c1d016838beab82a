#include "model/sampler.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <set>
#include <vector>

namespace baleen {
namespace {

constexpr float kMasked = -std::numeric_limits<float>::infinity();

/// How often each token is drawn over `draws` positions.
std::vector<int> Histogram(const std::vector<float>& logits, const SamplingOptions& options,
                           int draws) {
  std::vector<int> counts(logits.size());
  for (int position = 0; position < draws; ++position) {
    ++counts[static_cast<size_t>(SampleToken(logits, options, position))];
  }
  return counts;
}

/// Tokens that are drawn at all.
std::set<size_t> Support(const std::vector<float>& logits, const SamplingOptions& options) {
  const std::vector<int> counts = Histogram(logits, options, 20000);
  std::set<size_t> support;
  for (size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] > 0) support.insert(i);
  }
  return support;
}

TEST_CASE("ZeroTemperatureTakesTheBestAndTheLowerIdOfATie") {
  const SamplingOptions greedy = {.temperature = 0};
  CHECK(SampleToken(std::vector<float>{1, 3, 2}, greedy, 5) == 1);
  CHECK(SampleToken(std::vector<float>{1, 3, 3}, greedy, 5) == 1);
  CHECK(SampleToken(std::vector<float>{kMasked, -5, NAN}, greedy, 5) == 1);
}

TEST_CASE("FrequenciesFollowTheSoftmax") {
  const std::vector<float> logits = {0, 1, 2, -1};
  const int draws = 40000;
  for (float temperature : {0.5F, 1.0F, 2.0F}) {
    const std::vector<int> counts =
        Histogram(logits, {.temperature = temperature, .seed = 11}, draws);
    double total = 0;
    for (float logit : logits) total += std::exp(logit / temperature);
    for (size_t i = 0; i < logits.size(); ++i) {
      const double p = std::exp(logits[i] / temperature) / total;
      // Five standard deviations of a binomial count.
      const double bound = 5 * std::sqrt(draws * p * (1 - p));
      INFO("temperature " << temperature << " token " << i);
      CHECK(std::abs(counts[i] - draws * p) < bound);
    }
  }
}

TEST_CASE("TheDrawDependsOnSeedAndPositionOnly") {
  const std::vector<float> logits(50, 0.0F);
  const SamplingOptions options = {.seed = 3};
  std::vector<int32_t> forward;
  for (int64_t p = 0; p < 100; ++p) forward.push_back(SampleToken(logits, options, p));
  for (int64_t p = 99; p >= 0; --p) {
    CHECK(SampleToken(logits, options, p) == forward[static_cast<size_t>(p)]);
  }
  int same_other_seed = 0;
  int same_shifted = 0;
  for (int64_t p = 0; p < 100; ++p) {
    same_other_seed += SampleToken(logits, {.seed = 4}, p) == forward[static_cast<size_t>(p)];
    same_shifted += SampleToken(logits, {.seed = 4}, p + 1) == forward[static_cast<size_t>(p)];
  }
  // 100 draws of 1/50: a mean of 2; 15 has a chance below 1e-8.
  CHECK(same_other_seed < 15);
  CHECK(same_shifted < 15);
}

TEST_CASE("FiltersKeepWhatTheyPromise") {
  // Weights 8:4:2:1:1 in scrambled order.
  const float ln2 = std::log(2.0F);
  const std::vector<float> logits = {0, 3 * ln2, ln2, 2 * ln2, 0};
  CHECK(Support(logits, {}) == std::set<size_t>{0, 1, 2, 3, 4});
  CHECK(Support(logits, {.top_k = 2}) == std::set<size_t>{1, 3});
  CHECK(Support(logits, {.top_k = 4}) == std::set<size_t>{0, 1, 2, 3});
  CHECK(Support(logits, {.top_k = 100}) == std::set<size_t>{0, 1, 2, 3, 4});
  CHECK(Support(logits, {.top_p = 0.01F}) == std::set<size_t>{1});
  CHECK(Support(logits, {.top_p = 0.7F}) == std::set<size_t>{1, 3});
  CHECK(Support(logits, {.top_p = 0.8F}) == std::set<size_t>{1, 2, 3});
  CHECK(Support(logits, {.min_p = 0.3F}) == std::set<size_t>{1, 3});
  CHECK(Support(logits, {.min_p = 1.0F}) == std::set<size_t>{1});
  // 8 of 8+4 is two thirds: top_p counts within the top_k.
  CHECK(Support(logits, {.top_p = 0.6F, .top_k = 2}) == std::set<size_t>{1});
}

TEST_CASE("MaskedTokensAreNeverDrawn") {
  const std::vector<float> logits = {kMasked, 0, NAN, 0, kMasked};
  CHECK(Support(logits, {}) == std::set<size_t>{1, 3});
  CHECK(Support(logits, {.top_p = 0.99F, .top_k = 4}) == std::set<size_t>{1, 3});
  CHECK(SampleToken(std::vector<float>(3, kMasked), {}, 0) == 0);
}

TEST_CASE("ValidateNamesTheField") {
  CHECK(SamplingOptions{}.Validate().ok());
  const auto refused = [](const SamplingOptions& options, const char* field) {
    const Status status = options.Validate();
    return status.code() == StatusCode::kInvalidArgument &&
           status.message().find(field) != std::string::npos;
  };
  CHECK(refused({.temperature = -1}, "temperature"));
  CHECK(refused({.temperature = NAN}, "temperature"));
  CHECK(refused({.top_p = 0}, "top_p"));
  CHECK(refused({.top_p = 1.5F}, "top_p"));
  CHECK(refused({.min_p = -0.1F}, "min_p"));
  CHECK(refused({.top_k = -1}, "top_k"));
}

}  // namespace
}  // namespace baleen
