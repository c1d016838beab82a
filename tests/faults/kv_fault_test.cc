// The KV store on a disk that fails: operations of a scenario in turn, in each way that a disk can
// fail, and a power cut at each. What was flushed is there; nothing is ever read that was not put.
#include <iostream>
#include <set>

#include "runtime/store/kv_store.h"
#include "tests/faults/fault_file_system.h"
#include "tests/store/samples.h"
#include "tests/store/status_checks.h"
#include "tests/testing/temp_directory.h"

namespace baleen {
namespace {

constexpr int64_t kBlocks = 6;

StoredBlock BlockNumber(int64_t number) { return SampleUnitBlock(number, 8 << 10); }

BlockKey KeyOf(int64_t number) {
  return NextBlockKey({}, BlockNumber(number).tokens, kSampleScope);
}

/// A clear error names the store and what to do.
void CheckClear(const Status& status, const std::string& path) {
  CAPTURE(status.ToString());
  const StatusCode code = status.code();
  REQUIRE((code == StatusCode::kInternal || code == StatusCode::kResourceExhausted ||
           code == StatusCode::kFailedPrecondition || code == StatusCode::kDataLoss));
  REQUIRE(status.message().find(path) != std::string::npos);
  const bool says_what_to_do = status.message().find("reopen") != std::string::npos ||
                               status.message().find("delete the") != std::string::npos ||
                               status.message().find("recompute") != std::string::npos;
  REQUIRE(says_what_to_do);
}

/// A store on a disk, and what it promised.
struct Run {
  explicit Run(const std::string& folder)
      : path(folder + "/kv"),
        disk(std::make_unique<FaultyDisk>(folder)),
        files(FaultFileSystem(disk.get())) {}

  Status Open() {
    auto opened = KvStore::Open({.path = path, .file_system = &files}, nullptr);
    // The stamp is written and synced by system calls, before the database.
    disk->Keep(path + "/FORMAT");
    RETURN_IF_ERROR(opened.status());
    store = std::move(*opened);
    return OkStatus();
  }
  Status Put(int64_t number) {
    const StoredBlock block = BlockNumber(number);
    RETURN_IF_ERROR(store->PutBlock(KeyOf(number), block.tokens, ShapeOf(block), block.bytes));
    dropped.erase(number);
    return store->PutCheckpoint(KeyOf(number), SampleCheckpoint(number));
  }
  Status Flush(int64_t blocks) {
    RETURN_IF_ERROR(store->Flush());
    flushes.push_back(std::ssize(disk->log()));
    for (int64_t i = 0; i < blocks; ++i) flushed.insert(i);
    for (const int64_t gone : dropped) flushed.erase(gone);
    return OkStatus();
  }
  Status Drop(int64_t number) {
    // From here on it may be there or not.
    flushed.erase(number);
    dropped.insert(number);
    const BlockKey key = KeyOf(number);
    return store->DropBlocks({&key, 1}, DropReason::kRequested);
  }

  /// Blocks put and flushed in parts, one dropped, a close and a new beginning in between.
  Status Scenario() {
    RETURN_IF_ERROR(Open());
    RETURN_IF_ERROR(Put(0));
    RETURN_IF_ERROR(Put(1));
    RETURN_IF_ERROR(Flush(2));
    RETURN_IF_ERROR(Put(2));
    RETURN_IF_ERROR(Drop(1));
    RETURN_IF_ERROR(Flush(3));
    store.reset();
    RETURN_IF_ERROR(Open());
    for (int64_t i = 3; i < kBlocks; ++i) {
      RETURN_IF_ERROR(Put(i));
      RETURN_IF_ERROR(Flush(i + 1));
    }
    return OkStatus();
  }

