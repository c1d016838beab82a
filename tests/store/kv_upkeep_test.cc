// Giving space back, copies of the store, and the executor of collection, thinning and eviction.
#include "runtime/store/kv_upkeep.h"

#include <filesystem>
#include <future>
#include <thread>

#include "runtime/store/kv_store.h"
#include "tests/store/samples.h"
#include "tests/store/status_checks.h"
#include "tests/testing/temp_directory.h"

namespace baleen {
namespace {

constexpr int64_t kBlockBytes = 64 << 10;
constexpr int64_t kBlockTokens = 256;

/// A chain of blocks that only its session has.
struct Session {
  std::vector<int32_t> tokens;
  std::vector<BlockKey> keys;
  std::vector<StoredBlock> blocks;
};

Session MakeSession(int64_t number, int64_t blocks) {
  Session session;
  BlockKey parent{};
  for (int64_t i = 0; i < blocks; ++i) {
    session.blocks.push_back(SampleUnitBlock(number * 1000 + i, kBlockBytes));
    const auto& tokens = session.blocks.back().tokens;
    session.tokens.insert(session.tokens.end(), tokens.begin(), tokens.end());
    parent = NextBlockKey(parent, tokens, kSampleScope);
    session.keys.push_back(parent);
  }
  return session;
}

void Put(KvStore& store, const Session& session, size_t i) {
  const StoredBlock& block = session.blocks[i];
  REQUIRE_OK(store.PutBlock(session.keys[i], block.tokens, ShapeOf(block), block.bytes));
}

void PutCheckpointAfter(KvStore& store, const Session& session, size_t i, uint32_t kinds = 0) {
  StoredCheckpoint checkpoint = SampleCheckpoint(static_cast<int64_t>(i));
  checkpoint.kinds = kinds;
  REQUIRE_OK(store.PutCheckpoint(session.keys[i], checkpoint));
}

/// The sessions' blocks in turn, flushed every eight: as sessions write that grow together.
void PutTogether(KvStore& store, const std::vector<Session>& sessions) {
  for (size_t i = 0; i < sessions[0].keys.size(); ++i) {
    for (const Session& session : sessions) Put(store, session, i);
    if (i % 8 == 7) REQUIRE_OK(store.Flush());
  }
  REQUIRE_OK(store.Flush());
}

void RequireStored(KvStore& store, const Session& session, size_t blocks) {
  for (size_t i = 0; i < session.keys.size(); ++i) {
    CAPTURE(i, blocks);
    REQUIRE(store.HasBlock(session.keys[i]) == (i < blocks));
    if (i >= blocks) continue;
    REQUIRE(Must(store.GetBlock(session.keys[i], session.blocks[i].tokens)).bytes ==
            session.blocks[i].bytes);
  }
}

size_t StoredBlocks(KvStore& store, const Session& session) {
  size_t count = 0;
  for (const BlockKey& key : session.keys) count += store.HasBlock(key) ? 1 : 0;
  return count;
}

/// Claims of sessions; the first `held` of them are open.
KvUpkeep::Claims ClaimsOf(const std::vector<Session>& sessions, size_t held) {
  return [&sessions, held](const KvClaimant& claimant) -> Result<std::vector<KvClaim>> {
    std::vector<KvClaim> claims;
    for (size_t i = 0; i < sessions.size(); ++i) {
      claims.push_back(claimant.Claim(sessions[i].tokens, kSampleScope));
      claims.back().used_ms = static_cast<int64_t>(i);
      claims.back().held = i < held;
    }
    return claims;
  };
}

}  // namespace

TEST_CASE("ReclaimGivesDroppedBlocksSpaceBackAndKeepsTheRest") {
  const TempDirectory temp;
  const std::string path = temp.File("kv");
  std::vector<Session> sessions = {MakeSession(1, 64), MakeSession(2, 64)};
  {
    auto store = Must(KvStore::Open({.path = path}, nullptr));
    PutTogether(*store, sessions);
    const int64_t before = Must(store->BytesOnDisk());
    REQUIRE(Must(store->Reclaim(0.2, 100)).files == 0);  // Nothing is dead.
    // Half of every file, so that all are rewritten.
    REQUIRE_OK(store->DropBlocks(sessions[0].keys, DropReason::kRequested));
    const auto report = Must(store->Reclaim(0.2, 100));
    CAPTURE(before, report.files, report.bytes_freed);
    REQUIRE(report.files > 4);
    REQUIRE_FALSE(report.more);
    const int64_t after = Must(store->BytesOnDisk());
    REQUIRE(after < before * 56 / 100);
    RequireStored(*store, sessions[0], 0);
    RequireStored(*store, sessions[1], 64);
    REQUIRE(Must(store->Verify()).problems.empty());
    REQUIRE(Must(store->Reclaim(0.2, 100)).files == 0);
    // All: files go unread.
    REQUIRE_OK(store->DropBlocks(sessions[1].keys, DropReason::kRequested));
    REQUIRE(Must(store->Reclaim(0.2, 1)).more);
    REQUIRE(Must(store->Reclaim(0.2, 100)).files >= 1);  // The others were joined.
    REQUIRE(Must(store->BytesOnDisk()) < before / 20);
    Put(*store, sessions[0], 0);
  }
  auto store = Must(KvStore::Open({.path = path}, nullptr));
  RequireStored(*store, sessions[0], 1);
  RequireStored(*store, sessions[1], 0);
  REQUIRE(Must(store->Verify()).problems.empty());
}

TEST_CASE("ReclaimRunsBesidePutsAndReads") {
  const TempDirectory temp;
  auto store = Must(KvStore::Open({.path = temp.File("kv")}, nullptr));
  std::vector<Session> sessions = {MakeSession(1, 48), MakeSession(2, 48)};
  const Session grown = MakeSession(3, 48);
  PutTogether(*store, sessions);
  std::vector<Status> results(2);
  {
    std::jthread writer([&] {
      for (size_t i = 0; i < grown.keys.size() && results[0].ok(); ++i) {
        const StoredBlock& block = grown.blocks[i];
        results[0] = store->PutBlock(grown.keys[i], block.tokens, ShapeOf(block), block.bytes);
        if (results[0].ok() && i % 8 == 7) results[0] = store->Flush();
      }
    });
    std::jthread reader([&] {
      for (size_t i = 0; i < 200 && results[1].ok(); ++i) {
        const StoredBlock& block = sessions[1].blocks[i % 48];
        const auto read = store->LoadBlock(sessions[1].keys[i % 48], block.tokens, ShapeOf(block));
        results[1] = read.status();
        if (read.ok() && *read != block.bytes) results[1] = DataLossError("other bytes");
      }
    });
    for (size_t i = 0; i < 48; i += 4) {
      REQUIRE_OK(
          store->DropBlocks(std::span(sessions[0].keys).subspan(i, 4), DropReason::kRequested));
      REQUIRE_OK(store->Reclaim(0.1, 2));
    }
  }
  for (const Status& status : results) REQUIRE_OK(status);
  RequireStored(*store, sessions[1], 48);
  RequireStored(*store, grown, 48);
  REQUIRE(Must(store->Verify()).problems.empty());
}

TEST_CASE("ReclaimMeetsADamagedFileAndDropsOnlyWhatLayInIt") {
  const TempDirectory temp;
  const std::string path = temp.File("kv");
  std::vector<Session> sessions = {MakeSession(1, 64)};
  PutTogether(*Must(KvStore::Open({.path = path}, nullptr)), sessions);
  // The largest file: rows.
  std::filesystem::path largest;
  uintmax_t size = 0;
  for (const auto& file : std::filesystem::directory_iterator(path + "/db")) {
    if (!file.is_regular_file() || file.file_size() <= size) continue;
    size = file.file_size();
    largest = file.path();
  }
  {
    FILE* file = std::fopen(largest.c_str(), "r+b");
    REQUIRE(file != nullptr);
    REQUIRE(std::fseek(file, static_cast<long>(size / 2), SEEK_SET) == 0);
    REQUIRE(std::fwrite("\x5a\xa5\x5a\xa5", 4, 1, file) == 1);
    REQUIRE(std::fclose(file) == 0);
  }
  auto store = Must(KvStore::Open({.path = path}, nullptr));
  REQUIRE_FALSE(Must(store->Verify()).problems.empty());
  // One dead block in each file, so that all are looked at.
  std::vector<BlockKey> some;
  for (size_t i = 0; i < 64; i += 3) some.push_back(sessions[0].keys[i]);
  REQUIRE_OK(store->DropBlocks(some, DropReason::kRequested));
  int64_t damaged = 0;
  for (int round = 0; round < 5; ++round) damaged += Must(store->Reclaim(0.1, 100)).blocks_damaged;
  REQUIRE(damaged > 0);
  REQUIRE(damaged < 16);
  REQUIRE(Must(store->Verify()).problems.empty());
  // And the store still takes what is recomputed.
  for (size_t i = 0; i < 64; ++i) Put(*store, sessions[0], i);
  REQUIRE_OK(store->Flush());
  RequireStored(*store, sessions[0], 64);
}

TEST_CASE("CompactJoinsSmallFiles") {
  const TempDirectory temp;
  const std::string path = temp.File("kv");
  auto store = Must(KvStore::Open({.path = path}, nullptr));
  const Session session = MakeSession(1, 40);
  for (size_t i = 0; i < 40; ++i) {
    Put(*store, session, i);
    REQUIRE_OK(store->Flush());  // A turn of one block each.
  }
  const auto files = [&] {
    int count = 0;
    for (const auto& file : std::filesystem::directory_iterator(path + "/db")) {
      count += file.path().extension() == ".sst" ? 1 : 0;
    }
    return count;
  };
  const int before = files();
  REQUIRE_OK(store->Compact());
  CAPTURE(before, files());
  REQUIRE(files() < before / 3);
  RequireStored(*store, session, 40);
  REQUIRE(Must(store->Verify()).problems.empty());
}

TEST_CASE("ABackupOpensAsTheStoreWasAndGoesItsOwnWay") {
  const TempDirectory temp;
  const Session session = MakeSession(1, 20);
  auto store = Must(KvStore::Open({.path = temp.File("kv")}, nullptr));
  for (size_t i = 0; i < 10; ++i) Put(*store, session, i);
  PutCheckpointAfter(*store, session, 9);
  REQUIRE_OK(store->Backup(temp.File("copy")));
  REQUIRE_ERROR(store->Backup(temp.File("copy")), StatusCode::kAlreadyExists, "copy");
  REQUIRE_ERROR(store->Backup(temp.File("no/parent")), StatusCode::kNotFound, "no/parent");
  for (size_t i = 10; i < 20; ++i) Put(*store, session, i);
  auto copy = Must(KvStore::Open({.path = temp.File("copy")}, nullptr));
  RequireStored(*copy, session, 10);
  REQUIRE(Must(copy->ListAllCheckpoints()).size() == 1);
  REQUIRE(Must(copy->Verify()).problems.empty());
  REQUIRE_OK(copy->DropBlocks(session.keys, DropReason::kRequested));
  REQUIRE_OK(copy->Compact());
  RequireStored(*store, session, 20);
}

TEST_CASE("ASweepSparesWhatIsUsedSinceItBegan") {
  const TempDirectory temp;
  auto store = Must(KvStore::Open({.path = temp.File("kv")}, nullptr));
  const Session session = MakeSession(1, 5);
  for (size_t i = 0; i < 4; ++i) Put(*store, session, i);
  const SweepStart start = store->BeginSweep();
  REQUIRE(start.number == 5);
  Put(*store, session, 1);  // Again, by another session.
  std::vector<std::byte> out(static_cast<size_t>(ShapeOf(session.blocks[2]).extent(0).bytes));
  UnitRead read;
  read.key = session.keys[2];
  read.out = out;
  read.tokens = session.blocks[2].tokens;
  REQUIRE_OK(store->LoadUnits({&read, 1}, ShapeOf(session.blocks[2])));
  REQUIRE(Must(store->SweepBlocks(session.keys, start, DropReason::kCollected, 0)) == 2);
  REQUIRE_FALSE(store->HasBlock(session.keys[0]));
  REQUIRE(store->HasBlock(session.keys[1]));
  REQUIRE(store->HasBlock(session.keys[2]));
  REQUIRE_FALSE(store->HasBlock(session.keys[3]));
  REQUIRE(store->MissReason(session.keys[0]).find("no session referred") != std::string::npos);
  // The next sweep takes them.
  const SweepStart next = store->BeginSweep();
  REQUIRE(Must(store->SweepBlocks(session.keys, next, DropReason::kCollected, 0)) == 2);
}

TEST_CASE("TombstonesAreBoundedAndTheOldestGoFirst") {
  const TempDirectory temp;
  const std::string path = temp.File("kv");
  int64_t now = 1000;
  auto store = Must(KvStore::Open({.path = path, .now_ms = [&] { return now; }}, nullptr));
  std::vector<BlockKey> keys;
  const std::vector<int32_t> ids = {1};
  const std::vector<std::byte> bytes(64);
  const BlockShape shape = Must(BlockShape::Make({{"a", 64, 1, 0}}, 64));
  BlockKey key{};
  for (int i = 0; i < 16'400; ++i) {
    key = NextBlockKey(key, ids, kSampleScope);
    keys.push_back(key);
    REQUIRE_OK(store->PutBlock(key, ids, shape, bytes));
  }
  for (const BlockKey& one : keys) {
    ++now;
    REQUIRE_OK(store->DropBlocks({&one, 1}, DropReason::kRequested));
  }
  REQUIRE(store->MissReason(keys[0]) == "never stored");
  REQUIRE(store->MissReason(keys[15]) == "never stored");
  REQUIRE(store->MissReason(keys[16]) == "dropped at 1970-01-01T00:00:01Z on request");
  REQUIRE(Must(store->Verify()).problems.empty());
}

TEST_CASE("UpkeepCollectsWhatNoSessionHas") {
  const TempDirectory temp;
  auto store = Must(KvStore::Open({.path = temp.File("kv")}, nullptr));
  std::vector<Session> sessions = {MakeSession(1, 32), MakeSession(2, 32)};
  PutTogether(*store, sessions);
  for (const Session& session : sessions) PutCheckpointAfter(*store, session, 31);
  const int64_t before = Must(store->BytesOnDisk());
  std::vector<Session> left = {sessions[1]};
  KvUpkeep upkeep(store.get(), {.block_tokens = kBlockTokens}, ClaimsOf(left, 0));
  std::promise<Result<KvUpkeepReport>> promise;
  upkeep.Schedule([&](const Result<KvUpkeepReport>& result) { promise.set_value(result); });
  const KvUpkeepReport report = Must(promise.get_future().get());
  REQUIRE(report.blocks_collected == 32);
  REQUIRE(report.checkpoints_collected == 1);
  REQUIRE(report.bytes_freed > before / 3);
  REQUIRE(report.notes.empty());
  RequireStored(*store, sessions[0], 0);
  RequireStored(*store, sessions[1], 32);
  REQUIRE(Must(store->ListAllCheckpoints()).size() == 1);
  // Nothing is dropped on the word of claims that failed.
  KvUpkeep failing(store.get(), {.block_tokens = kBlockTokens},
                   [](const KvClaimant&) -> Result<std::vector<KvClaim>> {
                     return UnavailableError("the journal is closed");
                   });
  REQUIRE_ERROR(failing.Run(), StatusCode::kUnavailable, "journal");
  RequireStored(*store, sessions[1], 32);
}

TEST_CASE("UpkeepThinsCheckpointsOfLongTimelines") {
  const TempDirectory temp;
  auto store = Must(KvStore::Open({.path = temp.File("kv")}, nullptr));
  std::vector<Session> sessions = {MakeSession(1, 200)};
  for (size_t i = 0; i < 200; ++i) {
    Put(*store, sessions[0], i);
    PutCheckpointAfter(*store, sessions[0], i, i == 17 ? kForkCheckpoint : kPeriodicCheckpoint);
  }
  int64_t fork_position = 0;
  for (const CheckpointEntry& entry : Must(store->ListAllCheckpoints())) {
    if ((entry.kinds & kForkCheckpoint) != 0) fork_position = entry.position;
  }
  REQUIRE(fork_position > 0);
  KvUpkeep upkeep(store.get(), {.block_tokens = kBlockTokens}, [&](const KvClaimant& claimant) {
    auto claims = ClaimsOf(sessions, 1)(claimant);
    claims->back().fork_position = fork_position;
    return claims;
  });
  const KvUpkeepReport report = Must(upkeep.Run());
  const auto left = Must(store->ListAllCheckpoints());
  REQUIRE(report.checkpoints_thinned + std::ssize(left) == 200);
  REQUIRE(std::ssize(left) <= 33);
  REQUIRE(store->FindCheckpoints(sessions[0].keys[17], {}, nullptr)->size() == 1);
  REQUIRE(store->FindCheckpoints(sessions[0].keys[199], {}, nullptr)->size() == 1);
  RequireStored(*store, sessions[0], 200);
  REQUIRE(Must(upkeep.Run()).checkpoints_thinned == 0);
  // The fork is gone, and with it the reason.
  fork_position = 0;
  REQUIRE(Must(upkeep.Run()).checkpoints_thinned == 1);
  REQUIRE(store->FindCheckpoints(sessions[0].keys[17], {}, nullptr)->empty());
}

TEST_CASE("UpkeepThinsAsASessionGrowsAndKeepsWhatAPinMarked") {
  const TempDirectory temp;
  auto store = Must(KvStore::Open({.path = temp.File("kv")}, nullptr));
  std::vector<Session> sessions = {MakeSession(1, 130)};
  std::atomic<int> runs{0};
  std::atomic<bool> pinned{true};
  std::promise<void> second;
  KvUpkeep upkeep(store.get(), {.block_tokens = kBlockTokens}, [&](const KvClaimant& claimant) {
    auto claims = ClaimsOf(sessions, 1)(claimant);
    for (KvClaim& claim : *claims) claim.pinned = pinned;
    if (++runs == 2) second.set_value();
    return claims;
  });
  for (size_t i = 0; i < 60; ++i) {
    Put(*store, sessions[0], i);
    PutCheckpointAfter(*store, sessions[0], i, kPeriodicCheckpoint);
    upkeep.ScheduleIfDue();
  }
  Must(upkeep.Run());
  REQUIRE(runs == 1);  // Only the one that was asked for.
  const auto kinds_at = [&](size_t block) {
    const auto found = Must(store->FindCheckpoints(sessions[0].keys[block], {}, nullptr));
    return found.empty() ? int64_t{-1} : int64_t{found[0].kinds};
  };
  REQUIRE(kinds_at(59) == kPinnedCheckpoint);
  for (size_t i = 60; i < 130; ++i) {
    Put(*store, sessions[0], i);
    PutCheckpointAfter(*store, sessions[0], i, kPeriodicCheckpoint);
    upkeep.ScheduleIfDue();
  }
  REQUIRE(second.get_future().wait_for(std::chrono::minutes(2)) == std::future_status::ready);
  Must(upkeep.Run());
  REQUIRE(std::ssize(Must(store->ListAllCheckpoints())) <= 33);
  REQUIRE(kinds_at(59) == kPinnedCheckpoint);
  pinned = false;
  Must(upkeep.Run());
  REQUIRE(kinds_at(59) != kPinnedCheckpoint);
}

TEST_CASE("UpkeepEvictsDownToItsQuotaFromTheTailOfOldSessions") {
  const TempDirectory temp;
  auto store = Must(KvStore::Open({.path = temp.File("kv")}, nullptr));
  // Used longest ago first; the first is open all the same.
  std::vector<Session> sessions = {MakeSession(1, 40), MakeSession(2, 40), MakeSession(3, 40),
                                   MakeSession(4, 40)};
  PutTogether(*store, sessions);
  const int64_t full = Must(store->BytesOnDisk());
  const int64_t quota = full * 6 / 10;
  KvUpkeep upkeep(store.get(), {.block_tokens = kBlockTokens, .quota_bytes = quota},
                  ClaimsOf(sessions, 1));
  const KvUpkeepReport report = Must(upkeep.Run());
  CAPTURE(full, quota, report.bytes_on_disk, report.blocks_evicted, report.notes);
  REQUIRE(report.bytes_on_disk <= quota);
  REQUIRE(report.bytes_on_disk >= quota / 2);
  REQUIRE(report.notes.empty());
  RequireStored(*store, sessions[0], 40);
  RequireStored(*store, sessions[3], 40);
  const size_t second = StoredBlocks(*store, sessions[1]);
  const size_t third = StoredBlocks(*store, sessions[2]);
  REQUIRE(second == 0);
  REQUIRE(third < 40);
  RequireStored(*store, sessions[2], third);  // A prefix.
  const std::string reason = store->MissReason(sessions[1].keys[0]);
  REQUIRE(reason.find("under the quota of " + std::to_string(quota)) != std::string::npos);
  REQUIRE(Must(store->Verify()).problems.empty());
  REQUIRE(Must(upkeep.Run()).blocks_evicted == 0);
}

TEST_CASE("AQuotaSmallerThanWhatIsOpenSaysSoAndTakesNothingOfIt") {
  const TempDirectory temp;
  auto store = Must(KvStore::Open({.path = temp.File("kv")}, nullptr));
  std::vector<Session> sessions = {MakeSession(1, 32), MakeSession(2, 32)};
  PutTogether(*store, sessions);
  KvUpkeep upkeep(store.get(), {.block_tokens = kBlockTokens, .quota_bytes = 100'000},
                  ClaimsOf(sessions, 1));
  const KvUpkeepReport report = Must(upkeep.Run());
  REQUIRE(report.blocks_evicted == 32);
  REQUIRE(report.notes.size() == 1);
  CAPTURE(report.notes);
  REQUIRE(report.notes[0].find("quota of 100000 bytes is smaller than") != std::string::npos);
  REQUIRE(report.notes[0].find("raise the quota") != std::string::npos);
  RequireStored(*store, sessions[0], 32);
  RequireStored(*store, sessions[1], 0);
}

TEST_CASE("AClockThatGoesBackwardsLosesNothing") {
  const TempDirectory temp;
  int64_t now = 2'000'000'000'000;
  auto store =
      Must(KvStore::Open({.path = temp.File("kv"), .now_ms = [&] { return now; }}, nullptr));
  std::vector<Session> sessions = {MakeSession(1, 8), MakeSession(2, 8)};
  PutTogether(*store, sessions);
  for (size_t i = 0; i < 8; ++i) PutCheckpointAfter(*store, sessions[0], i);
  now = 1'000'000'000'000;
  KvUpkeep upkeep(store.get(), {.block_tokens = kBlockTokens}, ClaimsOf(sessions, 0));
  REQUIRE_OK(upkeep.Run());
  RequireStored(*store, sessions[0], 8);
  RequireStored(*store, sessions[1], 8);
  REQUIRE(Must(store->ListAllCheckpoints()).size() >= 2);
  for (const BlockUsage& block : Must(store->ListBlocks())) {
    REQUIRE(block.used_ms == 2'000'000'000'000);
  }
  REQUIRE_OK(store->DropBlocks(sessions[1].keys, DropReason::kQuota, 5));
  REQUIRE(store->MissReason(sessions[1].keys[0]).find("2001-09-09") != std::string::npos);
}

}  // namespace baleen
