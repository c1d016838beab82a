// Lazy caches: blocks that begin with unit 0 alone give the bits of full ones, whatever the order
// and the moment in which the other units come; a step that can't have its rows leaves no trace.
// And the replay over stored rows, which needs no checkpoint at all.
#include <catch2/catch.hpp>
#include <set>

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

/// What a store would keep of a sequence: all units of its blocks.
using StoredBlocks = std::vector<std::shared_ptr<KvBlock>>;

StoredBlocks Stored(const KvCache& cache) { return {cache.blocks().begin(), cache.blocks().end()}; }

/// The same blocks with unit 0 alone.
StoredBlocks ResidentOnly(const StoredBlocks& stored) {
  StoredBlocks blocks;
  for (const auto& block : stored) {
    const auto resident = block->unit(0);
    blocks.push_back(std::make_shared<KvBlock>(KvBlockId{},
                                               KvBlock::Bytes(resident.begin(), resident.end()),
                                               static_cast<size_t>(block->units())));
  }
  return blocks;
}

void Fill(const KvUnitRef& ref, const StoredBlocks& stored) {
  const auto bytes = stored[static_cast<size_t>(ref.index)]->unit(ref.unit);
  const std::span<std::byte> room = ref.block->Claim(ref.unit, std::ssize(bytes));
  if (room.empty()) return;
  std::copy(bytes.begin(), bytes.end(), room.begin());
  ref.block->Publish(ref.unit);
}

/// Units from memory. Of `late_every` calls the last one succeeds; the others time out, having
/// brought one unit at most.
class MemorySource final : public KvRowSource {
 public:
  explicit MemorySource(const StoredBlocks& stored, int late_every = 1)
      : stored_(stored), late_every_(late_every) {}

  Status Fetch(std::span<const KvUnitRef> units) override {
    ++calls_;
    for (const KvUnitRef& ref : units) {
      if (ref.block->present(ref.unit)) FAIL("asked for a unit that is there");
      if (refused_.count({ref.index, ref.unit}) != 0) {
        return DataLossError("unit " + std::to_string(ref.unit) + " of block " +
                             std::to_string(ref.index));
      }
    }
    if (calls_ % late_every_ != 0) {
      if (calls_ % 2 == 0) Fill(units.front(), stored_);
      return DeadlineExceededError("late");
    }
    for (const KvUnitRef& ref : units) {
      Fill(ref, stored_);
      ++fetched_;
    }
    return OkStatus();
  }

  void Refuse(int64_t block, int32_t unit) { refused_.insert({block, unit}); }
  void Allow() { refused_.clear(); }
  int64_t fetched() const { return fetched_; }
  int64_t calls() const { return calls_; }

 private:
  const StoredBlocks& stored_;
  const int late_every_;
  int64_t calls_ = 0;
  int64_t fetched_ = 0;
  std::set<std::pair<int64_t, int32_t>> refused_;
};

struct Setup {
  const char* name;
  ModelConfig config;
  NumericMode mode;
};

std::vector<Setup> Setups() {
  return {{"mixed native", MixedConfig(), NumericMode::kNative},
          {"mixed pure", MixedConfig(), NumericMode::kPure},
          {"odd native", OddConfig(), NumericMode::kNative}};
}

/// A sequence that never stopped, and what it stored on its way.
struct Twin {
  Twin(Model& model, const std::vector<int32_t>& tokens, const std::vector<int64_t>& borders)
      : cache(model.NewCache()) {
    for (const int64_t border : borders) {
      Run(model, cache, Slice(tokens, cache.tokens(), border), LogitsWanted::kNone);
      checkpoints.push_back(cache.SaveCheckpoint());
    }
    logits = Run(model, cache, Slice(tokens, cache.tokens(), std::ssize(tokens)));
    first_row = borders.back();
  }
  StoredBlocks BlocksAt(int64_t position) const {
    StoredBlocks blocks = Stored(cache);
    blocks.resize(static_cast<size_t>(position / kBlockTokens));
    return blocks;
  }

  KvCache cache;
  std::vector<std::string> checkpoints;  ///< At the borders.
  std::vector<float> logits;             ///< From the last border on.
  int64_t first_row = 0;
};

