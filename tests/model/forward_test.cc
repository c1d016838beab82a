#include "model/forward.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <numeric>

#include "model/rope_table.h"
#include "tests/model/recording_backend.h"
#include "tests/model/tiny_model.h"

namespace baleen {
namespace {

using kernels::RopeDirection;
using kernels::RowFormat;
using testing::LogitBits;
using testing::MakeModel;
using testing::MixedConfig;
using testing::OddConfig;
using testing::OneLayerConfig;
using testing::RandomTokens;
using testing::RecordingBackend;
using testing::Run;
using testing::Slice;

/// A forward pass whose backend calls can be looked at.
class Recorded {
 public:
  explicit Recorded(const ModelConfig& config, RowFormat format = RowFormat::kFloat)
      : source_(config, 1, RandomStorage::kFloat32),
        weights_(Load()),
        pass_(source_.config(), weights_, backend_, format),
        cache_(config, format) {}

  std::vector<float> Feed(std::span<const int32_t> tokens) {
    std::vector<float> logits;
    const Status status = pass_.Run(cache_.state(), tokens, LogitsWanted::kAll, &logits);
    if (!status.ok()) FAIL(status.ToString());
    return logits;
  }
  RecordingBackend& backend() { return backend_; }
  const ModelWeights& weights() const { return weights_; }

 private:
  ModelWeights Load() {
    Result<ModelWeights> weights = LoadWeights(source_, backend_, {});
    if (!weights.ok()) FAIL(weights.status().ToString());
    return std::move(weights).value();
  }

