// The training graph computes what the engine computes, and documents of a row don't touch.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>

#include "model/checkpoint/tensor_table.h"
#include "tests/model/tiny_model.h"
#include "tests/training/double_model.h"

namespace baleen::training {
namespace {

using baleen::testing::MixedConfig;
using baleen::testing::OddConfig;

std::unique_ptr<Graph> MakeGraph(const ModelConfig& config,
                                 Arithmetic arithmetic = Arithmetic::kFloat32) {
  Result<std::unique_ptr<Graph>> graph = Graph::Make(config, arithmetic);
  if (!graph.ok()) FAIL(graph.status().ToString());
  return std::move(graph).value();
}

Evaluation Evaluate(Graph& graph, const ParameterSet& set, const TrainBatch& batch,
                    const GraphOptions& options) {
  Evaluation evaluation;
  const Status status = graph.Evaluate(set, batch, options, /*want_logits=*/true, &evaluation);
  if (!status.ok()) FAIL(status.ToString());
  return evaluation;
}

/// Largest difference between the engine's logits of each document and the graph's, over the
/// largest logit.
double Distance(const ModelConfig& config, NumericMode mode, const TrainBatch& batch,
                const Evaluation& evaluation, uint64_t seed) {
  ModelOptions options;
  options.mode = mode;
  const std::unique_ptr<Model> model = baleen::testing::MakeModel(config, options, seed);
  double worst = 0;
  double largest = 0;
  for (size_t begin = 0; begin < batch.tokens.size();) {
    if (batch.document[begin] < 0) {
      ++begin;
      continue;
    }
    size_t end = begin + 1;
    while (end < batch.tokens.size() && batch.document[end] >= 0 && batch.position[end] > 0) ++end;
    KvCache cache = model->NewCache();
    const std::vector<int32_t> tokens(batch.tokens.begin() + static_cast<std::ptrdiff_t>(begin),
                                      batch.tokens.begin() + static_cast<std::ptrdiff_t>(end));
    const std::vector<float> logits = baleen::testing::Run(*model, cache, tokens);
    const float* ours = evaluation.logits.data() + begin * static_cast<size_t>(config.vocab);
    for (size_t i = 0; i < logits.size(); ++i) {
      worst = std::max(worst, std::abs(static_cast<double>(logits[i]) - ours[i]));
      largest = std::max(largest, std::abs(static_cast<double>(logits[i])));
    }
    begin = end;
  }
  return worst / largest;
}

TEST_CASE("ForwardPassEqualsTheEnginesPureMode") {
  for (const ModelConfig& config : {MixedConfig(), OddConfig()}) {
    const ParameterSet set = RandomSet(config, 1);
    const TrainBatch batch = PackedBatch({{150, 1, 40}, {3, 260}}, 300, config.vocab, 5);
    GraphOptions options;
    options.indexer = IndexerStage::kSparse;
    const std::unique_ptr<Graph> graph = MakeGraph(config);
    const Evaluation evaluation = Evaluate(*graph, set, batch, options);
    CHECK(Distance(config, NumericMode::kPure, batch, evaluation, 1) < 1e-5);
  }
}

TEST_CASE("WithQuantisationItFollowsTheEnginesNativeMode") {
  const ModelConfig config = MixedConfig();
  const ParameterSet set = RandomSet(config, 1);
  // Nothing is selected below topk entries, so single roundings are all that can differ.
  const TrainBatch batch = PackedBatch({{31, 20}}, 60, config.vocab, 5);
  GraphOptions options;
  options.indexer = IndexerStage::kSparse;
  const std::unique_ptr<Graph> graph = MakeGraph(config);
  const Evaluation pure = Evaluate(*graph, set, batch, options);
  options.quantise = true;
  const Evaluation rounded = Evaluate(*graph, set, batch, options);
  const double to_pure = Distance(config, NumericMode::kNative, batch, pure, 1);
  const double to_rounded = Distance(config, NumericMode::kNative, batch, rounded, 1);
  INFO("distance with round trips " << to_rounded << ", without " << to_pure);
  CHECK(to_rounded < 0.1 * to_pure);
}

TEST_CASE("EachDocumentIsComputedAsIfItStoodAlone") {
  ModelConfig config = MixedConfig();
  config.mtp_layers = 1;
  const ParameterSet set = RandomSet(config, 3);
  GraphOptions options;
  options.indexer = IndexerStage::kSparse;
  options.index_kl_weight = 1;
  options.mtp_weight = 0.3F;
  options.balance_weight = 0.01F;
  const std::vector<int64_t> lengths = {70, 5, 140};
  const TrainBatch packed = PackedBatch({lengths}, 230, config.vocab, 9);
  const LossScale scale = {.target = 0.01, .token = 0.01};
  const std::unique_ptr<Graph> graph = MakeGraph(config);
  Gradients together(set);
  LossReport report;
  REQUIRE(graph->ForwardBackward(set, packed, options, scale, &together, &report).ok());

  Gradients apart(set);
  LossReport sum;
  size_t begin = 0;
  for (const int64_t length : lengths) {
    TrainBatch one;
    one.rows = 1;
    one.length = length;
    const auto slice = [&](const auto& all) {
      const auto first = all.begin() + static_cast<std::ptrdiff_t>(begin);
      return std::decay_t<decltype(all)>(first, first + length);
    };
    one.tokens = slice(packed.tokens);
    one.targets = slice(packed.targets);
    one.weights = slice(packed.weights);
    one.position = slice(packed.position);
    one.document.assign(static_cast<size_t>(length), 0);
    REQUIRE(graph->ForwardBackward(set, one, options, scale, &apart, &sum).ok());
    begin += static_cast<size_t>(length);
  }
  CHECK(report.loss == Approx(sum.loss).epsilon(1e-5));
  CHECK(report.mtp_loss == Approx(sum.mtp_loss).epsilon(1e-5));
  CHECK(report.balance_loss == Approx(sum.balance_loss).epsilon(1e-5));
  CHECK(report.index_kl == Approx(sum.index_kl).epsilon(1e-4));
  CHECK(report.expert_load == sum.expert_load);
  CHECK(report.correct == sum.correct);
  CHECK(report.tokens == 215);
  for (size_t p = 0; p < set.all().size(); ++p) {
    double difference = 0;
    double size = 0;
    for (size_t i = 0; i < together[p].size(); ++i) {
      difference += std::pow(static_cast<double>(together[p][i]) - apart[p][i], 2);
      size += std::pow(static_cast<double>(apart[p][i]), 2);
    }
    INFO(set.all()[p].name);
    CHECK(std::sqrt(difference) <= 1e-4 * std::sqrt(size) + 1e-9);
  }
}

TEST_CASE("Bfloat16ProductsGiveNearlyTheSameGradient") {
  const ModelConfig config = MixedConfig();
  const ParameterSet set = RandomSet(config, 3);
  const TrainBatch batch = PackedBatch({{140, 30}}, 180, config.vocab, 4);
  std::vector<Gradients> gradients;
  for (const Arithmetic arithmetic : {Arithmetic::kFloat32, Arithmetic::kBfloat16}) {
    Gradients g(set);
    LossReport report;
    const LossScale scale = {.target = 0.01, .token = 0.01};
    REQUIRE(
        MakeGraph(config, arithmetic)->ForwardBackward(set, batch, {}, scale, &g, &report).ok());
    gradients.push_back(std::move(g));
  }
  double dot = 0;
  double exact = 0;
  double rounded = 0;
  for (size_t i = 0; i < gradients[0].flat().size(); ++i) {
    const double a = gradients[0].flat()[i];
    const double b = gradients[1].flat()[i];
    dot += a * b;
    exact += a * a;
    rounded += b * b;
  }
  CHECK(dot / std::sqrt(exact * rounded) > 0.98);  // The cosine; random weights magnify rounding.
}

TEST_CASE("SameBatchSameBits") {
  ModelConfig config = MixedConfig();
  config.mtp_layers = 1;
  const ParameterSet set = RandomSet(config, 3);
  GraphOptions options;
  options.indexer = IndexerStage::kSparse;
  options.index_kl_weight = 1;
  options.mtp_weight = 0.3F;
  const TrainBatch batch = PackedBatch({{140, 30}, {90}}, 180, config.vocab, 4);
  std::vector<std::vector<float>> runs;
  for (int run = 0; run < 2; ++run) {
    const std::unique_ptr<Graph> graph = MakeGraph(config);
    // The second graph has stale memory from another batch.
    Gradients gradients(set);
    LossReport report;
    if (run == 1) {
      const TrainBatch other = PackedBatch({{200}}, 200, config.vocab, 8);
      REQUIRE(graph->ForwardBackward(set, other, options, {}, &gradients, &report).ok());
      gradients.Clear();
    }
    REQUIRE(graph->ForwardBackward(set, batch, options, {}, &gradients, &report).ok());
    runs.emplace_back(gradients.flat().begin(), gradients.flat().end());
  }
  CHECK(std::memcmp(runs[0].data(), runs[1].data(), runs[0].size() * sizeof(float)) == 0);
}

TEST_CASE("ANarrowWindowIsAnotherModelsWindow") {
  ModelConfig config = MixedConfig();
  const ParameterSet set = RandomSet(config, 2);
  GraphOptions options;
  options.indexer = IndexerStage::kSparse;
  options.window = 5;
  const TrainBatch batch = PackedBatch({{150}}, 150, config.vocab, 6);
  const std::unique_ptr<Graph> graph = MakeGraph(config);
  const Evaluation evaluation = Evaluate(*graph, set, batch, options);
  config.window = 5;
  CHECK(Distance(config, NumericMode::kPure, batch, evaluation, 2) < 1e-5);
}

TEST_CASE("PlannedMemoryIsWhatAPassTakes") {
  ModelConfig config = MixedConfig();
  config.mtp_layers = 1;
  const ParameterSet set = RandomSet(config, 3);
  const TrainBatch batch = PackedBatch({{512, 512}, {1024}}, 1024, config.vocab, 4);
  Result<Documents> documents = Documents::From(batch, config);
  REQUIRE(documents.ok());
  Gradients gradients(set);
  LossReport report;
  PassInput<float> input;
  input.documents = &*documents;
  input.set = &set;
  input.report = &report;
  input.options.window = config.window;
  input.options.mtp_weight = 0.3F;
  for (size_t p = 0; p < set.all().size(); ++p) {
    input.values.push_back(set.all()[p].value.data());
    input.gradients.push_back(gradients[p].data());
  }
  Pass<float> pass(config, *PortableOps());
  pass.Run(input);
  const double planned = static_cast<double>(ActivationBytes(config, 2048));
  const double taken = static_cast<double>(pass.memory_bytes());
  INFO("planned " << planned << ", taken " << taken);
  CHECK(taken < 1.25 * planned + (32 << 20));  // Memory comes in blocks of 16 MiB.
  CHECK(taken > 0.8 * planned);
  CHECK(TrainingFlopsPerToken(config, 512) >
        6.0 * static_cast<double>(ActiveParameterCount(config)));
}

TEST_CASE("BatchesThatCannotBeAreRefusedByFieldAndPlace") {
  const ModelConfig config = MixedConfig();
  const ParameterSet set = RandomSet(config, 2);
  const std::unique_ptr<Graph> graph = MakeGraph(config);
  const auto refusal = [&](auto change, GraphOptions options = {}) {
    TrainBatch batch = PackedBatch({{5, 4}, {8}}, 10, config.vocab, 6);
    change(batch);
    Gradients gradients(set);
    LossReport report;
    const Status status = graph->ForwardBackward(set, batch, options, {}, &gradients, &report);
    CHECK(status.code() == StatusCode::kInvalidArgument);
    CHECK(std::all_of(gradients.flat().begin(), gradients.flat().end(),
                      [](float g) { return g == 0; }));
    return status.message();
  };
  using Catch::Matchers::Contains;
  const auto nothing = [](TrainBatch&) {};
  CHECK_THAT(refusal([&](TrainBatch& b) { b.tokens[13] = 96; }),
             Contains("token of row 1, place 3") && Contains("0 to 95") && Contains("got 96"));
  CHECK_THAT(refusal([](TrainBatch& b) { b.tokens[0] = -1; }), Contains("token of row 0, place 0"));
  CHECK_THAT(refusal([](TrainBatch& b) { b.targets[2] = 96; }), Contains("target of row 0"));
  CHECK_THAT(refusal([](TrainBatch& b) { b.targets[2] = -2; }), Contains("target of row 0"));
  CHECK_THAT(refusal([](TrainBatch& b) { b.weights[1] = -1; }), Contains("weight of row 0"));
  CHECK_THAT(refusal([](TrainBatch& b) { b.weights[1] = NAN; }), Contains("weight of row 0"));
  CHECK_THAT(refusal([](TrainBatch& b) { b.position[4] = 3; }), Contains("position of row 0"));
  CHECK_THAT(refusal([](TrainBatch& b) { b.document[5] = 2; }), Contains("document of row 0"));
  CHECK_THAT(refusal([](TrainBatch& b) { b.document[9] = 0; }), Contains("document of row 0"));
  CHECK_THAT(refusal([](TrainBatch& b) { b.document[1] = -1; }), Contains("after padding"));
  CHECK_THAT(refusal([](TrainBatch& b) { b.weights.pop_back(); }),
             Contains("weights: expected 20"));
  CHECK_THAT(refusal([](TrainBatch& b) { b.rows = int64_t{1} << 40; }), Contains("tokens"));
  CHECK_THAT(refusal([](TrainBatch& b) { std::fill(b.document.begin(), b.document.end(), -1); }),
             Contains("padding only"));
  CHECK_THAT(refusal(nothing, {.window = 17}), Contains("window: expected 1 to 16"));
  CHECK_THAT(refusal(nothing, {.mtp_weight = -1}), Contains("mtp_weight"));
}

}  // namespace
}  // namespace baleen::training
