// The engine over its tiers: whatever was in RAM, on the disk, absent, late or damaged, a sequence
// gets the bits of one that never stopped, and the report says where its context came from.
#include <rocksdb/db.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <random>

#include "tests/runtime/engine_rig.h"
#include "tests/testing/temp_directory.h"

namespace baleen {
namespace {

constexpr int64_t kStep = 8;  // tokens generated per turn

/// Turns of one sequence: random prompts of these lengths, each with kStep tokens behind.
const std::vector<int64_t> kPrompts = {1300, 40, 500, 9};

/// Each turn's context, and what it generated, by an engine without a store.
struct Conversation {
  explicit Conversation(uint64_t seed = 1, const std::vector<int64_t>& prompts = kPrompts) {
    EngineRig rig("");
    std::vector<int32_t> context;
    for (const int64_t length : prompts) {
      context = Joined(context, RigTokens(length, seed++));
      prefixes.push_back(context);
      turns.push_back(rig.Generate("twin", context, kStep));
      context = Joined(context, turns.back().ids);
    }
  }
  std::vector<std::vector<int32_t>> prefixes;
  std::vector<JobTrace> turns;
};

const Conversation& TheConversation() {
  static const Conversation conversation;
  return conversation;
}

void RequireSame(const JobTrace& mine, const JobTrace& expected) {
  REQUIRE(mine.ids == expected.ids);
  REQUIRE(mine.hashes == expected.hashes);
}

bool Says(const JobTrace& trace, const std::string& words) {
  for (const std::string& reason : trace.report.reasons) {
    if (reason.find(words) != std::string::npos) return true;
  }
  return false;
}

struct Mode {
  const char* name;
  RigOptions options;
};

RigOptions With(const KvTierOptions& tiers) {
  RigOptions options;
  options.tiers = tiers;
  options.engine.prefill_chunk_tokens = 100;
  options.engine.checkpoint_interval_tokens = 512;
  return options;
}

std::vector<Mode> Modes() {
  return {{"lazy", With({})},
          {"eager", With({.lazy = false})},
          {"lazy, never waiting", With({.row_wait = std::chrono::milliseconds(0)})},
          {"lazy, nothing kept in RAM", With({.ram_bytes = 0})},
          {"full", With({.policy = CheckpointPolicy::kFull})},
          {"zero", With({.policy = CheckpointPolicy::kZero})},
          {"zero, eager", With({.lazy = false, .policy = CheckpointPolicy::kZero})}};
}

TEST_CASE("a list of tokens is its vector, whatever it shares with others") {
  const unsigned seed = 20261128;
  INFO("seed " << seed);
  std::mt19937 random(seed);
  std::vector<int32_t> ids;
  TokenList list;
  for (int i = 0; i < 60; ++i) {
    std::vector<int32_t> more(random() % 400);
    for (int32_t& id : more) id = static_cast<int32_t>(random() % 50000);
    ids.insert(ids.end(), more.begin(), more.end());
    list.Append(more);
    REQUIRE(list.size() == ids.size());
    if (ids.empty()) continue;
    const size_t cut = random() % ids.size();
    REQUIRE(list[cut] == ids[cut]);
    REQUIRE(list.Ids(0, ids.size()) == ids);
    const TokenList first = list.First(cut);
    const auto at = ids.begin() + static_cast<std::ptrdiff_t>(cut);
    REQUIRE(first.Ids(0, first.size()) == std::vector<int32_t>(ids.begin(), at));
    const TokenList rest = list.From(cut);
    REQUIRE(rest.Ids(0, rest.size()) == std::vector<int32_t>(at, ids.end()));
    // It begins so, whether it shares its pieces or not; and not where one id differs.
    REQUIRE(list.StartsWith(first));
    REQUIRE(TokenList(ids).StartsWith(first));
    REQUIRE((first.size() == list.size() || !first.StartsWith(list)));
    std::vector<int32_t> other = ids;
    other[cut] += 1;
    REQUIRE_FALSE(list.StartsWith(TokenList(other)));
  }
  // Copies and beginnings lie in the same memory, and grow apart.
  TokenList copy = list.First(TokenList::kPieceTokens + 5);
  REQUIRE(copy.Together(0, 1).data() == list.Together(0, 1).data());
  copy.push_back(-1);
  REQUIRE(copy.back() == -1);
  REQUIRE(list[copy.size() - 1] == ids[copy.size() - 1]);
}

TEST_CASE("every way of resuming gives the bits of a sequence that never stopped") {
  const Conversation& twin = TheConversation();
  for (const Mode& mode : Modes()) {
    INFO(mode.name);
    const TempDirectory folder;
    int64_t computed = 0;
    for (size_t turn = 0; turn < kPrompts.size(); ++turn) {
      INFO("turn " << turn);
      EngineRig rig(folder.File("kv"), mode.options);  // a new process, as far as the engine knows
      const JobTrace trace = rig.Generate("s", twin.prefixes[turn], kStep, computed);
      RequireSame(trace, twin.turns[turn]);
      const ReuseReport& report = trace.report;
      const auto target = std::ssize(twin.prefixes[turn]) - 1;
      REQUIRE(report.reused_ram + report.reused_disk + report.recomputed + report.prefilled ==
              target);
      if (mode.options.tiers.policy == CheckpointPolicy::kPeriodic) {
        REQUIRE(report.recomputed == 0);
      }
      computed = std::ssize(twin.prefixes[turn]) + kStep - 1;
    }
  }
}

TEST_CASE("zero recomputes window times layers tokens and what no block holds") {
  const TempDirectory folder;
  const RigOptions options = With({.policy = CheckpointPolicy::kZero});
  const std::vector<int32_t> context = RigTokens(3000);
  EngineRig twin("");
  const JobTrace expected = twin.Generate("s", Joined(context, RigTokens(50, 9)), kStep);
  {
    EngineRig rig(folder.File("kv"), options);
    rig.Prefetch("s", context);
  }
  EngineRig rig(folder.File("kv"), options);
  const JobTrace trace = rig.Generate("s", Joined(context, RigTokens(50, 9)), kStep, 3000);
  RequireSame(trace, expected);
  // Blocks of 256 hold 2,816 tokens; 6 layers look back 128 tokens each.
  REQUIRE(trace.report.recomputed == 6 * 128 + (3000 - 2816));
  REQUIRE(trace.report.reused_disk == 2816 - 6 * 128);
  REQUIRE(Says(trace, "768 tokens"));
  REQUIRE(Must(rig.store().ListAllCheckpoints()).empty());
}

TEST_CASE("full leaves less than 128 tokens to recompute") {
  const TempDirectory folder;
  const RigOptions options = With({.policy = CheckpointPolicy::kFull});
  const std::vector<int32_t> context = RigTokens(1200);
  {
    EngineRig rig(folder.File("kv"), options);
    rig.Prefetch("s", context);
  }
  EngineRig rig(folder.File("kv"), options);
  for (const int64_t at : {130, 300, 777, 1199}) {
    INFO("rewind to " << at);
    const std::vector<int32_t> prefix(context.begin(), context.begin() + at);
    const JobTrace trace = rig.Generate("s", prefix, 1, at);
    REQUIRE(trace.report.recomputed < 128);
  }
}

TEST_CASE("a rewind to any position gives the bits of a sequence that went no further") {
  constexpr uint64_t kSeed = 31;
  std::mt19937_64 random(kSeed);
  const std::vector<int32_t> context = RigTokens(1500);
  for (const Mode& mode : Modes()) {
    INFO(mode.name << ", seed " << kSeed);
    const TempDirectory folder;
    EngineRig rig(folder.File("kv"), mode.options);
    rig.Prefetch("s", context);
    EngineRig twin("");
    for (int round = 0; round < 3; ++round) {
      const auto at = static_cast<int64_t>(2 + random() % 1450);
      INFO("position " << at);
      const std::vector<int32_t> prefix(context.begin(), context.begin() + at);
      const JobTrace trace = rig.Generate("s", prefix, 2, at);
      RequireSame(trace, twin.Generate("s", prefix, 2));
    }
  }
}

TEST_CASE("a fork of a live sequence reads nothing from the disk and goes its own way") {
  const TempDirectory folder;
  EngineRig rig(folder.File("kv"), With({}));
  const std::vector<int32_t> trunk = RigTokens(2000);
  rig.Prefetch("parent", trunk);
  rig.WaitForStorage();
  const int64_t read = Must(rig.store().Counters()).units_read;
  const int64_t ram = rig.engine().kv_ram_bytes();
  const JobTrace fork = rig.Prefetch("child", trunk, true, kForkCheckpoint);
  REQUIRE(fork.report.reused_ram == 2000);
  REQUIRE(fork.report.reused_disk == 0);
  REQUIRE(fork.report.prefilled + fork.report.recomputed == 0);
  REQUIRE(Must(rig.store().Counters()).units_read == read);
  REQUIRE(rig.engine().kv_ram_bytes() == ram);  // the blocks are shared
  EngineRig twin("");
  const std::vector<int32_t> left = Joined(trunk, RigTokens(300, 5));
  const std::vector<int32_t> right = Joined(trunk, RigTokens(300, 6));
  const uint64_t a = rig.Start("parent", left, kStep);
  const uint64_t b = rig.Start("child", right, kStep);
  const JobTrace left_trace = rig.recorder().Wait(a);
  const JobTrace right_trace = rig.recorder().Wait(b);  // one engine at a time uses the model
  RequireSame(left_trace, twin.Generate("left", left, kStep));
  RequireSame(right_trace, twin.Generate("right", right, kStep));
  // A fork behind the head, once the parent went on: blocks from RAM, the rest by checkpoint.
  rig.WaitForStorage();
  const JobTrace late = rig.Prefetch("grandchild", trunk, true, kForkCheckpoint);
  REQUIRE(late.report.reused_ram == 2000 / 256 * 256);
  REQUIRE(late.report.reused_disk == 2000 % 256);
  REQUIRE(Must(rig.store().Counters()).units_read == read);
}

TEST_CASE("the checkpoint of a fork's position is written behind the fork when it is missing") {
  const TempDirectory folder;
  EngineRig rig(folder.File("kv"), With({}));
  const std::vector<int32_t> trunk = RigTokens(1000);
  rig.Generate("parent", trunk, kStep);
  const std::vector<int32_t> at(trunk.begin(), trunk.begin() + 777);
  const auto kinds_at = [&](int64_t position) {
    rig.WaitForStorage();
    int64_t kinds = -1;
    for (const CheckpointEntry& entry : Must(rig.store().ListAllCheckpoints())) {
      if (entry.position == position) kinds = entry.kinds;
    }
    return kinds;
  };
  REQUIRE(kinds_at(777) == -1);
  rig.Prefetch("child", at, false, kForkCheckpoint);
  REQUIRE(kinds_at(777) == kForkCheckpoint);
  rig.Prefetch("child", at, false, kPinnedCheckpoint);
  REQUIRE(kinds_at(777) == (kForkCheckpoint | kPinnedCheckpoint));
  REQUIRE(kinds_at(1000 + kStep - 1) == kTurnCheckpoint);
  REQUIRE(kinds_at(512) == kPeriodicCheckpoint);
}

TEST_CASE("a fork's first computation leaves a checkpoint where it branched off") {
  const TempDirectory folder;
  EngineRig twin("");
  const std::vector<int32_t> trunk = RigTokens(1000);
  std::vector<int32_t> head = trunk;
  const auto kinds_at = [](EngineRig& rig, int64_t position) {
    rig.WaitForStorage();
    int64_t kinds = -1;
    for (const CheckpointEntry& entry : Must(rig.store().ListAllCheckpoints())) {
      if (entry.position == position) kinds = entry.kinds;
    }
    return kinds;
  };
  {
    EngineRig rig(folder.File("kv"), With({}));
    const JobTrace parent = rig.Generate("parent", trunk, kStep);
    head.insert(head.end(), parent.ids.begin(), parent.ids.end());
    // At the live head, whose last token was sampled and not computed: marked, not computed anew.
    const int64_t at = std::ssize(head) - 1;
    REQUIRE(kinds_at(rig, at) == kTurnCheckpoint);
    const std::vector<int32_t> prefix = Joined(head, RigTokens(40, 3));
    const JobTrace child = rig.Generate("at head", prefix, kStep, 0, at);
    REQUIRE(child.report.reused_ram == at);
    REQUIRE(kinds_at(rig, at) == (kTurnCheckpoint | kForkCheckpoint));
    RequireSame(child, twin.Generate("at head", prefix, kStep));
    // Inside it.
    const std::vector<int32_t> early(trunk.begin(), trunk.begin() + 700);
    const std::vector<int32_t> other = Joined(early, RigTokens(40, 4));
    REQUIRE(kinds_at(rig, 699) == -1);
    RequireSame(rig.Generate("inside", other, kStep, 0, 699),
                twin.Generate("inside", other, kStep));
    REQUIRE(kinds_at(rig, 699) == kForkCheckpoint);
  }
  // Nobody is live: the replay from the disk passes it.
  EngineRig rig(folder.File("kv"), With({}));
  const std::vector<int32_t> early(trunk.begin(), trunk.begin() + 333);
  rig.Generate("cold", Joined(early, RigTokens(40, 5)), kStep, 333, 332);
  REQUIRE(kinds_at(rig, 332) == kForkCheckpoint);
  // And the next fork there begins at it.
  const JobTrace again = rig.Generate("again", Joined(early, RigTokens(40, 6)), kStep, 333, 332);
  REQUIRE(again.report.reused_ram + again.report.reused_disk == 332);
}

TEST_CASE("a lazy resume reads a part and the stream brings the rest") {
  const TempDirectory folder;
  const std::vector<int32_t> context = RigTokens(5000);
  {
    EngineRig(folder.File("kv"), With({})).Prefetch("s", context);
  }
  int64_t unit_bytes = 0;
  const KvLayout layout = KvLayout::Make(RigModel().config(), RigModel().row_format());
  for (size_t u = 1; u < layout.units.size(); ++u) unit_bytes += layout.units[u].bytes;
  const int64_t blocks = 5000 / 256;
  {
    // No room for the stream: only what steps select is read.
    EngineRig rig(folder.File("kv"), With({.ram_bytes = 0}));
    const JobTrace trace = rig.Generate("s", Joined(context, {7, 8}), 1, 5000);
    REQUIRE(trace.report.rows.bytes > 0);
    REQUIRE(trace.report.rows.bytes < blocks * unit_bytes);
    REQUIRE(rig.engine().kv_ram_bytes() < blocks * layout.block_bytes);
  }
  EngineRig rig(folder.File("kv"), With({}));
  rig.Generate("s", Joined(context, {7, 8}), 1, 5000);
  const JobTrace all = rig.Prefetch("s", Joined(context, {7, 8}));
  REQUIRE(all.report.reused_ram == 5002);
  REQUIRE(rig.engine().kv_ram_bytes() == blocks * layout.block_bytes);
  REQUIRE(Must(rig.store().Counters()).units_read ==
          blocks * std::ssize(layout.units));  // none of them twice
}

TEST_CASE("a sequence whose rows are late is parked while others go on") {
  const TempDirectory folder;
  const std::vector<int32_t> context = RigTokens(4000);
  {
    EngineRig(folder.File("kv"), With({})).Prefetch("s", context);
  }
  EngineRig twin("");
  const std::vector<int32_t> next = Joined(context, RigTokens(20, 3));
  const std::vector<int32_t> other = RigTokens(300, 4);
  RigOptions options = With({.ram_bytes = 0, .row_wait = std::chrono::milliseconds(1)});
  options.reader_threads = 1;
  EngineRig rig(folder.File("kv"), options);
  rig.Prefetch("s", context, /*load_rows=*/false);
  // The disk hangs: its one reader is kept busy until the other sequence is through.
  std::promise<void> disk;
  std::vector<UnitRead> reads(1);
  const auto hang = rig.store().StartUnits(
      reads, BlockShape(), UnitPriority::kForeground,
      [free = disk.get_future().share()](std::span<const UnitRead>) { free.wait(); });
  const uint64_t slow = rig.Start("s", next, kStep);
  const uint64_t fast = rig.Start("other", other, kStep);
  const JobTrace passing = rig.recorder().Wait(fast);
  disk.set_value();
  const JobTrace parked = rig.recorder().Wait(slow);
  RequireSame(parked, twin.Generate("s", next, kStep));
  RequireSame(passing, twin.Generate("o", other, kStep));
  REQUIRE(parked.report.parked > 0);
  REQUIRE(parked.waited_for >= parked.report.parked);
  REQUIRE(parked.report.rows.late >= parked.report.parked);
}

/// Flips a bit in every value of a family, through RocksDB itself; how many.
int FlipValues(const std::string& path, const std::string& family_name) {
  rocksdb::DB* opened = nullptr;
  std::vector<rocksdb::ColumnFamilyHandle*> families;
  std::vector<std::string> names;
  REQUIRE(rocksdb::DB::ListColumnFamilies({}, path + "/db", &names).ok());
  std::vector<rocksdb::ColumnFamilyDescriptor> wanted;
  for (const std::string& name : names) wanted.emplace_back(name, rocksdb::ColumnFamilyOptions());
  REQUIRE(rocksdb::DB::Open({}, path + "/db", wanted, &families, &opened).ok());
  const std::unique_ptr<rocksdb::DB> db(opened);
  int changed = 0;
  for (rocksdb::ColumnFamilyHandle* family : families) {
    if (family->GetName() == family_name) {
      const std::unique_ptr<rocksdb::Iterator> entry(db->NewIterator({}, family));
      for (entry->SeekToFirst(); entry->Valid(); entry->Next(), ++changed) {
        std::string value = entry->value().ToString();
        value[value.size() / 2] ^= 4;
        REQUIRE(db->Put({}, family, entry->key(), value).ok());
      }
    }
    REQUIRE(db->DestroyColumnFamilyHandle(family).ok());
  }
  return changed;
}

TEST_CASE("damaged units are computed again when a step selects them") {
  const std::vector<int32_t> context = RigTokens(1800);
  const std::vector<int32_t> next = Joined(context, RigTokens(20, 3));
  JobTrace expected;
  {
    expected = EngineRig("").Generate("s", next, kStep);
  }
  for (const bool lazy : {true, false}) {
    for (const CheckpointPolicy policy : {CheckpointPolicy::kPeriodic, CheckpointPolicy::kZero}) {
      CAPTURE(lazy, static_cast<int>(policy));
      const TempDirectory folder;
      const RigOptions options = With({.lazy = lazy, .policy = policy});
      {
        EngineRig(folder.File("kv"), options).Prefetch("s", context);
      }
      REQUIRE(FlipValues(folder.File("kv"), "rows") == 1800 / 256 * 2);
      EngineRig rig(folder.File("kv"), options);
      const JobTrace trace = rig.Generate("s", next, kStep, 1800);
      RequireSame(trace, expected);
      REQUIRE(trace.report.recomputed >= 256);
      REQUIRE(Says(trace, "recomputed"));
      REQUIRE(Says(trace, "unit"));
      // Loading all mends all.
      rig.Prefetch("s", next);
      rig.WaitForStorage();
      REQUIRE(Must(rig.store().Verify()).problems.empty());
    }
  }
}

TEST_CASE("release frees the blocks of a sequence that nobody shares") {
  const TempDirectory folder;
  EngineRig rig(folder.File("kv"), With({}));
  const std::vector<int32_t> context = RigTokens(1500);
  rig.Prefetch("a", context);
  rig.Prefetch("b", context);
  rig.WaitForStorage();
  const int64_t full = rig.engine().kv_ram_bytes();
  REQUIRE(full > 0);
  REQUIRE(rig.engine().LiveKeys().size() == 10);
  rig.engine().Release("a");
  REQUIRE(rig.engine().LiveKeys().size() == 5);  // comes after the release
  REQUIRE(rig.engine().kv_ram_bytes() == full);
  rig.engine().Release("b");
  REQUIRE(rig.engine().LiveKeys().empty());
  REQUIRE(rig.engine().kv_ram_bytes() == 0);
  REQUIRE(rig.engine().resident() == 0);
  const JobTrace again = rig.Prefetch("a", context);
  REQUIRE(again.report.reused_disk == 1500);
}

TEST_CASE("blocks of sequences that left stay in RAM within the budget") {
  const TempDirectory folder;
  const KvLayout layout = KvLayout::Make(RigModel().config(), RigModel().row_format());
  RigOptions options = With({.ram_bytes = 9 * layout.block_bytes});
  options.engine.resident_sequences_max = 1;
  EngineRig rig(folder.File("kv"), options);
  const std::vector<int32_t> a = RigTokens(1100, 1);
  const std::vector<int32_t> b = RigTokens(1100, 2);
  const std::vector<int32_t> c = RigTokens(1100, 3);
  for (const auto& [name, tokens] : {std::pair{"a", a}, {"b", b}}) {
    rig.Prefetch(name, tokens);
    rig.WaitForStorage();
  }
  REQUIRE(rig.engine().kv_ram_bytes() == 8 * layout.block_bytes);
  REQUIRE(rig.Prefetch("a", a).report.reused_ram == 1024);  // it left, its blocks did not
  rig.WaitForStorage();
  rig.Prefetch("c", c);
  rig.WaitForStorage();
  rig.Prefetch("c", c);  // its sync trims
  REQUIRE(rig.engine().kv_ram_bytes() <= 9 * layout.block_bytes);
  REQUIRE(rig.Prefetch("a", a).report.reused_ram > 0);
}

TEST_CASE("jobs on one sequence run one after another") {
  EngineRig rig("");
  const std::vector<int32_t> context = RigTokens(400);
  const uint64_t first = rig.Start("s", context, kStep);
  const uint64_t second = rig.Start("s", context, kStep);
  const uint64_t third = rig.Start("s", RigTokens(200, 8), kStep);
  const JobTrace expected = rig.recorder().Wait(first);
  RequireSame(rig.recorder().Wait(second), expected);
  REQUIRE(rig.recorder().Wait(third).status.ok());
}

}  // namespace
}  // namespace baleen
