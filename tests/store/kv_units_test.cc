// Units of blocks: read alone, in parallel, by a deadline, behind the caller's back.
#include <rocksdb/file_system.h>

#include <condition_variable>
#include <mutex>

#include "runtime/store/index_codec.h"
#include "runtime/store/kv_file_system.h"
#include "runtime/store/kv_store.h"
#include "tests/store/samples.h"
#include "tests/store/status_checks.h"
#include "tests/testing/temp_directory.h"

namespace baleen {
namespace {

/// A chain of blocks in four units, and memory for all of their bytes.
class Chain {
 public:
  Chain(int64_t blocks, int64_t bytes) {
    BlockKey parent{};
    for (int64_t i = 0; i < blocks; ++i) {
      this->blocks.push_back(SampleUnitBlock(i, bytes));
      parent = NextBlockKey(parent, this->blocks.back().tokens, kSampleScope);
      keys.push_back(parent);
    }
    shape = ShapeOf(this->blocks[0]);
    memory.resize(this->blocks.size(),
                  std::vector<std::byte>(static_cast<size_t>(shape.block_bytes())));
  }

  void PutAll(KvStore& store) const {
    for (size_t i = 0; i < keys.size(); ++i) {
      REQUIRE_OK(store.PutBlock(keys[i], blocks[i].tokens, shape, blocks[i].bytes));
    }
  }

  UnitRead Read(size_t block, int32_t unit) {
    const BlockExtent extent = shape.extent(unit);
    UnitRead read;
    read.key = keys[block];
    read.unit = unit;
    read.out = std::span(memory[block])
                   .subspan(static_cast<size_t>(extent.offset), static_cast<size_t>(extent.bytes));
    read.tokens = blocks[block].tokens;
    return read;
  }

  std::vector<UnitRead> ReadAll() {
    std::vector<UnitRead> reads;
    for (size_t i = 0; i < keys.size(); ++i) {
      for (int32_t unit = 0; unit < shape.units(); ++unit) reads.push_back(Read(i, unit));
    }
    return reads;
  }

  std::vector<StoredBlock> blocks;
  std::vector<BlockKey> keys;
  BlockShape shape;
  std::vector<std::vector<std::byte>> memory;  ///< [blocks][block bytes]
};

/// Files whose reads wait while the gate is shut.
class GatedFiles : public rocksdb::FileSystemWrapper {
 public:
  GatedFiles() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}
  const char* Name() const override { return "GatedFiles"; }

  rocksdb::IOStatus NewRandomAccessFile(const std::string& path,
                                        const rocksdb::FileOptions& options,
                                        std::unique_ptr<rocksdb::FSRandomAccessFile>* result,
                                        rocksdb::IODebugContext* debug) override {
    const auto status = target()->NewRandomAccessFile(path, options, result, debug);
    if (status.ok()) *result = std::make_unique<File>(std::move(*result), this);
    return status;
  }

  void Shut() { Set(false); }
  void Open() { Set(true); }
  void AwaitWaiter() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return waiting_ > 0; });
  }

 private:
  class File : public rocksdb::FSRandomAccessFileOwnerWrapper {
   public:
    File(std::unique_ptr<rocksdb::FSRandomAccessFile> file, GatedFiles* gate)
        : FSRandomAccessFileOwnerWrapper(std::move(file)), gate_(gate) {}
    rocksdb::IOStatus Read(uint64_t offset, size_t bytes, const rocksdb::IOOptions& options,
                           rocksdb::Slice* result, char* scratch,
                           rocksdb::IODebugContext* debug) const override {
      gate_->Pass();
      return target()->Read(offset, bytes, options, result, scratch, debug);
    }

   private:
    GatedFiles* const gate_;
  };

  void Pass() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
    --waiting_;
  }
  void Set(bool open) {
    const std::lock_guard lock(mutex_);
    open_ = open;
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true;
  int waiting_ = 0;
};

}  // namespace