KvCache RestoreLazily(const Model& model, const StoredBlocks& stored, const std::string& checkpoint,
                      KvRowSource* source) {
  Result<KvCache> restored = model.RestoreCache(ResidentOnly(stored), checkpoint);
  if (!restored.ok()) FAIL(restored.status().ToString());
  restored->set_row_source(source);
  return std::move(restored).value();
}

TEST_CASE("ALazyCacheGivesTheBitsOfAFullOneAndReadsOnlyWhatIsSelected") {
  for (const Setup& setup : Setups()) {
    INFO(setup.name);
    auto model = MakeModel(setup.config, setup.mode);
    constexpr int64_t kAt = 3333;
    const std::vector<int32_t> tokens = RandomTokens(setup.config, kAt + 300);
    const Twin twin(*model, tokens, {kAt});
    for (const int64_t chunk : {1, 7, 300}) {
      INFO("chunks of " << chunk);
      const StoredBlocks stored = twin.BlocksAt(kAt);
      MemorySource source(stored);
      KvCache cache = RestoreLazily(*model, stored, twin.checkpoints[0], &source);
      REQUIRE((cache.SaveCheckpoint() == twin.checkpoints[0]));
      const auto all = std::ssize(cache.AbsentUnits(KvUnits::kAll));
      REQUIRE(all == 13 * (std::ssize(cache.layout().units) - 1));
      for (int64_t at = kAt; at < std::ssize(tokens); at += chunk) {
        const int64_t end = std::min<int64_t>(at + chunk, std::ssize(tokens));
        const std::vector<float> logits = Run(*model, cache, Slice(tokens, at, end));
        INFO("tokens " << at << " to " << end);
        REQUIRE((LogitBits(*model, logits, 0, end - at) ==
                 LogitBits(*model, twin.logits, at - kAt, end - at)));
        if (at == kAt && chunk == 1) {
          REQUIRE(source.fetched() > 0);
          REQUIRE(source.fetched() < all);  // else this test would prove nothing
        }
      }
      REQUIRE((cache.SaveCheckpoint() == twin.cache.SaveCheckpoint()));
      // What was fetched, and what the rest brings, are the stored bytes.
      for (const KvUnitRef& ref : cache.AbsentUnits(KvUnits::kAll)) Fill(ref, stored);
      REQUIRE((BlockBytes(cache) == BlockBytes(twin.cache)));
    }
  }
}

TEST_CASE("ALazyCacheOfFewEntriesGetsThemAll") {
  // Below top-k there is no selection: every unit is needed.
  ModelConfig config = MixedConfig();
  config.index_topk = 200;
  auto model = MakeModel(config);
  const std::vector<int32_t> tokens = RandomTokens(config, 560);
  const Twin twin(*model, tokens, {550});
  const StoredBlocks stored = twin.BlocksAt(550);
  MemorySource source(stored);
  KvCache cache = RestoreLazily(*model, stored, twin.checkpoints[0], &source);
  REQUIRE(cache.AbsentUnits(KvUnits::kSelected).size() == 4);
  const std::vector<float> logits = Run(*model, cache, Slice(tokens, 550, 560));
  REQUIRE((LogitBits(*model, logits, 0, 10) == LogitBits(*model, twin.logits, 0, 10)));
  REQUIRE(source.fetched() == 4);
}

TEST_CASE("AStepWhoseRowsAreLateLeavesNoTraceAndCanBeTriedAgain") {
  for (const Setup& setup : Setups()) {
    INFO(setup.name);
    auto model = MakeModel(setup.config, setup.mode);
    const int64_t at = 2048 + 130;
    const std::vector<int32_t> tokens = RandomTokens(setup.config, at + 600);
    const Twin twin(*model, tokens, {at});
    const StoredBlocks stored = twin.BlocksAt(at);
    for (const int64_t chunk : {1, 600}) {
      INFO("chunks of " << chunk);
      MemorySource source(stored, /*late_every=*/5);
      KvCache cache = RestoreLazily(*model, stored, twin.checkpoints[0], &source);
      int64_t late = 0;
      while (cache.tokens() < std::ssize(tokens)) {
        const int64_t begin = cache.tokens();
        const int64_t end = std::min<int64_t>(begin + chunk, std::ssize(tokens));
        const std::string before = cache.SaveCheckpoint();
        std::vector<float> logits;
        const Status status =
            model->Forward(cache, Slice(tokens, begin, end), LogitsWanted::kLast, &logits);
        if (status.ok()) {
          REQUIRE(
              (LogitBits(*model, logits, 0, 1) == LogitBits(*model, twin.logits, end - 1 - at, 1)));
          continue;
        }
        ++late;
        REQUIRE(status.code() == StatusCode::kDeadlineExceeded);
        // Whole pieces may have gone through; a piece that failed has not happened.
        if (cache.tokens() == begin) REQUIRE((cache.SaveCheckpoint() == before));
      }
      REQUIRE(late >= 4);
      REQUIRE((cache.SaveCheckpoint() == twin.cache.SaveCheckpoint()));
    }
  }
}

