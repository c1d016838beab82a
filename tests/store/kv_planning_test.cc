// What collection, eviction and thinning decide: pure functions against slow obvious rules.
#include <random>
#include <set>

#include "runtime/store/kv_claims.h"
#include "runtime/store/kv_collection.h"
#include "runtime/store/kv_eviction.h"
#include "runtime/store/kv_thinning.h"
#include "tests/store/samples.h"
#include "tests/store/status_checks.h"
#include "tests/testing/temp_directory.h"

namespace baleen {
namespace {

constexpr int64_t kTokens = 4;  // per block

CheckpointEntry EntryAt(int64_t position, uint32_t kinds = kPeriodicCheckpoint) {
  CheckpointEntry entry;
  entry.position = position;
  entry.kinds = kinds;
  entry.bytes = 1;
  return entry;
}

BlockKey Key(int number) {
  BlockKey key{};
  key[0] = static_cast<uint8_t>(number);
  key[1] = static_cast<uint8_t>(number >> 8);
  return key;
}

BlockUsage Block(int number, int64_t bytes = 10) {
  BlockUsage block;
  block.key = Key(number);
  block.number = static_cast<uint64_t>(number);
  block.bytes = bytes;
  return block;
}

KvClaim Claim(std::vector<int> keys, int64_t used_ms, bool held = false) {
  KvClaim claim;
  for (const int key : keys) claim.keys.push_back(Key(key));
  claim.used_ms = used_ms;
  claim.held = held;
  return claim;
}

std::vector<int> Numbers(const std::vector<BlockKey>& keys) {
  std::vector<int> numbers;
  for (const BlockKey& key : keys) numbers.push_back(key[0] | key[1] << 8);
  return numbers;
}

}  // namespace

TEST_CASE("ClaimsNameTheBlocksAndCheckpointsOnATimeline") {
  const std::vector<int32_t> tokens = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  const auto first = NextBlockKey({}, std::span(tokens).first(4), kSampleScope);
  const auto second = NextBlockKey(first, std::span(tokens).subspan(4, 4), kSampleScope);
  std::vector<CheckpointEntry> entries;
  const auto add = [&](const BlockKey& parent, std::vector<int32_t> tail) {
    const TempDirectory temp;  // the store names them
    auto store = Must(KvStore::Open({.path = temp.File("kv")}, nullptr));
    StoredCheckpoint checkpoint;
    checkpoint.position = 100;
    checkpoint.tail_tokens = std::move(tail);
    REQUIRE_OK(store->PutCheckpoint(parent, checkpoint));
    entries.push_back(Must(store->ListAllCheckpoints()).at(0));
  };
  add(second, {9});
  add(second, {10});
  add(first, {});
  add({}, {1, 2, 3});
  add({}, {2});
  add(second, {9, 10, 11});
  const KvClaim claim = KvClaimant(entries, kTokens).Claim(tokens, kSampleScope);
  REQUIRE(claim.keys == std::vector<BlockKey>{first, second});
  REQUIRE(claim.tokens == 10);
  REQUIRE(std::set<size_t>(claim.checkpoints.begin(), claim.checkpoints.end()) ==
          std::set<size_t>{0, 2, 3});
  KvScope other = kSampleScope;
  other.sharing = "another";
  REQUIRE(KvClaimant(entries, kTokens).Claim(tokens, other).keys[0] != first);
  REQUIRE(KvClaimant({}, kTokens).Claim({}, kSampleScope).keys.empty());
  // From one claim to the next only what is new is read.
  KvChain chain;
  int64_t ids_read = 0;
  const KvClaimant claimant(entries, kTokens);
  const auto claim_of = [&](int64_t length) {
    ids_read = 0;
    const auto read = [&](int64_t begin, int64_t count) -> Result<std::vector<int32_t>> {
      ids_read += count;
      return std::vector<int32_t>(tokens.begin() + begin, tokens.begin() + begin + count);
    };
    return Must(claimant.Claim(length, read, kSampleScope, &chain));
  };
  for (const int64_t length : {int64_t{5}, int64_t{8}, int64_t{10}, int64_t{10}, int64_t{3}}) {
    const KvClaim part = claim_of(length);
    const auto whole =
        claimant.Claim(std::span(tokens).first(static_cast<size_t>(length)), kSampleScope);
    CAPTURE(length);
    REQUIRE(part.tokens == length);
    REQUIRE(part.keys == whole.keys);
    REQUIRE(part.checkpoints == whole.checkpoints);
  }
  claim_of(8);
  claim_of(8);
  // Only blocks with a checkpoint that isn't on the timeline: {2}, in the first.
  REQUIRE(ids_read == 4);
}

TEST_CASE("ForkMarksStayWhereATimelineBranchesOff") {
  std::vector<CheckpointEntry> checkpoints = {EntryAt(10), EntryAt(20), EntryAt(30)};
  checkpoints[0].kinds = kForkCheckpoint;
  checkpoints[1].kinds = kForkCheckpoint | kTurnCheckpoint;
  KvClaim origin;
  origin.checkpoints = {0, 1, 2};
  KvClaim fork;
  fork.checkpoints = {0, 1};
  fork.fork_position = 20;
  REQUIRE(PlanForkMarks(checkpoints, std::vector{origin, fork}) == std::vector<size_t>{0});
  fork.fork_position = 10;
  REQUIRE(PlanForkMarks(checkpoints, std::vector{origin, fork}) == std::vector<size_t>{1});
  // The fork is gone.
  REQUIRE(PlanForkMarks(checkpoints, std::vector{origin}) == std::vector<size_t>{0, 1});
}

TEST_CASE("CollectionTakesWhatNobodyClaimsButNothingNewer") {
  const std::vector<BlockUsage> blocks = {Block(1), Block(2), Block(3), Block(4), Block(5)};
  std::vector<CheckpointEntry> checkpoints;
  for (const int parent : {1, 2, 4, 5, 9}) {
    checkpoints.push_back(EntryAt(100));
    checkpoints.back().parent = Key(parent);
  }
  checkpoints.push_back(EntryAt(3));  // Before the first block.
  checkpoints.push_back(EntryAt(4));
  checkpoints.back().created_ms = 50;
  KvClaim claim = Claim({1, 3}, 0);
  claim.checkpoints = {0, 4};  // 4: of a block that isn't there.
  const auto plan = PlanCollection(blocks, checkpoints, {&claim, 1}, 5, 50);
  REQUIRE(Numbers(plan.blocks) == std::vector<int>{2, 4});  // 5 came after the start.
  std::vector<BlockKey> parents;
  for (const auto& entry : plan.checkpoints) parents.push_back(entry.parent);
  REQUIRE(Numbers(parents) == std::vector<int>{2, 4, 5, 9, 0});
  REQUIRE(plan.bytes == 20 + 5);
  REQUIRE(PlanCollection(blocks, checkpoints, {}, 1, 0).blocks.empty());
}

TEST_CASE("EvictionGoesFromTheTailOfTheSessionUsedLongestAgoAndSparesTheHeld") {
  // 1-2 shared by all; 3,4 of the old session, 5,6 of the new, 7 of the held one, which comes
  // later; 8 nobody's.
  const std::vector<BlockUsage> blocks = {Block(1), Block(2), Block(3), Block(4),
                                          Block(5), Block(6), Block(7), Block(8)};
  std::vector<KvClaim> claims = {Claim({1, 2, 3, 4}, 100), Claim({1, 2, 5, 6}, 200)};
  REQUIRE(Numbers(PlanEviction(blocks, {}, claims, 1000).blocks) ==
          std::vector<int>{8, 7, 4, 3, 6, 5, 2, 1});
  REQUIRE(Numbers(PlanEviction(blocks, {}, claims, 25).blocks) == std::vector<int>{8, 7, 4});
  REQUIRE(PlanEviction(blocks, {}, claims, 25).enough);
  REQUIRE(PlanEviction(blocks, {}, claims, 0).blocks.empty());
  claims.push_back(Claim({1, 2, 7}, 0, /*held=*/true));
  const auto plan = PlanEviction(blocks, {}, claims, 1000);
  REQUIRE(Numbers(plan.blocks) == std::vector<int>{8, 4, 3, 6, 5});
  REQUIRE(plan.held_bytes == 30);
  REQUIRE_FALSE(plan.enough);
}

TEST_CASE("EvictionTakesTheCheckpointsBehindABlockButNoHeldOnes") {
  const std::vector<BlockUsage> blocks = {Block(1), Block(2)};
  std::vector<CheckpointEntry> checkpoints = {EntryAt(9), EntryAt(10)};
  checkpoints[0].parent = checkpoints[1].parent = Key(2);
  checkpoints[0].bytes = checkpoints[1].bytes = 100;
  std::vector<KvClaim> claims = {Claim({1, 2}, 1)};
  auto plan = PlanEviction(blocks, checkpoints, claims, 15);
  REQUIRE(Numbers(plan.blocks) == std::vector<int>{2});
  REQUIRE(plan.checkpoints.size() == 2);
  REQUIRE(plan.bytes == 210);
  claims.push_back(Claim({1}, 1, true));
  claims.back().checkpoints = {1};
  plan = PlanEviction(blocks, checkpoints, claims, 1000);
  REQUIRE(plan.checkpoints.size() == 1);
  REQUIRE(plan.held_bytes == 110);
}

TEST_CASE("EvictionNeverLeavesAGapInAChainWhateverItsClaims") {
  const auto seed = std::random_device()();
  CAPTURE(seed);
  std::mt19937 random(seed);
  const auto below = [&](int limit) {
    return static_cast<int>(random() % static_cast<uint32_t>(limit));
  };
  for (int round = 0; round < 300; ++round) {
    // A random tree of blocks; a claim is a path from the root.
    std::vector<int> parent = {-1};
    std::vector<BlockUsage> blocks = {Block(1, 1 + below(20))};
    for (int i = 1; i < 40; ++i) {
      parent.push_back(below(4) == 0 ? below(i) : i - 1);
      blocks.push_back(Block(i + 1, 1 + below(20)));
    }
    std::vector<KvClaim> claims;
    std::set<BlockKey> held;
    for (int i = 0; i < 6; ++i) {
      std::vector<int> path;
      for (int at = below(40); at >= 0; at = parent[static_cast<size_t>(at)])
        path.insert(path.begin(), at + 1);
      claims.push_back(Claim(path, below(5), below(4) == 0));
      if (claims.back().held) held.insert(claims.back().keys.begin(), claims.back().keys.end());
    }
    const auto plan = PlanEviction(blocks, {}, claims, below(400));
    std::set<BlockKey> gone;
    int64_t bytes = 0;
    for (const BlockKey& key : plan.blocks) {
      REQUIRE(held.count(key) == 0);
      REQUIRE(gone.insert(key).second);
      for (const BlockUsage& block : blocks) bytes += block.key == key ? block.bytes : 0;
      for (const KvClaim& claim : claims) {
        bool missing = false;
        for (const BlockKey& of : claim.keys) {
          if (missing) REQUIRE(gone.count(of) == 1);
          missing |= gone.count(of) == 1;
        }
      }
    }
    REQUIRE(bytes == plan.bytes);
  }
}

TEST_CASE("ThinningKeepsAFewThatThinOutWithDistance") {
  for (const int64_t head : {1000, 100'000, 1'000'000, 1'048'576, 4'000'000}) {
    CAPTURE(head);
    std::vector<CheckpointEntry> entries;
    for (int64_t position = 128; position <= head; position += 128) {
      entries.push_back(EntryAt(position));
    }
    const auto drop = PlanThinning(entries, head);
    const int64_t kept = std::ssize(entries) - std::ssize(drop);
    CAPTURE(kept);
    REQUIRE(kept <= kCheckpointsPerMillion * ((head + 999'999) / 1'000'000));
    // Whatever the position, a checkpoint lies at most 3/4 of its distance before it, or near.
    std::set<int64_t> positions = {0};
    for (const auto& entry : entries) positions.insert(entry.position);
    for (const size_t index : drop) positions.erase(entries[index].position);
    REQUIRE(positions.count(entries.back().position) == 1);
    for (int64_t position = 0; position <= head; position += 997) {
      const int64_t before = *std::prev(positions.upper_bound(position));
      CAPTURE(position, before);
      REQUIRE(position - before <= std::max<int64_t>(4096, (head - before) * 3 / 4));
    }
  }
}

TEST_CASE("ThinningPrefersTurnsAndNeverTakesPinsOrForks") {
  std::vector<CheckpointEntry> entries;
  for (int64_t position = 256; position <= 200'000; position += 256) {
    const bool turn = position % 5120 == 0;
    entries.push_back(EntryAt(position, turn ? kTurnCheckpoint : kPeriodicCheckpoint));
  }
  entries.push_back(EntryAt(777, kForkCheckpoint));
  entries.push_back(EntryAt(778, kPinnedCheckpoint | kTurnCheckpoint));
  const auto drop = PlanThinning(entries, 200'000);
  std::set<size_t> gone(drop.begin(), drop.end());
  REQUIRE(gone.count(entries.size() - 1) == 0);
  REQUIRE(gone.count(entries.size() - 2) == 0);
  int periodic_far = 0;
  for (size_t i = 0; i + 2 < entries.size(); ++i) {
    if (gone.count(i) == 0 && entries[i].kinds == 0 && entries[i].position < 150'000)
      ++periodic_far;
  }
  REQUIRE(periodic_far == 0);  // Cells there are wider than a turn.
}

TEST_CASE("PinsMarkTheNewestCheckpointOfAPinnedTimelineAndNoOther") {
  std::vector<CheckpointEntry> entries;
  for (int64_t position = 256; position <= 100'000; position += 256) {
    entries.push_back(EntryAt(position, kPeriodicCheckpoint));
  }
  const auto claim = [&](size_t count, bool pinned) {
    KvClaim made;
    for (size_t i = 0; i < count; ++i) made.checkpoints.push_back(i);
    made.tokens = entries[count - 1].position;
    made.pinned = pinned;
    return made;
  };
  // Two timelines share the first hundred; one is pinned, as it was at its hundredth.
  const auto marks = PlanPins(entries, std::vector{claim(entries.size(), false), claim(100, true)});
  REQUIRE(marks.size() == 1);
  REQUIRE(marks[0].index == 99);
  REQUIRE(marks[0].pinned);
  entries[99].kinds |= kPinnedCheckpoint;
  // It goes on growing: the mark stays where it is, and thinning leaves it.
  const std::vector grown = {claim(entries.size(), true)};
  REQUIRE(PlanPins(entries, grown).empty());
  const auto kept = PlanThinning(entries, grown);
  REQUIRE(std::count(kept.begin(), kept.end(), size_t{99}) == 0);
  // Unpinned: nobody keeps it, and the mark goes.
  const std::vector unpinned = {claim(entries.size(), false)};
  const auto dropped = PlanThinning(entries, unpinned);
  REQUIRE(std::count(dropped.begin(), dropped.end(), size_t{99}) == 1);
  const auto cleared = PlanPins(entries, unpinned);
  REQUIRE(cleared.size() == 1);
  REQUIRE(cleared[0].index == 99);
  REQUIRE_FALSE(cleared[0].pinned);
}

TEST_CASE("ThinningAsItGrowsKeepsAsMuchAsThinningAtOnce") {
  // Dropping early must not take what would be kept later.
  const int64_t head = 600'000;
  std::vector<CheckpointEntry> grown;
  std::vector<CheckpointEntry> all;
  for (int64_t position = 4096; position <= head; position += 4096) {
    const CheckpointEntry entry =
        EntryAt(position, position % 3 == 0 ? kTurnCheckpoint : kPeriodicCheckpoint);
    all.push_back(entry);
    grown.push_back(entry);
    const auto drop = PlanThinning(grown, position);
    for (auto index = drop.rbegin(); index != drop.rend(); ++index) {
      grown.erase(grown.begin() + static_cast<int64_t>(*index));
    }
  }
  const auto drop = PlanThinning(all, head / 4096 * 4096);
  for (auto index = drop.rbegin(); index != drop.rend(); ++index) {
    all.erase(all.begin() + static_cast<int64_t>(*index));
  }
  std::vector<int64_t> once;
  std::vector<int64_t> often;
  for (const auto& entry : all) once.push_back(entry.position);
  for (const auto& entry : grown) often.push_back(entry.position);
  REQUIRE(once == often);
}

TEST_CASE("ASharedCheckpointGoesOnlyWhenAllItsTimelinesLetIt") {
  std::vector<CheckpointEntry> entries;
  for (int64_t position = 256; position <= 100'096; position += 256) {
    entries.push_back(EntryAt(position));
  }
  std::vector<KvClaim> claims(2);
  claims[0].tokens = 100'096;
  claims[1].tokens = 10'240;  // A fork from early on: all that is near to it is far from the other.
  for (size_t i = 0; i < entries.size(); ++i) {
    claims[0].checkpoints.push_back(i);
    if (entries[i].position <= claims[1].tokens) claims[1].checkpoints.push_back(i);
  }
  const auto alone = PlanThinning(entries, std::span(claims).first(1));
  const auto both = PlanThinning(entries, claims);
  REQUIRE(both.size() < alone.size());
  REQUIRE(PlanThinning(entries, std::span<const KvClaim>{}).empty());  // Nobody's: not to thin.
}

}  // namespace baleen