TEST_CASE("UnitsAreReadAloneAndGiveTheWholeBlockTogether") {
  const TempDirectory temp;
  Chain chain(40, 64 << 10);
  auto store = Must(KvStore::Open({.path = temp.File("kv")}, nullptr));
  chain.PutAll(*store);
  for (const bool flushed : {false, true}) {
    if (flushed) REQUIRE_OK(store->Flush());
    for (auto& bytes : chain.memory) std::fill(bytes.begin(), bytes.end(), std::byte{0});
    UnitRead one = chain.Read(7, 2);
    REQUIRE_OK(store->LoadUnits({&one, 1}, chain.shape));
    REQUIRE(one.number == 8);
    // Only that unit's bytes were written.
    const BlockExtent extent = chain.shape.extent(2);
    for (int64_t i = 0; i < chain.shape.block_bytes(); ++i) {
      const bool inside = i >= extent.offset && i < extent.offset + extent.bytes;
      const std::byte expected = inside ? chain.blocks[7].bytes[i] : std::byte{0};
      if (chain.memory[7][i] != expected) FAIL("byte " << i << " of block 7");
    }
    // In any order; the store finds its own.
    auto reads = chain.ReadAll();
    std::reverse(reads.begin(), reads.end());
    REQUIRE_OK(store->LoadUnits(reads, chain.shape));
    for (size_t i = 0; i < chain.keys.size(); ++i)
      REQUIRE(chain.memory[i] == chain.blocks[i].bytes);
    // Again by the numbers that the first reads told; every other block, so not as a run.
    std::erase_if(reads, [&](const UnitRead& read) { return read.number % 2 == 0; });
    for (auto& bytes : chain.memory) std::fill(bytes.begin(), bytes.end(), std::byte{0});
    REQUIRE_OK(store->LoadUnits(reads, chain.shape));
    for (size_t i = 0; i < chain.keys.size(); i += 2) {
      REQUIRE(chain.memory[i] == chain.blocks[i].bytes);
    }
  }
  REQUIRE_OK(store->LoadUnits({}, chain.shape));
  const auto counters = Must(store->Counters());
  REQUIRE(counters.units_read == 2 * (1 + 160 + 80));
  REQUIRE(counters.blocks == 40);
}

TEST_CASE("EachUnitReadSaysWhatIsWrongWithIt") {
  const TempDirectory temp;
  Chain chain(3, 8192);
  auto store = Must(KvStore::Open({.path = temp.File("kv")}, nullptr));
  chain.PutAll(*store);
  REQUIRE_OK(store->DropBlocks({&chain.keys[1], 1}, DropReason::kQuota, 1000));
  std::vector<UnitRead> reads = {chain.Read(0, 0), chain.Read(0, 1), chain.Read(1, 1),
                                 chain.Read(2, 0), chain.Read(2, 3), chain.Read(2, 3)};
  std::vector<int32_t> others = chain.blocks[2].tokens;
  others[0] ^= 1;
  reads[3].tokens = others;
  reads[4].unit = 4;
  reads[5].out = reads[5].out.first(8);
  REQUIRE_FALSE(store->LoadUnits(reads, chain.shape).ok());
  REQUIRE_OK(reads[0].status);
  REQUIRE_OK(reads[1].status);
  REQUIRE_ERROR(reads[2].status, StatusCode::kNotFound, "not stored");
  REQUIRE_ERROR(reads[3].status, StatusCode::kDataLoss, "other token ids");
  REQUIRE_ERROR(reads[4].status, StatusCode::kInvalidArgument, "units 0..3");
  REQUIRE_ERROR(reads[5].status, StatusCode::kInvalidArgument, "room for 8");
  REQUIRE(store->MissReason(chain.keys[1]).find("under the quota of 1000") != std::string::npos);
  REQUIRE(store->MissReason(chain.keys[1]).find("evicted at 2") != std::string::npos);
  REQUIRE(store->MissReason(NextBlockKey({}, others, kSampleScope)) == "never stored");
  // A number that belongs to another block, or to none.
  UnitRead wrong = chain.Read(0, 1);
  wrong.number = 3;
  REQUIRE_ERROR(store->LoadUnits({&wrong, 1}, chain.shape), StatusCode::kDataLoss, "checksum");
  wrong.number = 99;
  REQUIRE_ERROR(store->LoadUnits({&wrong, 1}, chain.shape), StatusCode::kDataLoss, "missing");
  REQUIRE(wrong.number == 0);  // Found by its key the next time.
  REQUIRE_OK(store->LoadUnits({&wrong, 1}, chain.shape));
}

