#include "model/kv_cache.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <set>

#include "model/kv_checkpoint.h"
#include "tests/model/tiny_model.h"

namespace baleen {
namespace {

using kernels::RowFormat;
using testing::BlockBytes;
using testing::LogitBits;
using testing::MakeModel;
using testing::MixedConfig;
using testing::OddConfig;
using testing::RandomTokens;
using testing::Run;
using testing::Slice;

/// The cache dimensions of a released model: [first kinds] + [CSA, HCA] x pairs + [CSA].
ModelConfig ReleasedConfig(LayerKind first, int pairs) {
  ModelConfig config = MixedConfig();
  config.head_dim = 512;
  config.rope_dim = 64;
  config.index_dim = 128;
  config.window = 128;
  config.layer_kinds = {first, first};
  for (int i = 0; i < pairs; ++i) {
    config.layer_kinds.push_back(LayerKind::kCsa);
    config.layer_kinds.push_back(LayerKind::kHca);
  }
  config.layer_kinds.push_back(LayerKind::kCsa);
  config.layers = static_cast<int64_t>(config.layer_kinds.size());
  return config;
}

TEST_CASE("ABlockOfTheReleasedModelsHasTheComputedSize") {
  // An entry is 448 codes, 7 scales and 64 bf16: 583 bytes (584 in serving stacks, which pad it);
  // an index key is 64 + 4. Per token (583+68)/4 for CSA and 583/128 for HCA.
  const auto payload = [](int csa, int hca, double entry, double key) {
    return csa * (entry + key) / 4 + hca * entry / 128;
  };
  const ModelConfig flash = ReleasedConfig(LayerKind::kWindow, 20);
  REQUIRE(flash.layers == 43);
  const KvLayout packed = KvLayout::Make(flash, RowFormat::kPacked);
  CHECK(static_cast<double>(packed.payload_bytes) / kBlockTokens == payload(21, 20, 583, 68));
  CHECK(static_cast<double>(packed.payload_bytes) / kBlockTokens < 3514.25);
  const KvLayout floats = KvLayout::Make(flash, RowFormat::kFloat);
  CHECK(static_cast<double>(floats.payload_bytes) / kBlockTokens == payload(21, 20, 2048, 512));

  const ModelConfig pro = ReleasedConfig(LayerKind::kHca, 29);
  REQUIRE(pro.layers == 61);
  CHECK(static_cast<double>(KvLayout::Make(pro, RowFormat::kPacked).payload_bytes) / kBlockTokens ==
        payload(30, 31, 583, 68));
}

TEST_CASE("StreamsAreAlignedInOrderAndDisjoint") {
  for (const ModelConfig& config :
       {MixedConfig(), OddConfig(), ReleasedConfig(LayerKind::kHca, 3)}) {
    for (const RowFormat format : {RowFormat::kPacked, RowFormat::kFloat}) {
      const KvLayout layout = KvLayout::Make(config, format);
      std::vector<int64_t> ends(layout.units.size());
      int64_t payload = 0;
      int32_t unit = 0;
      std::set<std::string> names;
      for (const KvStream& stream : layout.streams) {
        CHECK(stream.unit >= unit);
        unit = stream.unit;
        int64_t& end = ends[static_cast<size_t>(unit)];
        CHECK(stream.offset % 64 == 0);
        CHECK(stream.offset >= end);
        CHECK(stream.offset < end + 64);
        CHECK(stream.rows == kBlockTokens / config.Ratio(stream.layer));
        CHECK(names.insert(stream.name).second);
        end = stream.offset + stream.rows * stream.row_bytes;
        payload += stream.rows * stream.row_bytes;
      }
      CHECK(layout.payload_bytes == payload);
      int64_t offset = 0;
      for (size_t u = 0; u < ends.size(); ++u) {
        CHECK(layout.units[u].bytes % 64 == 0);
        CHECK(layout.units[u].bytes >= ends[u]);
        CHECK(layout.units[u].bytes < ends[u] + 64);
        CHECK(layout.units[u].offset == offset);
        offset += layout.units[u].bytes;
      }
      CHECK(layout.block_bytes == offset);
    }
  }
  const KvLayout layout = KvLayout::Make(MixedConfig(), RowFormat::kPacked);
  REQUIRE(layout.streams.size() == 13);
  REQUIRE(layout.units.size() == 3);
  CHECK(layout.streams[0].name == "L2.index.codes");
  CHECK(layout.streams[1].name == "L2.index.scales");
  CHECK(layout.streams[2].name == "L3.kv.codes");
  CHECK(layout.streams[6].unit == 0);
  CHECK(layout.streams[7].name == "L2.kv.codes");
  CHECK(layout.streams[9].name == "L2.kv.rope");
  CHECK(layout.streams[9].unit == 1);
  CHECK(layout.streams[12].name == "L4.kv.rope");
  CHECK(layout.streams[12].unit == 2);
}

TEST_CASE("ResumingAtEveryPositionGivesTheNextLogitsBitForBit") {
  for (const ModelConfig& config : {MixedConfig(), OddConfig()}) {
    for (const NumericMode mode : {NumericMode::kNative, NumericMode::kPure}) {
      auto model = MakeModel(config, mode);
      const std::vector<int32_t> tokens = RandomTokens(config, 306);
      KvCache whole = model->NewCache();
      const std::vector<float> expected = Run(*model, whole, tokens);
      KvCache cache = model->NewCache();
      for (int64_t t = 0; t <= 300; ++t) {
        INFO("position " << t);
        const std::string checkpoint = cache.SaveCheckpoint();
        const std::vector<std::shared_ptr<KvBlock>> blocks(cache.blocks().begin(),
                                                           cache.blocks().end());
        Result<KvCache> restored = model->RestoreCache(blocks, checkpoint);
        INFO(restored.status().ToString());
        REQUIRE(restored.ok());
        REQUIRE(restored->tokens() == t);
        REQUIRE((restored->SaveCheckpoint() == checkpoint));
        const std::vector<float> logits = Run(*model, *restored, Slice(tokens, t, t + 5));
        REQUIRE((LogitBits(*model, logits, 0, 5) == LogitBits(*model, expected, t, 5)));
        if (t < 300) Run(*model, cache, Slice(tokens, t, t + 1), LogitsWanted::kNone);
      }
    }
  }
}

TEST_CASE("CheckpointsHoldNoMoreThanTheNextTokenNeeds") {
  const ModelConfig config = MixedConfig();
  KvCache cache(config, RowFormat::kPacked);
  auto model = MakeModel(config);
  const std::vector<int32_t> tokens = RandomTokens(config, 256);
  Run(*model, cache, tokens, LogitsWanted::kNone);
  // At a block border: 15 window rows of 24+1+16 bytes per layer, and CSA's previous windows:
  // 4 tokens x (32 + 16 channels) x 2 x 4 bytes in each of two layers.
  const size_t window = 5 * 15 * 41;
  const size_t previous = 2 * 4 * (32 + 16) * 2 * 4;
  const size_t header = 8 * 4 + 8;
  const size_t section_headers = 5 * 8 + (2 * 1 + 2 * 12 + 1 * 4) * 12;
  const size_t selection = 2 * 4;  // the one sealed block, in each CSA layer
  CHECK(cache.SaveCheckpoint().size() == window + previous + selection + header + section_headers);
}

TEST_CASE("ForksGoTheirOwnWays") {
  const ModelConfig config = MixedConfig();
  auto model = MakeModel(config);
  const std::vector<int32_t> prefix = RandomTokens(config, 290, 1);
  const std::vector<int32_t> left = RandomTokens(config, 250, 2);
  const std::vector<int32_t> right = RandomTokens(config, 250, 3);
  const auto alone = [&](const std::vector<int32_t>& rest) {
    KvCache cache = model->NewCache();
    Run(*model, cache, prefix, LogitsWanted::kNone);
    const std::vector<float> logits = Run(*model, cache, rest);
    return LogitBits(*model, logits, 0, 250) + cache.SaveCheckpoint() + BlockBytes(cache);
  };
  KvCache trunk = model->NewCache();
  Run(*model, trunk, prefix, LogitsWanted::kNone);
  KvCache branch = trunk.Fork();
  REQUIRE(branch.tokens() == 290);
  CHECK(branch.blocks()[0] == trunk.blocks()[0]);  // shared, not copied
  // Interleaved, so that any shared mutable byte would show.
  std::vector<float> left_logits;
  std::vector<float> right_logits;
  for (int64_t t = 0; t < 250; t += 25) {
    const std::vector<float> a = Run(*model, trunk, Slice(left, t, t + 25));
    const std::vector<float> b = Run(*model, branch, Slice(right, t, t + 25));
    left_logits.insert(left_logits.end(), a.begin(), a.end());
    right_logits.insert(right_logits.end(), b.begin(), b.end());
  }
  CHECK((LogitBits(*model, left_logits, 0, 250) + trunk.SaveCheckpoint() + BlockBytes(trunk) ==
         alone(left)));
  CHECK((LogitBits(*model, right_logits, 0, 250) + branch.SaveCheckpoint() + BlockBytes(branch) ==
         alone(right)));
}

TEST_CASE("DamagedCheckpointsAreRefusedOrHarmless") {
  const ModelConfig config = MixedConfig();
  auto model = MakeModel(config);
  KvCache cache = model->NewCache();
  Run(*model, cache, RandomTokens(config, 7), LogitsWanted::kNone);
  const std::string good = cache.SaveCheckpoint();
  const auto restore = [&](std::string_view bytes) {
    return KvCache::Restore(config, RowFormat::kPacked, {}, bytes);
  };
  REQUIRE(restore(good).ok());
  for (size_t size = 0; size < good.size(); ++size) {
    const Result<KvCache> cut = restore(std::string_view(good).substr(0, size));
    REQUIRE(cut.status().code() == StatusCode::kDataLoss);
  }
  REQUIRE(restore(good + '\0').status().code() == StatusCode::kDataLoss);
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ (1 << (i % 8)));
    const Result<KvCache> flipped = restore(bad);
    // A flip in a row can't be told from another row; it must come back out as it went in.
    if (flipped.ok()) REQUIRE((flipped->SaveCheckpoint() == bad));
    if (i < 48) REQUIRE(flipped.status().code() == StatusCode::kDataLoss);
  }
}