  const std::string path;
  std::unique_ptr<FaultyDisk> disk;
  KvFileSystem files;
  std::unique_ptr<KvStore> store;
  std::set<int64_t> flushed;  ///< Blocks that must survive anything.
  std::set<int64_t> dropped;
  std::vector<int64_t> flushes;  ///< Operations until each was acknowledged.
};

/// What of `expected` the store at `path` doesn't give back, as it was put. A block that comes back
/// with other bytes fails the test at once.
enum class Reopening { kMust, kMayRefuse };
std::set<int64_t> Missing(const std::string& folder, const std::set<int64_t>& expected,
                          Reopening reopening) {
  FaultyDisk disk(folder);
  const KvFileSystem files = FaultFileSystem(&disk);
  const std::string path = folder + "/kv";
  auto store = KvStore::Open({.path = path, .file_system = &files}, nullptr);
  if (reopening == Reopening::kMust) REQUIRE_OK(store);
  if (!store.ok()) {
    CheckClear(store.status(), path);
    return expected;
  }
  std::set<int64_t> missing;
  for (int64_t i = 0; i < kBlocks; ++i) {
    const StoredBlock block = BlockNumber(i);
    const auto read = (*store)->GetBlock(KeyOf(i), block.tokens);
    if (read.ok()) REQUIRE(read->bytes == block.bytes);
    if (!read.ok() && expected.contains(i)) missing.insert(i);
    const auto checkpoints = (*store)->FindCheckpoints(KeyOf(i), {}, nullptr);
    if (!checkpoints.ok()) continue;
    for (const StoredCheckpoint& found : *checkpoints) {
      REQUIRE(found.state == SampleCheckpoint(i).state);
    }
    if (checkpoints->empty() && expected.contains(i)) missing.insert(i);
  }
  const auto report = (*store)->Verify();
  if (reopening == Reopening::kMust) {
    CAPTURE(Must((*store)->Verify()).problems);
    REQUIRE(Must((*store)->Verify()).problems.empty());
    // And it goes on.
    const StoredBlock more = BlockNumber(100);
    REQUIRE_OK((*store)->PutBlock(KeyOf(100), more.tokens, ShapeOf(more), more.bytes));
    REQUIRE_OK((*store)->Flush());
  }
  return missing;
}

std::vector<FaultyDisk::Entry> Operations() {
  const MemoryDirectory folder;
  Run run(folder.path());
  REQUIRE_OK(run.Scenario());
  REQUIRE(std::ssize(run.flushed) == kBlocks - 1);
  return run.disk->log();
}

/// The scenario with one fault; then everything is closed and opened anew on a sound disk.
void OneFault(int64_t number, Fault fault) {
  const MemoryDirectory folder;
  std::set<int64_t> flushed;
  {
    Run run(folder.path());
    run.disk->FailAt(number, fault);
    const Status status = run.Scenario();
    if (!status.ok() && fault != Fault::kTornWrite) CheckClear(status, run.path);
    flushed = run.flushed;
    run.store.reset();
  }
  if (fault == Fault::kTornWrite) {
    Missing(folder.path(), {}, Reopening::kMayRefuse);
  } else {
    REQUIRE(Missing(folder.path(), flushed, Reopening::kMust).empty());
  }
}

/// Everything fails from the operation on, and then the power does.
std::set<int64_t> LostByPowerCut(int64_t number, int64_t skipped_sync, Cut cut, Reopening reopening,
                                 std::mt19937_64& random) {
  const MemoryDirectory folder;
  const MemoryDirectory image;
  Run run(folder.path());
  run.disk->FailAt(number, Fault::kNoSpace, true);
  if (skipped_sync >= 0) run.disk->SkipSync(skipped_sync);
  const Status status = run.Scenario();
  if (!status.ok() && skipped_sync < 0) CheckClear(status, run.path);
  run.disk->PowerCut(image.File("cut"), cut, random);
  return Missing(image.File("cut"), run.flushed, reopening);
}

}  // namespace

namespace {

/// Every `stride`th operation of the scenario, from `first` on.
struct Part {
  int64_t first = 0;
  int64_t stride = 1;
};

void SweepFaults(const Part& part) {
  const auto operations = Operations();
  int64_t faults = 0;
  for (int64_t number = part.first; number < std::ssize(operations); number += part.stride) {
    const auto& operation = operations[static_cast<size_t>(number)];
    CAPTURE(number, DiskOpName(operation.op), operation.path);
    OneFault(number, Fault::kIoError);
    // The other ways at each in turn, since all of them everywhere would take minutes.
    const Fault others[] = {Fault::kNoSpace, Fault::kShortWrite, Fault::kTornWrite};
    OneFault(number, operation.op == DiskOp::kWrite ? others[number % 3] : Fault::kNoSpace);
    faults += 2;
  }
  std::cout << "KV store: " << faults << " faults, at every " << part.stride << "th of "
            << operations.size() << " operations from " << part.first << " on\n";
}

void SweepPowerCuts(const Part& part) {
  const auto operations = Operations();
  std::mt19937_64 random(20261127);
  int64_t cuts = 0;
  for (int64_t number = part.first; number < std::ssize(operations); number += part.stride) {
    const auto& operation = operations[static_cast<size_t>(number)];
    CAPTURE(number, DiskOpName(operation.op), operation.path);
    const Cut cut = number % 3 == 0 ? Cut::kNothing : Cut::kSome;
    CAPTURE(static_cast<int>(cut));
    REQUIRE(LostByPowerCut(number, -1, cut, Reopening::kMust, random).empty());
    ++cuts;
  }
  std::cout << "KV store: " << cuts << " power cuts, at every " << part.stride << "th of "
            << operations.size() << " operations from " << part.first << " on\n";
}

}  // namespace

// A sample in every run. All of them in the long one, in parts, since threads that wait for each
// other take most of the time: `./dev test --long` runs the parts at once.
TEST_CASE("KvStoreSurvivesFaultsOfItsDisk") { SweepFaults({.first = 0, .stride = 4}); }
TEST_CASE("KvStoreKeepsWhatItFlushedThroughAPowerCut") {
  SweepPowerCuts({.first = 0, .stride = 8});
}
#define BALEEN_SWEEP_PART(part)                                                             \
  TEST_CASE("KvStoreSurvivesEveryFaultOfItsDisk, part " #part " of 4", "[.long]") {         \
    SweepFaults({.first = (part) - 1, .stride = 4});                                        \
  }                                                                                         \
  TEST_CASE("KvStoreKeepsWhatItFlushedThroughAPowerCutAtAnyOperation, part " #part " of 4", \
            "[.long]") {                                                                    \
    SweepPowerCuts({.first = (part) - 1, .stride = 4});                                     \
  }
BALEEN_SWEEP_PART(1)
BALEEN_SWEEP_PART(2)
BALEEN_SWEEP_PART(3)
BALEEN_SWEEP_PART(4)
#undef BALEEN_SWEEP_PART

TEST_CASE("WithoutAnyOneSyncOfAFileTheKvStoreWouldLoseWhatItFlushed") {
  std::vector<FaultyDisk::Entry> operations;
  std::vector<int64_t> flushes;
  {
    const MemoryDirectory folder;
    Run run(folder.path());
    REQUIRE_OK(run.Scenario());
    operations = run.disk->log();
    flushes = run.flushes;
  }
  std::mt19937_64 random(7);
  int64_t sync = -1;
  int64_t needed = 0;
  size_t flush = 0;
  // Up to the second flush: from the fourth on RocksDB merges behind our back, in no fixed order.
  for (int64_t number = 0; number < flushes[1]; ++number) {
    if (number >= flushes[flush]) ++flush;
    const auto& operation = operations[static_cast<size_t>(number)];
    if (operation.op != DiskOp::kSync && operation.op != DiskOp::kSyncDirectory) continue;
    ++sync;
    // Tables and the list of tables; RocksDB's other files only describe it.
    const bool table = operation.path.ends_with(".sst");
    const bool list = operation.path.find("MANIFEST") != std::string::npos && flush > 0;
    if (!table && !list) continue;
    CAPTURE(number, sync, operation.path);
    // The power fails right after the flush is acknowledged.
    CHECK_FALSE(
        LostByPowerCut(flushes[flush], sync, Cut::kNothing, Reopening::kMayRefuse, random).empty());
    ++needed;
  }
  REQUIRE(needed >= 5);
}

}  // namespace baleen
