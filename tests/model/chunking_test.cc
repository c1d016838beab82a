// Any split of the same tokens into calls: equal logits, equal blocks, equal checkpoints, to the
// bit.
#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/model/tiny_model.h"

namespace baleen {
namespace {

using testing::BlockBytes;
using testing::LogitBits;
using testing::MakeModel;
using testing::MixedConfig;
using testing::OddConfig;
using testing::RandomTokens;
using testing::Run;
using testing::Slice;

/// What one token at a time leads to: the reference that all chunkings must meet.
struct Trail {
  std::vector<float> logits;             ///< [tokens, vocab]
  std::vector<std::string> checkpoints;  ///< [tokens + 1]
  std::string blocks;                    ///< After the last token.
};

Trail SingleSteps(Model& model, const std::vector<int32_t>& tokens) {
  Trail trail;
  KvCache cache = model.NewCache();
  trail.checkpoints.push_back(cache.SaveCheckpoint());
  for (size_t i = 0; i < tokens.size(); ++i) {
    const std::vector<float> row = Run(model, cache, {&tokens[i], 1});
    trail.logits.insert(trail.logits.end(), row.begin(), row.end());
    trail.checkpoints.push_back(cache.SaveCheckpoint());
  }
  trail.blocks = BlockBytes(cache);
  return trail;
}

/// Comparisons return bool and are REQUIREd with a position: megabytes of bytes print badly.
bool StateMatches(const KvCache& cache, const Trail& trail) {
  const std::string blocks = BlockBytes(cache);
  return cache.SaveCheckpoint() == trail.checkpoints[static_cast<size_t>(cache.tokens())] &&
         blocks == trail.blocks.substr(0, blocks.size());
}

struct Setup {
  const char* name;
  ModelConfig config;
  NumericMode mode;
};

std::vector<Setup> Setups() {
  return {{"mixed native", MixedConfig(), NumericMode::kNative},
          {"mixed pure", MixedConfig(), NumericMode::kPure},
          {"odd native", OddConfig(), NumericMode::kNative},
          {"odd pure", OddConfig(), NumericMode::kPure}};
}

TEST_CASE("EveryPrefixInOneCallEqualsSingleTokens") {
  for (const Setup& setup : Setups()) {
    INFO(setup.name);
    auto model = MakeModel(setup.config, setup.mode);
    const std::vector<int32_t> tokens = RandomTokens(setup.config, 300);
    const Trail trail = SingleSteps(*model, tokens);
    for (int64_t t = 0; t <= 300; ++t) {
      INFO("prefix of " << t);
      KvCache cache = model->NewCache();
      const std::vector<float> logits = Run(*model, cache, Slice(tokens, 0, t));
      REQUIRE(cache.tokens() == t);
      REQUIRE(StateMatches(cache, trail));
      REQUIRE((LogitBits(*model, logits, 0, t) == LogitBits(*model, trail.logits, 0, t)));
    }
  }
}

TEST_CASE("PrefillThenDecodeEqualsSingleTokensAtEverySplit") {
  // The lengths around every window border, each split everywhere.
  for (const Setup& setup : Setups()) {
    INFO(setup.name);
    auto model = MakeModel(setup.config, setup.mode);
    const std::vector<int32_t> tokens = RandomTokens(setup.config, 260);
    const Trail trail = SingleSteps(*model, tokens);
    for (int64_t total : {1, 3, 4, 5, 7, 8, 9}) {
      for (int64_t split = 0; split <= total; ++split) {
        INFO(split << " of " << total);
        KvCache cache = model->NewCache();
        Run(*model, cache, Slice(tokens, 0, split), LogitsWanted::kNone);
        Run(*model, cache, Slice(tokens, split, total), LogitsWanted::kNone);
        REQUIRE(StateMatches(cache, trail));
      }
    }
    for (int64_t total : {127, 128, 129, 255, 256, 260}) {
      for (int64_t split = total % 3; split <= total; split += 31) {
        INFO(split << " of " << total);
        KvCache cache = model->NewCache();
        Run(*model, cache, Slice(tokens, 0, split), LogitsWanted::kNone);
        const std::vector<float> logits = Run(*model, cache, Slice(tokens, split, total));
        REQUIRE(StateMatches(cache, trail));
        REQUIRE((LogitBits(*model, logits, 0, total - split) ==
                 LogitBits(*model, trail.logits, split, total - split)));
      }
    }
  }
}

TEST_CASE("RandomChunksOfLongPromptsEqualOneCall") {
  constexpr uint64_t kSeed = 20;
  for (const Setup& setup : Setups()) {
    INFO(setup.name);
    auto model = MakeModel(setup.config, setup.mode);
    const bool longest = setup.mode == NumericMode::kNative;
    for (int64_t total :
         longest ? std::vector<int64_t>{1000, 2049, 4160} : std::vector<int64_t>{1000}) {
      const std::vector<int32_t> tokens = RandomTokens(setup.config, total, kSeed);
      KvCache whole = model->NewCache();
      const std::vector<float> expected = Run(*model, whole, tokens);
      std::mt19937_64 random(kSeed);
      KvCache cache = model->NewCache();
      while (cache.tokens() < total) {
        const auto size = static_cast<int64_t>(1 + random() % (random() % 4 == 0 ? 700 : 40));
        const int64_t begin = cache.tokens();
        const int64_t end = std::min(total, begin + size);
        const std::vector<float> logits = Run(*model, cache, Slice(tokens, begin, end));
        INFO("tokens " << begin << " to " << end << " of " << total << ", seed " << kSeed);
        REQUIRE((LogitBits(*model, logits, 0, end - begin) ==
                 LogitBits(*model, expected, begin, end - begin)));
      }
      REQUIRE((cache.SaveCheckpoint() == whole.SaveCheckpoint()));
      REQUIRE((BlockBytes(cache) == BlockBytes(whole)));
    }
  }
}

TEST_CASE("LastLogitsEqualTheLastRowOfAll") {
  auto model = MakeModel(MixedConfig());
  const std::vector<int32_t> tokens = RandomTokens(model->config(), 300);
  KvCache all_cache = model->NewCache();
  const std::vector<float> all = Run(*model, all_cache, tokens);
  KvCache last_cache = model->NewCache();
  const std::vector<float> last = Run(*model, last_cache, tokens, LogitsWanted::kLast);
  REQUIRE(last.size() == static_cast<size_t>(model->config().vocab));
  REQUIRE((LogitBits(*model, last, 0, 1) == LogitBits(*model, all, 299, 1)));
}

TEST_CASE("ThreadCountDoesNotChangeABit") {
  for (const NumericMode mode : {NumericMode::kNative, NumericMode::kPure}) {
    const ModelConfig config = MixedConfig();
    const std::vector<int32_t> tokens = RandomTokens(config, 333);
    std::string expected;
    for (int threads : {1, 2, 3}) {
      ModelOptions options;
      options.mode = mode;
      options.backend = std::string(kernels::BackendNames()[0]);
      options.threads = threads;
      auto model = MakeModel(config, options);
      KvCache cache = model->NewCache();
      const std::vector<float> logits = Run(*model, cache, tokens);
      const std::string bits =
          LogitBits(*model, logits, 0, 333) + BlockBytes(cache) + cache.SaveCheckpoint();
      if (threads == 1) expected = bits;
      INFO("threads " << threads);
      REQUIRE((bits == expected));
    }
  }
}

}  // namespace
}  // namespace baleen