TEST_CASE("RestoreNamesWhatDoesNotFit") {
  const ModelConfig config = MixedConfig();
  auto model = MakeModel(config);
  KvCache cache = model->NewCache();
  Run(*model, cache, RandomTokens(config, 260), LogitsWanted::kNone);
  const std::string checkpoint = cache.SaveCheckpoint();
  const std::vector<std::shared_ptr<KvBlock>> blocks(cache.blocks().begin(), cache.blocks().end());
  const auto message = [&](const ModelConfig& c, RowFormat format, const auto& with,
                           std::string_view bytes) {
    const Result<KvCache> result = KvCache::Restore(c, format, with, bytes);
    REQUIRE(result.status().code() == StatusCode::kDataLoss);
    return result.status().message();
  };
  using Catch::Matchers::Contains;
  const std::vector<std::shared_ptr<KvBlock>> none;
  const std::vector<std::shared_ptr<KvBlock>> null = {nullptr};
  const std::vector<std::shared_ptr<KvBlock>> small = {
      std::make_shared<KvBlock>(std::vector<KvBlock::Bytes>(3, KvBlock::Bytes(64)))};
  CHECK_THAT(message(config, RowFormat::kPacked, none, checkpoint), Contains("blocks"));
  CHECK_THAT(message(config, RowFormat::kPacked, null, checkpoint), Contains("block 0"));
  CHECK_THAT(message(config, RowFormat::kPacked, small, checkpoint), Contains("block 0"));
  CHECK_THAT(message(config, RowFormat::kFloat, blocks, checkpoint), Contains("row format"));
  ModelConfig other = config;
  other.layers = 4;
  other.layer_kinds.pop_back();
  CHECK_THAT(message(other, RowFormat::kPacked, blocks, checkpoint), Contains("layers"));
  other = config;
  other.window = 17;
  CHECK_THAT(message(other, RowFormat::kPacked, blocks, checkpoint), Contains("window"));
  other = config;
  other.layer_kinds[0] = LayerKind::kHca;
  CHECK_THAT(message(other, RowFormat::kPacked, blocks, checkpoint), Contains("block 0"));
  other = config;
  std::swap(other.layer_kinds[1], other.layer_kinds[2]);
  CHECK_THAT(message(other, RowFormat::kPacked, blocks, checkpoint), Contains("layer kind"));
  other = config;
  other.positions_max = 100;
  CHECK_THAT(message(other, RowFormat::kPacked, blocks, checkpoint), Contains("position"));
}

}  // namespace
}  // namespace baleen