TEST_CASE("ALateDiskIsGivenUpAtTheDeadlineAndTouchesNothingAfterwards") {
  const TempDirectory temp;
  const auto gate = std::make_shared<GatedFiles>();
  const KvFileSystem files = {gate};
  const std::string path = temp.File("kv");
  Chain chain(4, 64 << 10);
  chain.PutAll(*Must(KvStore::Open({.path = path}, nullptr)));
  auto store = Must(KvStore::Open(
      {.path = path, .read_only = false, .reader_threads = 2, .file_system = &files}, nullptr));
  gate->Shut();
  auto reads = chain.ReadAll();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
  REQUIRE_ERROR(store->LoadUnits(reads, chain.shape, deadline), StatusCode::kDeadlineExceeded,
                "deadline");
  REQUIRE(std::chrono::steady_clock::now() >= deadline);
  for (const UnitRead& read : reads) {
    REQUIRE_ERROR(read.status, StatusCode::kDeadlineExceeded, "deadline");
  }
  // What the late reads bring must not land in memory that is no longer theirs.
  for (auto& bytes : chain.memory) std::fill(bytes.begin(), bytes.end(), std::byte{0x55});
  gate->Open();
  REQUIRE(Must(store->Counters()).units_late == std::ssize(reads));
  REQUIRE_OK(store->GetBlock(chain.keys[0], chain.blocks[0].tokens));  // Waits behind them.
  for (const auto& bytes : chain.memory) {
    REQUIRE(std::count(bytes.begin(), bytes.end(), std::byte{0x55}) == std::ssize(bytes));
  }
  REQUIRE_OK(store->LoadUnits(reads, chain.shape));
  for (size_t i = 0; i < chain.keys.size(); ++i) REQUIRE(chain.memory[i] == chain.blocks[i].bytes);
}

TEST_CASE("ABackgroundLoadEndsCancelledOrDoneOnce") {
  const TempDirectory temp;
  const auto gate = std::make_shared<GatedFiles>();
  const KvFileSystem files = {gate};
  const std::string path = temp.File("kv");
  Chain chain(32, 16 << 10);
  chain.PutAll(*Must(KvStore::Open({.path = path}, nullptr)));
  auto store = Must(KvStore::Open(
      {.path = path, .read_only = false, .reader_threads = 1, .file_system = &files}, nullptr));
  std::mutex mutex;
  std::condition_variable changed;
  int calls = 0;
  bool all_good = true;
  const auto done = [&](std::span<const UnitRead> reads) {
    const std::lock_guard lock(mutex);
    ++calls;
    for (const UnitRead& read : reads) all_good &= read.status.ok() && read.number != 0;
    changed.notify_all();
  };
  {
    const auto load =
        store->StartUnits(chain.ReadAll(), chain.shape, UnitPriority::kBackground, done);
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return calls == 1; });
  }
  REQUIRE(all_good);
  for (size_t i = 0; i < chain.keys.size(); ++i) REQUIRE(chain.memory[i] == chain.blocks[i].bytes);

  store.reset();
  store = Must(KvStore::Open(
      {.path = path, .read_only = false, .reader_threads = 1, .file_system = &files}, nullptr));
  gate->Shut();
  {
    const auto load =
        store->StartUnits(chain.ReadAll(), chain.shape, UnitPriority::kBackground, done);
    gate->AwaitWaiter();
    load->Cancel();
    load->Cancel();
    for (auto& bytes : chain.memory) std::fill(bytes.begin(), bytes.end(), std::byte{0x55});
    gate->Open();
  }
  // The one thread is free again, and has served the foreground.
  UnitRead read = chain.Read(3, 1);
  std::vector<std::byte> out(read.out.size());
  read.out = out;
  REQUIRE_OK(store->LoadUnits({&read, 1}, chain.shape));
  REQUIRE(calls == 1);
  for (const auto& bytes : chain.memory) {
    REQUIRE(std::count(bytes.begin(), bytes.end(), std::byte{0x55}) == std::ssize(bytes));
  }
  // Nothing to read: done all the same.
  const auto empty = store->StartUnits({}, chain.shape, UnitPriority::kForeground, done);
  REQUIRE(calls == 2);
}