TEST_CASE("AUnitThatCannotBeReadIsNamedAndTheStepGoesOnOnceItIsMended") {
  auto model = MakeModel(MixedConfig());
  const std::vector<int32_t> tokens = RandomTokens(model->config(), 1400);
  const Twin twin(*model, tokens, {1300});
  const StoredBlocks stored = twin.BlocksAt(1300);
  MemorySource source(stored);
  KvCache cache = RestoreLazily(*model, stored, twin.checkpoints[0], &source);
  for (int64_t block = 0; block < 5; ++block) source.Refuse(block, 2);
  std::vector<float> logits;
  const Status status =
      model->Forward(cache, Slice(tokens, 1300, 1400), LogitsWanted::kAll, &logits);
  REQUIRE(status.code() == StatusCode::kDataLoss);
  REQUIRE(status.message().find("unit 2 of block") != std::string::npos);
  REQUIRE((cache.SaveCheckpoint() == twin.checkpoints[0]));
  source.Allow();
  logits = Run(*model, cache, Slice(tokens, 1300, 1400));
  REQUIRE((LogitBits(*model, logits, 0, 100) == LogitBits(*model, twin.logits, 0, 100)));
}

TEST_CASE("AbsentRowsWithoutASourceAreRefused") {
  auto model = MakeModel(MixedConfig());
  const std::vector<int32_t> tokens = RandomTokens(model->config(), 700);
  const Twin twin(*model, tokens, {600});
  KvCache cache = RestoreLazily(*model, twin.BlocksAt(600), twin.checkpoints[0], nullptr);
  std::vector<float> logits;
  const Status status =
      model->Forward(cache, Slice(tokens, 600, 700), LogitsWanted::kLast, &logits);
  REQUIRE(status.code() == StatusCode::kInternal);
  REQUIRE((cache.SaveCheckpoint() == twin.checkpoints[0]));
}

TEST_CASE("ForksOfALazyCacheShareWhatEitherOfThemGot") {
  auto model = MakeModel(MixedConfig());
  constexpr int64_t kAt = 2000;
  const std::vector<int32_t> tokens = RandomTokens(model->config(), kAt + 200);
  const Twin twin(*model, tokens, {kAt});
  std::vector<int32_t> other(tokens.begin(), tokens.begin() + kAt);
  const std::vector<int32_t> rest = RandomTokens(model->config(), 200, 99);
  other.insert(other.end(), rest.begin(), rest.end());
  const Twin other_twin(*model, other, {kAt});
  const StoredBlocks stored = twin.BlocksAt(kAt);
  MemorySource source(stored);
  KvCache trunk = RestoreLazily(*model, stored, twin.checkpoints[0], &source);
  KvCache branch = trunk.Fork();
  for (int64_t t = kAt; t < kAt + 200; t += 20) {
    const std::vector<float> a = Run(*model, trunk, Slice(tokens, t, t + 20));
    const std::vector<float> b = Run(*model, branch, Slice(other, t, t + 20));
    REQUIRE((LogitBits(*model, a, 0, 20) == LogitBits(*model, twin.logits, t - kAt, 20)));
    REQUIRE((LogitBits(*model, b, 0, 20) == LogitBits(*model, other_twin.logits, t - kAt, 20)));
  }
  REQUIRE(trunk.blocks()[0] == branch.blocks()[0]);
  const auto units = std::ssize(stored) * (std::ssize(trunk.layout().units) - 1);
  REQUIRE(source.fetched() <= units);  // none of them twice
}

