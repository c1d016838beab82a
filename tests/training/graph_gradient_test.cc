// Gradients of the whole graph against finite differences, in double, choices frozen.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <limits>
#include <random>

#include "tests/training/double_model.h"

namespace baleen::training {
namespace {

/// Fourth-order central difference of f at 0.
double Slope(const std::function<double(double)>& f, double h) {
  return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h);
}

struct Mismatch {
  double worst = 0;  ///< |finite difference - gradient| / |gradient| over a tensor's directions.
  std::string name;
};

/// Every tensor along random directions; the objective that a tensor learns from is its own.
Mismatch CheckTensors(DoubleModel& model, const ParameterSet& set, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  Mismatch mismatch;
  for (size_t p = 0; p < set.all().size(); ++p) {
    const Parameter& parameter = set.all()[p];
    if (parameter.rule == UpdateRule::kRoutingBias) continue;
    const bool indexer = IsIndexerParameter(parameter.name);
    std::vector<double>& values = model.values[p];
    const std::vector<double> start = values;
    std::vector<double> direction(values.size());
    double norm = 0;
    for (double& d : direction) {
      d = normal(random);
      norm += d * d;
    }
    double expected = 0;
    double size = 0;
    for (size_t i = 0; i < direction.size(); ++i) {
      direction[i] /= std::sqrt(norm);
      expected += direction[i] * model.gradients[p][i];
      size += model.gradients[p][i] * model.gradients[p][i];
    }
    CHECK(size > 0);
    const double typical = std::sqrt(size / static_cast<double>(direction.size()));
    // Clamps and relus have kinks: one within a step of one size is rarely within the other's.
    double error = std::numeric_limits<double>::infinity();
    for (const double h : {1e-5, 2e-6}) {
      const double slope = Slope(
          [&](double step) {
            for (size_t i = 0; i < values.size(); ++i) values[i] = start[i] + step * direction[i];
            const Objective objective = model.Run(/*training=*/false);
            return indexer ? objective.index : objective.main;
          },
          h);
      // Rounding of an objective near 4 leaves this much in a slope.
      const double noise = 2e-15 / h;
      error =
          std::min(error, (std::abs(slope - expected) - noise) / (std::abs(expected) + typical));
      UNSCOPED_INFO(parameter.name << ": step " << h << ", finite difference " << slope
                                   << ", gradient " << expected);
      if (error <= 1e-6) break;
    }
    values = start;
    CHECK(error <= 1e-6);
    if (error > mismatch.worst) mismatch = {error, parameter.name};
  }
  return mismatch;
}

void CheckGraph(const ModelConfig& config, const GraphOptions& options, uint64_t seed) {
  CAPTURE(seed);
  const ParameterSet set = RandomSet(config, seed);
  // Two complete HCA windows, unfinished windows of both kinds, and a document of one token.
  const TrainBatch batch = PackedBatch({{131, 1, 17}, {6}}, 160, config.vocab, seed);
  DoubleModel model(set, batch, options, {.target = 1.0 / 120, .token = 1.0 / 155});
  model.set_choice_use(ChoiceUse::kKeep);
  model.Run(/*training=*/true);
  model.set_choice_use(ChoiceUse::kRepeat);
  if (options.quantise) {
    model.NudgeRoundings(0.01);
    model.ClearGradients();
    model.Run(/*training=*/true);
  }
  const Mismatch mismatch = CheckTensors(model, set, seed + 1);
  INFO("worst tensor: " << mismatch.name << " " << mismatch.worst);
  CHECK(mismatch.worst <= 1e-6);
}

TEST_CASE("WholeGraphMatchesFiniteDifferencesWithoutIndexer") {
  ModelConfig config = CheckConfig();
  GraphOptions options;
  options.mtp_weight = 0.3F;
  options.balance_weight = 0.01F;
  options.window = 7;
  // The indexer's tensors get nothing here, so it is left out of the check.
  config.layer_kinds = {LayerKind::kHca, LayerKind::kWindow, LayerKind::kHca, LayerKind::kWindow};
  CheckGraph(config, options, 14);
}

TEST_CASE("WholeGraphMatchesFiniteDifferencesWithSparseIndexer") {
  GraphOptions options;
  options.mtp_weight = 0.3F;
  options.balance_weight = 0.01F;
  options.indexer = IndexerStage::kSparse;
  options.index_kl_weight = 0.5F;
  CheckGraph(CheckConfig(), options, 12);
}

TEST_CASE("WholeGraphMatchesFiniteDifferencesWhileTheIndexerWarmsUp") {
  GraphOptions options;
  options.mtp_weight = 0.3F;
  options.indexer = IndexerStage::kWarmUp;
  options.index_kl_weight = 1.0F;
  CheckGraph(CheckConfig(), options, 13);
}

// A round trip has slope zero almost everywhere; straight through, it counts as adding what the
// rounding added. With those additions held, finite differences see exactly that rule.
TEST_CASE("RoundTripsAreStraightThrough") {
  GraphOptions options;
  options.quantise = true;
  options.mtp_weight = 0.3F;
  options.indexer = IndexerStage::kSparse;
  options.index_kl_weight = 0.5F;
  CheckGraph(CheckConfig(), options, 16);
}

TEST_CASE("RoundTripsMoveTheGradientAndNotByAccident") {
  const ModelConfig config = CheckConfig();
  const ParameterSet set = RandomSet(config, 15);
  const TrainBatch batch = PackedBatch({{60}}, 60, config.vocab, 15);
  GraphOptions options;
  options.indexer = IndexerStage::kSparse;
  options.index_kl_weight = 0.5F;
  const auto gradient = [&](bool quantise, const char* name) {
    options.quantise = quantise;
    DoubleModel model(set, batch, options, {});
    model.Run(/*training=*/true);
    return model.gradients[static_cast<size_t>(set.IndexOf(name))];
  };
  for (const char* name :
       {"layers.0.attn.wkv.weight", "layers.0.attn.compressor.wkv.weight",
        "layers.0.attn.indexer.wq_b.weight", "layers.0.attn.indexer.compressor.wkv.weight"}) {
    INFO(name);
    const std::vector<double> rounded = gradient(true, name);
    const std::vector<double> exact = gradient(false, name);
    double difference = 0;
    double size = 0;
    for (size_t i = 0; i < exact.size(); ++i) {
      difference += std::pow(rounded[i] - exact[i], 2);
      size += std::pow(exact[i], 2);
    }
    CHECK(difference > 1e-8 * size);  // Taken at the rounded values,
    CHECK(difference < 0.5 * size);   // and near the exact one: not the zero of a staircase.
  }
}

}  // namespace
}  // namespace baleen::training
