// The KV store against a model of it: random sequences of puts, evictions, flushes, compactions by
// its own, and ends of the process and of the power. What was flushed and not dropped is there;
// what is read is what was put; a block that is gone has a reason.
#include <iostream>
#include <map>
#include <set>

#include "runtime/store/kv_store.h"
#include "tests/faults/fault_file_system.h"
#include "tests/faults/seeds.h"
#include "tests/store/samples.h"
#include "tests/store/status_checks.h"
#include "tests/testing/temp_directory.h"

namespace baleen {
namespace {

constexpr int kSteps = 30;
constexpr int64_t kBlocksMax = 24;

class Walk {
 public:
  explicit Walk(uint64_t seed) : random_(seed) { OpenIn(std::make_unique<MemoryDirectory>()); }

  void Step() {
    const int64_t roll = Draw(100);
    if (roll < 50) return Put(Draw(kBlocksMax));
    if (roll < 62) return Drop(Draw(kBlocksMax));
    if (roll < 85) return Flush();
    End(roll < 90 ? Cut::kEverything : Cut::kSome);
  }

  void Compare() {
    for (int64_t i = 0; i < kBlocksMax; ++i) {
      CAPTURE(i);
      const StoredBlock block = Block(i);
      const auto read = store_->GetBlock(Key(i), block.tokens);
      const auto checkpoints = Must(store_->FindCheckpoints(Key(i), {}, nullptr));
      if (read.ok()) REQUIRE(read->bytes == block.bytes);
      for (const StoredCheckpoint& found : checkpoints) {
        REQUIRE(found.state == SampleCheckpoint(i).state);
      }
      if (flushed_.contains(i) || put_.contains(i)) {
        REQUIRE_OK(read);
        REQUIRE(checkpoints.size() == 1);
      } else if (dropped_.contains(i)) {
        REQUIRE(read.status().code() == StatusCode::kNotFound);
        REQUIRE(store_->MissReason(Key(i)).find("quota") != std::string::npos);
      }
    }
    const auto report = Must(store_->Verify());
    CAPTURE(report.problems);
    REQUIRE(report.problems.empty());
  }

 private:
  int64_t Draw(int64_t below) {
    return static_cast<int64_t>(random_() % static_cast<uint64_t>(below));
  }
  static StoredBlock Block(int64_t number) { return SampleUnitBlock(number, 8 << 10); }
  static BlockKey Key(int64_t number) {
    return NextBlockKey({}, Block(number).tokens, kSampleScope);
  }

  void Put(int64_t number) {
    const StoredBlock block = Block(number);
    REQUIRE_OK(store_->PutBlock(Key(number), block.tokens, ShapeOf(block), block.bytes));
    REQUIRE_OK(store_->PutCheckpoint(Key(number), SampleCheckpoint(number)));
    dropped_.erase(number);
    if (!flushed_.contains(number)) put_.insert(number);
  }
  void Drop(int64_t number) {
    if (!flushed_.contains(number) && !put_.contains(number)) return;
    const BlockKey key = Key(number);
    REQUIRE_OK(store_->DropBlocks({&key, 1}, DropReason::kQuota, 1 << 20));
    flushed_.erase(number);
    put_.erase(number);
    dropped_.insert(number);
  }
  void Flush() {
    REQUIRE_OK(store_->Flush());
    flushed_.insert(put_.begin(), put_.end());
    put_.clear();
  }

  /// kEverything: the process ends. kSome: the power does.
  void End(Cut cut) {
    auto next = std::make_unique<MemoryDirectory>();
    disk_->PowerCut(next->path(), cut, random_);
    store_.reset();
    OpenIn(std::move(next));
    // What wasn't flushed may be there or not, and so may what was dropped since.
    put_.clear();
    dropped_.clear();
    Compare();
  }

  void OpenIn(std::unique_ptr<MemoryDirectory> folder) {
    std::unique_ptr<MemoryDirectory> old = std::move(folder_);
    folder_ = std::move(folder);
    disk_ = std::make_unique<FaultyDisk>(folder_->path());
    files_ = FaultFileSystem(disk_.get());
    store_ = Must(KvStore::Open({.path = folder_->File("kv"), .file_system = &files_}, nullptr));
    disk_->Keep(folder_->File("kv/FORMAT"));
  }

  std::mt19937_64 random_;
  std::set<int64_t> put_;
  std::set<int64_t> flushed_;
  std::set<int64_t> dropped_;
  std::unique_ptr<MemoryDirectory> folder_;
  std::unique_ptr<FaultyDisk> disk_;
  KvFileSystem files_;
  std::unique_ptr<KvStore> store_;
};

}  // namespace

TEST_CASE("KvStoreIsWhatItsModelIsOverRandomHistories") {
  const auto seeds = Seeds(100);
  for (const uint64_t seed : seeds) {
    CAPTURE(seed);
    Walk walk(seed);
    for (int step = 0; step < kSteps; ++step) {
      CAPTURE(step);
      walk.Step();
    }
    walk.Compare();
  }
  std::cout << "KV model: " << seeds.size() << " seeds\n";
}

}  // namespace baleen