  RandomWeights source_;
  RecordingBackend backend_;
  ModelWeights weights_;
  ForwardPass pass_;
  KvCache cache_;
};

TEST_CASE("AnEntryIsVisibleFromItsWindowsLastTokenOn") {
  for (const LayerKind kind : {LayerKind::kCsa, LayerKind::kHca}) {
    const int64_t ratio = kind == LayerKind::kCsa ? 4 : 128;
    ModelConfig config = OneLayerConfig(kind);
    config.index_topk = 1000;
    const std::vector<int32_t> tokens = RandomTokens(config, 260);
    for (int64_t chunk : {1, 100, 260}) {
      Recorded run(config);
      for (int64_t t = 0; t < 260; t += chunk)
        run.Feed(Slice(tokens, t, std::min<int64_t>(260, t + chunk)));
      int64_t t = 0;
      for (const RecordingBackend::AttentionCall& call : run.backend().attention) {
        for (size_t i = 0; i < call.window_end.size(); ++i, ++t) {
          INFO("ratio " << ratio << " chunk " << chunk << " token " << t);
          const int64_t visible = call.visible.empty() ? 0 : call.visible[i];
          REQUIRE(visible == (t + 1) / ratio);
          REQUIRE(call.window_end[i] - call.window_begin[i] == std::min<int64_t>(t + 1, 16));
        }
      }
      REQUIRE(t == 260);
    }
  }
}

TEST_CASE("TheFirstEntryChangesTheQueryThatCompletesIt") {
  // Against a layer that only has its window: equal up to the token before, different from it on.
  for (const auto& [kind, first] :
       {std::pair(LayerKind::kCsa, 3), std::pair(LayerKind::kHca, 127)}) {
    ModelConfig config = OneLayerConfig(kind);
    ModelConfig window_only = OneLayerConfig(LayerKind::kWindow);
    window_only.rope_theta = config.compress_rope_theta;
    config.yarn_factor = 1;
    const std::vector<int32_t> tokens = RandomTokens(config, first + 1);
    auto with = MakeModel(config, NumericMode::kPure);
    auto without = MakeModel(window_only, NumericMode::kPure);
    KvCache a = with->NewCache();
    KvCache b = without->NewCache();
    const std::vector<float> x = Run(*with, a, tokens);
    const std::vector<float> y = Run(*without, b, tokens);
    CHECK((LogitBits(*with, x, 0, first) == LogitBits(*without, y, 0, first)));
    CHECK((LogitBits(*with, x, first, 1) != LogitBits(*without, y, first, 1)));
  }
}

TEST_CASE("TheIndexerChangesNothingWhileEverythingFits") {
  // topk 8: entries 0..7 exist at token 31, a ninth at token 35.
  const ModelConfig small = OneLayerConfig(LayerKind::kCsa);
  ModelConfig large = small;
  large.index_topk = 1000;
  const std::vector<int32_t> tokens = RandomTokens(small, 200);
  for (const NumericMode mode : {NumericMode::kNative, NumericMode::kPure}) {
    auto few = MakeModel(small, mode);
    auto all = MakeModel(large, mode);
    KvCache few_cache = few->NewCache();
    KvCache all_cache = all->NewCache();
    // One call: the small model scores its early tokens too, and must select everything for them.
    const std::vector<float> x = Run(*few, few_cache, tokens);
    const std::vector<float> y = Run(*all, all_cache, tokens);
    CHECK((LogitBits(*few, x, 0, 35) == LogitBits(*all, y, 0, 35)));
    CHECK((LogitBits(*few, x, 35, 165) != LogitBits(*all, y, 35, 165)));
    // What is cached doesn't depend on what is selected, in a single layer.
    CHECK((few_cache.SaveCheckpoint() == all_cache.SaveCheckpoint()));
  }
}

TEST_CASE("TheIndexerIsAskedOnlyWhenItCanChoose") {
  const ModelConfig config = OneLayerConfig(LayerKind::kCsa);
  const std::vector<int32_t> tokens = RandomTokens(config, 60);
  Recorded run(config, RowFormat::kPacked);
  for (int64_t t = 0; t < 60; ++t) {
    run.Feed(Slice(tokens, t, t + 1));
    REQUIRE(run.backend().index_calls == std::max<int64_t>(0, t - 34));
    const RecordingBackend::AttentionCall& call = run.backend().attention.back();
    if (t < 35) {
      REQUIRE(call.selected.empty());
      continue;
    }
    REQUIRE(call.selected[0].size() == 8);
    REQUIRE(std::is_sorted(call.selected[0].begin(), call.selected[0].end()));
    REQUIRE(call.selected[0].back() < (t + 1) / 4);
  }
}

TEST_CASE("InverseRotationGivesBackAnOnlyKeysOwnValue") {
  // A window of one: the single key is the token itself, whatever its position.
  ModelConfig config = OneLayerConfig(LayerKind::kWindow);
  config.window = 1;
  const std::vector<int32_t> tokens = RandomTokens(config, 40);
  Recorded run(config);
  run.Feed(tokens);
  const auto& calls = run.backend().rope;
  REQUIRE(calls.size() == 3);  // queries, window rows, output
  const RecordingBackend::RopeCall& rows = calls[1];
  const RecordingBackend::RopeCall& output = calls[2];
  REQUIRE(rows.heads == 1);
  REQUIRE(output.direction == RopeDirection::kInverse);
  const RecordingBackend::AttentionCall& attention = run.backend().attention[0];
  const std::vector<float>& sink = run.weights().layers[0].attn.sink;
  const int64_t dim = config.head_dim;
  for (int64_t t = 0; t < 40; ++t) {
    REQUIRE(attention.window_begin[static_cast<size_t>(t)] == t);
    for (int64_t h = 0; h < config.heads; ++h) {
      const float* q = attention.q.data() + (t * config.heads + h) * dim;
      const float* k = attention.window.data() + t * dim;
      const double score = std::inner_product(q, q + dim, k, 0.0) * attention.scale;
      const double p = 1 / (1 + std::exp(sink[static_cast<size_t>(h)] - score));
      for (int64_t i = 0; i < dim; ++i) {
        const double expected = p * rows.before[static_cast<size_t>(t * dim + i)];
        const double got = output.after[static_cast<size_t>((t * config.heads + h) * dim + i)];
        // Two fp32 rotations and one rounding of a value of size about 4: below 8 half-ulps of 4.
        REQUIRE(std::abs(got - expected) < 8 * 4 * 0x1.0p-24);
      }
    }
  }
}

TEST_CASE("EveryRotationOfALayerUsesTheLayersFrequencies") {
  for (const LayerKind kind : {LayerKind::kWindow, LayerKind::kCsa, LayerKind::kHca}) {
    const ModelConfig config = OneLayerConfig(kind);
    const std::vector<float> expected =
        InverseFrequencies(kind == LayerKind::kWindow ? WindowRope(config) : CompressRope(config));
    Recorded run(config);
    run.Feed(RandomTokens(config, 130));
    // Queries, rows, output; + entries; + index keys, index queries.
    const size_t calls = kind == LayerKind::kWindow ? 3 : kind == LayerKind::kHca ? 4 : 6;
    REQUIRE(run.backend().rope.size() == calls);
    for (const RecordingBackend::RopeCall& call : run.backend().rope) {
      CHECK(call.inv_freq == expected);
    }
  }
}

TEST_CASE("EntriesAreRotatedAtTheirWindowsFirstToken") {
  const ModelConfig config = OneLayerConfig(LayerKind::kHca);
  const std::vector<int32_t> tokens = RandomTokens(config, 300);
  Recorded run(config);
  run.Feed(Slice(tokens, 0, 100));
  run.Feed(Slice(tokens, 100, 300));
  std::vector<int64_t> positions;
  for (const RecordingBackend::RopeCall& call : run.backend().rope) {
    const bool entries = call.heads == 1 && call.positions.size() <= 2;
    if (entries) positions.insert(positions.end(), call.positions.begin(), call.positions.end());
  }
  CHECK(positions == std::vector<int64_t>{0, 128});
}

TEST_CASE("HashLayersIgnoreLogitsAndScoreLayersUseTheBiasForChoiceOnly") {
  ModelConfig config = MixedConfig();
  const std::vector<int32_t> tokens = RandomTokens(config, 50);
  Recorded run(config);
  run.Feed(tokens);
  const auto& calls = run.backend().route;
  REQUIRE(calls.size() == 5);
  for (size_t l = 0; l < calls.size(); ++l) {
    const RecordingBackend::RouteCall& call = calls[l];
    REQUIRE(call.forced == (l < 2));
    const std::vector<int32_t>& table = run.weights().layers[l].ffn.hash;
    for (size_t t = 0; t < tokens.size(); ++t) {
      const std::vector<int32_t> ids(call.ids.begin() + static_cast<long>(2 * t),
                                     call.ids.begin() + static_cast<long>(2 * t + 2));
      double sum = 0;
      double raw[2];
      for (size_t i = 0; i < 2; ++i) {
        const double z = call.logits[t * 8 + static_cast<size_t>(ids[i])];
        raw[i] = std::sqrt(std::log1p(std::exp(z)));
        sum += raw[i];
      }
      for (size_t i = 0; i < 2; ++i) {
        // From the logits alone, without the bias; fp32 result.
        REQUIRE(call.weights[2 * t + i] == Approx(raw[i] / sum * 1.5).epsilon(1e-6));
      }
      if (!call.forced) continue;
      std::vector<int32_t> expected(table.begin() + tokens[t] * 2,
                                    table.begin() + tokens[t] * 2 + 2);
      std::sort(expected.begin(), expected.end());
      REQUIRE(ids == expected);
    }
  }
}

/// sqrt(mean((a-b)^2) / mean(b^2))
double RelativeError(const std::vector<float>& a, const std::vector<float>& b) {
  double error = 0;
  double size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    error += std::pow(static_cast<double>(a[i]) - b[i], 2);
    size += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(error / size);
}

TEST_CASE("BackendsAgreeWithTheReference") {
  for (const ModelConfig& config : {MixedConfig(), OddConfig()}) {
    const std::vector<int32_t> tokens = RandomTokens(config, 140);
    for (const std::string_view backend : kernels::BackendNames()) {
      if (backend == "ref") continue;
      INFO(backend);
      for (const NumericMode mode : {NumericMode::kPure, NumericMode::kNative}) {
        auto expected = MakeModel(config, mode, "ref");
        auto tested = MakeModel(config, mode, backend);
        KvCache a = expected->NewCache();
        KvCache b = tested->NewCache();
        const double error = RelativeError(Run(*tested, b, tokens), Run(*expected, a, tokens));
        // Pure: about 12 dependent dot products per layer with at most 256 terms: a random walk of
        // fp32 roundings gives sqrt(256) * 2^-24 per product, and we allow all 60 to add up.
        // Native: a value on the border between two E4M3 codes may fall either way. One such step
        // is 2^-4 of one of 32 channels of one of many keys; it is rare, so its mean effect stays
        // small.
        const double bound = mode == NumericMode::kPure ? 60 * 16 * 0x1.0p-24 : 0.005;
        INFO("mode " << static_cast<int>(mode) << " relative error " << error);
        CHECK(error < bound);
        CHECK(error > 0);  // Not the same code twice.
      }
    }
  }
}

TEST_CASE("ModesDifferByTheRoundTripsOnly") {
  const ModelConfig config = MixedConfig();
  const std::vector<int32_t> tokens = RandomTokens(config, 140);
  auto native = MakeModel(config, NumericMode::kNative);
  auto pure = MakeModel(config, NumericMode::kPure);
  KvCache a = native->NewCache();
  KvCache b = pure->NewCache();
  const double error = RelativeError(Run(*native, a, tokens), Run(*pure, b, tokens));
  CHECK(error > 1e-4);  // E4M3 keeps 4 bits: half a step is 3 %.
  CHECK(error < 0.5);
  CHECK(native->arithmetic_id() == "native/" + std::string(kernels::BackendNames()[0]) + "/1");
  CHECK(pure->arithmetic_id() == "pure/" + std::string(kernels::BackendNames()[0]) + "/1");
}

TEST_CASE("ForwardRefusesBeforeAnyWork") {
  ModelConfig config = MixedConfig();
  config.positions_max = 10;
  auto model = MakeModel(config);
  const std::vector<int32_t> tokens = RandomTokens(config, 8);
  KvCache cache = model->NewCache();
  Run(*model, cache, tokens, LogitsWanted::kNone);
  const std::string before = cache.SaveCheckpoint();
  std::vector<float> logits;
  CHECK(model->Forward(cache, tokens, LogitsWanted::kLast, &logits).code() ==
        StatusCode::kOutOfRange);
  for (const int32_t bad : {-1, static_cast<int32_t>(config.vocab)}) {
    const std::vector<int32_t> ids = {0, bad};
    const Status status = model->Forward(cache, ids, LogitsWanted::kLast, &logits);
    CHECK(status.code() == StatusCode::kInvalidArgument);
    CHECK(status.message().find(std::to_string(bad)) != std::string::npos);
  }
  CHECK(model->Forward(cache, Slice(tokens, 0, 1), LogitsWanted::kLast, nullptr).code() ==
        StatusCode::kInvalidArgument);
  CHECK(cache.tokens() == 8);
  CHECK((cache.SaveCheckpoint() == before));
  Run(*model, cache, Slice(tokens, 0, 2));
  CHECK(cache.tokens() == 10);
}

TEST_CASE("ACacheOfAnotherModelOrModeIsRefused") {
  auto model = MakeModel(MixedConfig());
  const std::vector<int32_t> tokens = RandomTokens(model->config(), 3);
  ModelConfig narrow = MixedConfig();
  narrow.window = 8;
  KvCache caches[] = {KvCache(OddConfig(), RowFormat::kPacked), KvCache(narrow, RowFormat::kPacked),
                      KvCache(MixedConfig(), RowFormat::kFloat)};
  for (KvCache& cache : caches) {
    CHECK(model->Forward(cache, tokens, LogitsWanted::kNone, nullptr).code() ==
          StatusCode::kInvalidArgument);
    CHECK(cache.tokens() == 0);
  }
}

TEST_CASE("NoTokensAndNoLogitsAreFine") {
  auto model = MakeModel(MixedConfig());
  KvCache cache = model->NewCache();
  CHECK(Run(*model, cache, {}, LogitsWanted::kLast).empty());
  const std::vector<int32_t> tokens = RandomTokens(model->config(), 5);
  CHECK(model->Forward(cache, tokens, LogitsWanted::kNone, nullptr).ok());
  CHECK(cache.tokens() == 5);
}

TEST_CASE("DamagedRowsGiveAnErrorNotNumbers") {
  auto model = MakeModel(MixedConfig(), NumericMode::kPure);
  const std::vector<int32_t> tokens = RandomTokens(model->config(), 20);
  KvCache cache = model->NewCache();
  Run(*model, cache, tokens, LogitsWanted::kNone);
  for (LayerKv& layer : cache.state().layers()) {
    const std::span<std::byte> bytes =
        layer.window.MutablePlaneBytes(RowPlane::kValues, 0, layer.window.rows());
    std::fill(bytes.begin(), bytes.end(), std::byte{0xFF});  // NaN
  }
  std::vector<float> logits;
  CHECK(model->Forward(cache, Slice(tokens, 0, 1), LogitsWanted::kLast, &logits).code() ==
        StatusCode::kInternal);
}

}  // namespace
}  // namespace baleen