TEST_CASE("CheckpointsKeepTheirKindsAndCanBeListed") {
  const TempDirectory temp;
  const std::string path = temp.File("kv");
  const BlockKey first = NextBlockKey({}, std::vector<int32_t>{1}, kSampleScope);
  const BlockKey second = NextBlockKey(first, std::vector<int32_t>{2}, kSampleScope);
  const auto now = [] { return int64_t{1'000'000}; };
  {
    auto store =
        Must(KvStore::Open({.path = path, .file_system = nullptr, .now_ms = now}, nullptr));
    StoredCheckpoint checkpoint = SampleCheckpoint(1, 3);
    checkpoint.kinds = kTurnCheckpoint;
    REQUIRE_OK(store->PutCheckpoint(second, checkpoint));
    checkpoint.kinds = kForkCheckpoint;
    REQUIRE_OK(store->PutCheckpoint(second, checkpoint));
    REQUIRE_OK(store->PutCheckpoint(first, SampleCheckpoint(0, 200)));
    REQUIRE_OK(store->PutCheckpoint(first, SampleCheckpoint(0, 0)));
    REQUIRE_OK(store->PutCheckpoint({}, SampleCheckpoint(-1, 5)));
  }
  auto store = Must(KvStore::Open({.path = path}, nullptr));
  const std::vector<BlockKey> chain = {BlockKey{}, second, first};
  const auto entries = Must(store->ListCheckpoints(chain));
  REQUIRE(entries.size() == 4);
  REQUIRE(entries[0].position == 5);
  REQUIRE(entries[1].position == 256);
  REQUIRE(entries[2].position == 456);
  REQUIRE(entries[3].position == 515);
  REQUIRE(entries[3].kinds == (kTurnCheckpoint | kForkCheckpoint));
  REQUIRE(entries[3].created_ms == 1'000'000);
  REQUIRE(entries[3].tail_length == 3);
  REQUIRE(entries[3].bytes > 10'000);
  REQUIRE(entries[1].kinds == kPeriodicCheckpoint);
  REQUIRE(Must(store->ListCheckpoints({&first, 1})).size() == 2);
  REQUIRE(Must(store->ListAllCheckpoints()).size() == 4);
  const auto tail = SampleCheckpoint(1, 3).tail_tokens;
  REQUIRE_OK(
      store->SetCheckpointKinds(CheckpointName(second, tail), kPinnedCheckpoint, UINT32_MAX));
  const auto found = Must(store->FindCheckpoints(second, tail, nullptr));
  REQUIRE(found.size() == 1);
  REQUIRE(found[0].kinds == kPinnedCheckpoint);
  REQUIRE_ERROR(store->SetCheckpointKinds(CheckpointName(first, tail), 0, 0), StatusCode::kNotFound,
                "3 more tokens");
  REQUIRE_OK(store->DropCheckpoints(std::vector{entries[3], entries[0]}));
  REQUIRE(Must(store->ListAllCheckpoints()).size() == 2);
}

}  // namespace baleen