TEST_CASE("EveryPositionIsReachedFromACheckpointBeforeIt") {
  // Rewinds: any border's checkpoint over lazy blocks, then a replay to the wanted position.
  auto model = MakeModel(MixedConfig());
  const std::vector<int32_t> tokens = RandomTokens(model->config(), 1500);
  const std::vector<int64_t> borders = {1, 200, 256, 511, 700, 1024, 1111};
  const Twin twin(*model, tokens, borders);
  KvCache whole = model->NewCache();
  const std::vector<float> expected = Run(*model, whole, tokens);
  constexpr uint64_t kSeed = 5;
  std::mt19937_64 random(kSeed);
  for (int round = 0; round < 60; ++round) {
    const auto wanted = static_cast<int64_t>(2 + random() % 1400);
    size_t nearest = 0;
    while (nearest + 1 < borders.size() && borders[nearest + 1] < wanted) ++nearest;
    const int64_t at = borders[nearest];
    INFO("position " << wanted << " from " << at << ", seed " << kSeed);
    const StoredBlocks stored = twin.BlocksAt(at);
    MemorySource source(stored);
    KvCache cache = RestoreLazily(*model, stored, twin.checkpoints[nearest], &source);
    Run(*model, cache, Slice(tokens, at, wanted), LogitsWanted::kNone);
    const std::vector<float> logits = Run(*model, cache, Slice(tokens, wanted, wanted + 3));
    REQUIRE((LogitBits(*model, logits, 0, 3) == LogitBits(*model, expected, wanted, 3)));
  }
}

TEST_CASE("AReplayOverStoredRowsNeedsNoCheckpoint") {
  for (const Setup& setup : Setups()) {
    INFO(setup.name);
    auto model = MakeModel(setup.config, setup.mode);
    const int64_t replay = KvCache::ReplayTokens(setup.config);
    REQUIRE(replay == setup.config.window * setup.config.layers);
    for (const int64_t end : {256, 768, 2048}) {
      INFO("blocks up to " << end);
      const std::vector<int32_t> tokens = RandomTokens(setup.config, end + 90);
      const Twin twin(*model, tokens, {end});
      const StoredBlocks stored = twin.BlocksAt(end);
      for (const bool lazy : {false, true}) {
        MemorySource source(stored, lazy ? 3 : 1);
        const int64_t begin = std::max<int64_t>(0, end - replay);
        KvCache cache = model->ReplayCache(lazy ? ResidentOnly(stored) : stored, begin);
        cache.set_row_source(&source);
        REQUIRE(cache.replaying());
        while (cache.tokens() < end) {
          const int64_t chunk = std::min<int64_t>(end, cache.tokens() + 37);
          model->Forward(cache, Slice(tokens, cache.tokens(), chunk), LogitsWanted::kNone, nullptr)
              .IgnoreError("late rows: the loop goes on");
        }
        REQUIRE_FALSE(cache.replaying());
        REQUIRE((cache.SaveCheckpoint() == twin.checkpoints[0]));
        std::vector<float> logits;
        while (cache.tokens() < end + 90) {
          const Status status = model->Forward(cache, Slice(tokens, cache.tokens(), end + 90),
                                               LogitsWanted::kLast, &logits);
          if (!status.ok()) REQUIRE(status.code() == StatusCode::kDeadlineExceeded);
        }
        REQUIRE((LogitBits(*model, logits, 0, 1) == LogitBits(*model, twin.logits, 89, 1)));
        REQUIRE((cache.SaveCheckpoint() == twin.cache.SaveCheckpoint()));
      }
    }
  }
}

TEST_CASE("AReplayOfTooFewTokensIsNotExact") {
  // The control: were it, the length of the replay would mean nothing.
  const ModelConfig config = MixedConfig();
  auto model = MakeModel(config);
  const std::vector<int32_t> tokens = RandomTokens(config, 1024 + 10);
  const Twin twin(*model, tokens, {1024});
  for (const int64_t layers : {1, 2, 3}) {
    KvCache cache = model->ReplayCache(twin.BlocksAt(1024), 1024 - config.window * layers);
    Run(*model, cache, Slice(tokens, cache.tokens(), 1024), LogitsWanted::kNone);
    INFO(layers << " windows");
    REQUIRE((cache.SaveCheckpoint() != twin.checkpoints[0]));
  }
}

}  // namespace
}  // namespace baleen
