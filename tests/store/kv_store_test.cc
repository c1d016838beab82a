#include "runtime/store/kv_store.h"

#include <fstream>
#include <thread>

#include "tests/store/samples.h"
#include "tests/store/status_checks.h"
#include "tests/testing/temp_directory.h"

namespace baleen {
namespace {

std::unique_ptr<KvStore> OpenStore(const std::string& path) {
  bool dropped = true;
  auto store = Must(KvStore::Open({.path = path}, &dropped));
  REQUIRE_FALSE(dropped);
  return store;
}

BlockKey KeyOf(const StoredBlock& block) { return NextBlockKey({}, block.tokens, kSampleScope); }

BlockKey Put(KvStore& store, const StoredBlock& block) {
  const BlockKey key = KeyOf(block);
  REQUIRE_OK(store.PutBlock(key, block.tokens, ShapeOf(block), block.bytes));
  return key;
}

Status Drop(KvStore& store, const BlockKey& key) {
  return store.DropBlocks({&key, 1}, DropReason::kRequested);
}

}  // namespace

TEST_CASE("KvStoreRoundTripsBlocksBeforeAndAfterReopen") {
  const TempDirectory temp;
  const std::string path = temp.File("kv");
  const StoredBlock block = SampleBlock(1, 300 << 10);
  const BlockKey key = KeyOf(block);
  auto check = [&](KvStore& store) {
    REQUIRE(store.HasBlock(key));
    const auto read = Must(store.GetBlock(key, block.tokens));
    REQUIRE(read.bytes == block.bytes);
    REQUIRE(read.tokens == block.tokens);
    REQUIRE(read.streams.size() == block.streams.size());
    REQUIRE(read.streams[1].offset == block.streams[1].offset);
    REQUIRE(Must(store.LoadBlock(key, block.tokens, ShapeOf(block))) == block.bytes);
  };
  {
    auto store = OpenStore(path);
    REQUIRE_FALSE(store->HasBlock(key));
    REQUIRE_ERROR(store->GetBlock(key, block.tokens), StatusCode::kNotFound, BlockKeyHex(key));
    Put(*store, block);
    check(*store);
    REQUIRE_OK(store->Flush());
    REQUIRE_OK(store->Flush());
    check(*store);
  }
  auto store = OpenStore(path);
  check(*store);
  std::vector<int32_t> others = block.tokens;
  others.back() ^= 1;
  REQUIRE_ERROR(store->GetBlock(key, others), StatusCode::kDataLoss, "other token ids");
  others.pop_back();
  REQUIRE_ERROR(store->GetBlock(key, others), StatusCode::kDataLoss, "other token ids");
}

TEST_CASE("LoadBlockRefusesAnotherShape") {
  const TempDirectory temp;
  auto store = OpenStore(temp.File("kv"));
  const StoredBlock block = SampleBlock(1, 1024);
  const BlockKey key = Put(*store, block);
  const BlockShape shape = ShapeOf(block);
  REQUIRE_OK(store->LoadBlock(key, block.tokens, shape));
  auto streams = block.streams;
  streams[0].name += "x";
  REQUIRE_ERROR(store->LoadBlock(key, block.tokens, Must(BlockShape::Make(streams, 1024))),
                StatusCode::kDataLoss, "another shape");
  std::vector<int32_t> others = block.tokens;
  others[0] ^= 1;
  REQUIRE_ERROR(store->LoadBlock(key, others, shape), StatusCode::kDataLoss, "other token ids");
  streams = {block.streams[0]};
  REQUIRE_ERROR(store->LoadBlock(key, block.tokens, Must(BlockShape::Make(streams, 1024))),
                StatusCode::kDataLoss, "another shape");
  REQUIRE_ERROR(store->LoadBlock(BlockKey{}, block.tokens, shape), StatusCode::kNotFound,
                "not stored");
}

TEST_CASE("KvStoreWritesAKeyOnceUntilDropped") {
  const TempDirectory temp;
  auto store = OpenStore(temp.File("kv"));
  StoredBlock block = SampleBlock(1, 1024);
  const BlockKey key = Put(*store, block);
  StoredBlock changed = block;
  changed.bytes[0] ^= std::byte{1};
  REQUIRE_OK(store->PutBlock(key, changed.tokens, ShapeOf(changed), changed.bytes));
  REQUIRE(Must(store->GetBlock(key, block.tokens)).bytes == block.bytes);
  REQUIRE_OK(Drop(*store, key));
  REQUIRE_OK(Drop(*store, key));
  REQUIRE_FALSE(store->HasBlock(key));
  REQUIRE_OK(store->PutBlock(key, changed.tokens, ShapeOf(changed), changed.bytes));
  REQUIRE(Must(store->GetBlock(key, block.tokens)).bytes == changed.bytes);
  REQUIRE(Must(store->Verify()).blocks == 1);
}

TEST_CASE("KvStoreFindsCheckpointsThatAreAPrefixOfTheTailLongestFirst") {
  const TempDirectory temp;
  auto store = OpenStore(temp.File("kv"));
  const BlockKey parent = KeyOf(SampleBlock(0, 1024));
  const BlockKey other_parent = KeyOf(SampleBlock(1, 1024));
  for (const int tail : {0, 3, 200, 255}) {
    REQUIRE_OK(store->PutCheckpoint(parent, SampleCheckpoint(0, tail)));
  }
  REQUIRE_OK(store->PutCheckpoint(other_parent, SampleCheckpoint(0, 4)));
  StoredCheckpoint diverged = SampleCheckpoint(0, 3);
  diverged.tail_tokens[2] += 1;
  REQUIRE_OK(store->PutCheckpoint(parent, diverged));
  const auto lengths = [&](const BlockKey& of, std::vector<int32_t> tail) {
    int64_t damaged = -1;
    std::vector<size_t> found;
    for (const auto& checkpoint : Must(store->FindCheckpoints(of, tail, &damaged))) {
      found.push_back(checkpoint.tail_tokens.size());
      REQUIRE(checkpoint.state == SampleCheckpoint(0).state);
    }
    REQUIRE(damaged == 0);
    return found;
  };
  const std::vector<int32_t> tail = SampleCheckpoint(0, 220).tail_tokens;
  REQUIRE(lengths(parent, tail) == std::vector<size_t>{200, 3, 0});
  REQUIRE(lengths(parent, {}) == std::vector<size_t>{0});
  REQUIRE(lengths(parent, diverged.tail_tokens) == std::vector<size_t>{3, 0});
  REQUIRE(lengths(parent, SampleCheckpoint(0, 255).tail_tokens).size() == 4);
  REQUIRE(lengths(other_parent, tail) == std::vector<size_t>{4});
  REQUIRE(lengths({}, tail).empty());
  REQUIRE_OK(store->DropCheckpoint(parent, std::span(tail).first(3)));
  REQUIRE(lengths(parent, tail) == std::vector<size_t>{200, 0});
  const auto report = Must(store->Verify());
  REQUIRE(report.checkpoints == 5);
  REQUIRE(report.problems.empty());
}

TEST_CASE("KvStoreRefusesBlocksItCouldNotReadBack") {
  const TempDirectory temp;
  auto store = OpenStore(temp.File("kv"));
  const StoredBlock block = SampleBlock(1, 1024);
  REQUIRE_ERROR(
      store->PutBlock(KeyOf(block), block.tokens, ShapeOf(SampleBlock(1, 512)), block.bytes),
      StatusCode::kInvalidArgument, "its shape's 512");
  const std::vector<int32_t> many(kBlockTokensMax + 1);
  REQUIRE_ERROR(store->PutBlock(KeyOf(block), many, ShapeOf(block), block.bytes),
                StatusCode::kInvalidArgument, "at most 65536 tokens");
  StoredCheckpoint bad = SampleCheckpoint(0, 5);
  bad.position = 4;
  REQUIRE_ERROR(store->PutCheckpoint({}, bad), StatusCode::kInvalidArgument, "position");
}

TEST_CASE("KvStoreDropsOlderFormatAndRefusesNewer") {
  const TempDirectory temp;
  const std::string path = temp.File("kv");
  const StoredBlock block = SampleBlock(1, 1024);
  const BlockKey key = KeyOf(block);
  Put(*OpenStore(path), block);
  const auto stamp = [&](const std::string& text) { std::ofstream(path + "/FORMAT") << text; };
  stamp("baleen kv 3\n");
  REQUIRE_ERROR(KvStore::Open({.path = path}, nullptr), StatusCode::kFailedPrecondition,
                "newer build");
  for (const std::string text : {"", "baleen kv 2", "baleen kv x\n", "rocks 1\n"}) {
    stamp(text);
    REQUIRE_ERROR(KvStore::Open({.path = path}, nullptr), StatusCode::kDataLoss, "FORMAT");
  }
  stamp("baleen kv 2\n");
  REQUIRE(OpenStore(path)->HasBlock(key));
  stamp("baleen kv 1\n");
  REQUIRE_ERROR(KvStore::Open({.path = path, .read_only = true}, nullptr),
                StatusCode::kFailedPrecondition, "older format");
  bool dropped = false;
  {
    auto store = Must(KvStore::Open({.path = path}, &dropped));
    REQUIRE(dropped);
    REQUIRE_FALSE(store->HasBlock(key));
    Put(*store, block);
  }
  REQUIRE(OpenStore(path)->HasBlock(key));
  REQUIRE(std::remove((path + "/FORMAT").c_str()) == 0);
  REQUIRE_ERROR(KvStore::Open({.path = path}, nullptr), StatusCode::kDataLoss, "no FORMAT");
  REQUIRE_OK(KvStore::Remove(path));
  REQUIRE_FALSE(OpenStore(path)->HasBlock(key));
}

TEST_CASE("KvStoreReadOnlyReadsAndRefusesWrites") {
  const TempDirectory temp;
  const std::string path = temp.File("kv");
  const StoredBlock block = SampleBlock(1, 1024);
  REQUIRE_ERROR(KvStore::Open({.path = path, .read_only = true}, nullptr), StatusCode::kNotFound,
                "kv");
  const BlockKey key = Put(*OpenStore(path), block);
  auto store = Must(KvStore::Open({.path = path, .read_only = true}, nullptr));
  REQUIRE(Must(store->GetBlock(key, block.tokens)).bytes == block.bytes);
  REQUIRE_ERROR(store->PutBlock(key, block.tokens, ShapeOf(block), block.bytes),
                StatusCode::kFailedPrecondition, "read-only");
  REQUIRE_ERROR(Drop(*store, key), StatusCode::kFailedPrecondition, "read-only");
  REQUIRE_OK(store->Flush());
}

TEST_CASE("KvStoreOverheadOnDiskIsAtMostATenthOfThePayload") {
  // The smallest and largest blocks that are expected: a small model's, and a full one's.
  for (const auto& [block_bytes, count] :
       {std::pair<int64_t, int64_t>{24'000, 200}, {900'000, 40}}) {
    const TempDirectory temp;
    const std::string path = temp.File("kv");
    int64_t payload = 0;
    {
      auto store = OpenStore(path);
      for (int64_t i = 0; i < count; ++i) {
        StoredBlock block = SampleBlock(i, block_bytes);
        // As many streams as such a block has: 5 planes a layer, 4 or 43 layers.
        while (block.streams.size() < (block_bytes < 100'000 ? 20U : 215U)) {
          block.streams.push_back({"L" + std::to_string(block.streams.size()), 0, 0, 0});
        }
        Put(*store, block);
        payload += static_cast<int64_t>(block.bytes.size());
        if (i % 16 == 15) REQUIRE_OK(store->Flush());
      }
      REQUIRE_OK(store->Flush());
    }
    const auto store = OpenStore(path);
    REQUIRE(Must(store->Verify()).blocks == count);
    const double ratio =
        static_cast<double>(Must(store->BytesOnDisk())) / static_cast<double>(payload);
    CAPTURE(block_bytes, payload, ratio);
    REQUIRE(ratio >= 1.0);
    REQUIRE(ratio <= 1.1);
  }
}

TEST_CASE("KvStoreTakesPutsGetsAndFlushesFromManyThreads") {
  const TempDirectory temp;
  auto store = OpenStore(temp.File("kv"));
  std::vector<Status> results(4);
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < 4; ++thread) {
      threads.emplace_back([&, thread] {
        for (int i = 0; i < 40 && results[thread].ok(); ++i) {
          // Threads overlap in half of the keys.
          const StoredBlock block = SampleBlock(i + (thread / 2) * 20, 20'000);
          const BlockKey key = KeyOf(block);
          Status status = store->PutBlock(key, block.tokens, ShapeOf(block), block.bytes);
          if (status.ok() && i % 10 == thread) status = store->Flush();
          const auto read = store->GetBlock(key, block.tokens);
          if (status.ok()) status = read.status();
          if (status.ok() && read->bytes != block.bytes) status = DataLossError("other bytes");
          results[thread] = status;
        }
      });
    }
  }
  for (const Status& status : results) REQUIRE_OK(status);
  const auto report = Must(store->Verify());
  REQUIRE(report.blocks == 60);
  REQUIRE(report.problems.empty());
}

}  // namespace baleen
