// KV stores with damaged values, held by others, or on a full disk.
#include <rocksdb/db.h>
#include <sys/resource.h>
#include <time.h>

#include <filesystem>
#include <fstream>

#include "runtime/store/kv_store.h"
#include "tests/store/samples.h"
#include "tests/store/small_disk.h"
#include "tests/store/status_checks.h"
#include "tests/testing/child.h"
#include "tests/testing/temp_directory.h"

namespace baleen {
namespace {

std::unique_ptr<KvStore> OpenStore(const std::string& path) {
  return Must(KvStore::Open({.path = path}, nullptr));
}

/// Changes the stored values of one family through RocksDB itself, so that its own checksums are
/// right.
void ChangeValues(const std::string& path, const std::string& family_name,
                  const std::function<void(std::string&)>& change) {
  rocksdb::DB* opened = nullptr;
  std::vector<rocksdb::ColumnFamilyHandle*> families;
  std::vector<rocksdb::ColumnFamilyDescriptor> wanted;
  for (const char* name : {"default", "blocks", "rows", "checkpoints"}) {
    wanted.emplace_back(name, rocksdb::ColumnFamilyOptions());
  }
  REQUIRE(rocksdb::DB::Open({}, path + "/db", wanted, &families, &opened).ok());
  const std::unique_ptr<rocksdb::DB> db(opened);
  for (rocksdb::ColumnFamilyHandle* family : families) {
    if (family->GetName() == family_name) {
      const std::unique_ptr<rocksdb::Iterator> entry(db->NewIterator({}, family));
      for (entry->SeekToFirst(); entry->Valid(); entry->Next()) {
        std::string value = entry->value().ToString();
        change(value);
        REQUIRE(db->Put({}, family, entry->key(), value).ok());
      }
    }
    REQUIRE(db->DestroyColumnFamilyHandle(family).ok());
  }
}

}  // namespace

TEST_CASE("KvStoreDetectsDamagedBlockAndTakesItsRecomputation") {
  const TempDirectory temp;
  const std::string path = temp.File("kv");
  const StoredBlock block = SampleBlock(1, 64 << 10);
  const BlockKey key = NextBlockKey({}, block.tokens, kSampleScope);
  const auto put = [&](KvStore& store) {
    REQUIRE_OK(store.PutBlock(key, block.tokens, ShapeOf(block), block.bytes));
  };
  put(*OpenStore(path));
  ChangeValues(path, "blocks", [](std::string& value) { value[value.size() / 2] ^= 4; });
  auto store = OpenStore(path);
  REQUIRE(Must(store->Verify()).problems.size() == 1);
  REQUIRE_ERROR(store->GetBlock(key, block.tokens), StatusCode::kDataLoss, "checksum");
  put(*store);
  REQUIRE_ERROR(store->GetBlock(key, block.tokens), StatusCode::kDataLoss, "checksum");
  REQUIRE_OK(store->DropBlocks({&key, 1}, DropReason::kDamaged));
  REQUIRE(store->MissReason(key).find("damaged") != std::string::npos);
  put(*store);
  REQUIRE(Must(store->GetBlock(key, block.tokens)).bytes == block.bytes);
  REQUIRE(Must(store->Verify()).problems.empty());
}

TEST_CASE("KvStoreSkipsAndDropsDamagedCheckpoints") {
  const TempDirectory temp;
  const std::string path = temp.File("kv");
  REQUIRE_OK(OpenStore(path)->PutCheckpoint({}, SampleCheckpoint(0, 2)));
  ChangeValues(path, "checkpoints", [](std::string& value) { value.pop_back(); });
  auto store = OpenStore(path);
  REQUIRE_OK(store->PutCheckpoint({}, SampleCheckpoint(0, 1)));
  const auto tail = SampleCheckpoint(0, 5).tail_tokens;
  int64_t damaged = 0;
  REQUIRE(Must(store->FindCheckpoints({}, tail, &damaged)).size() == 1);
  REQUIRE(damaged == 1);
  REQUIRE(Must(store->FindCheckpoints({}, tail, &damaged)).size() == 1);
  REQUIRE(damaged == 0);
  REQUIRE_OK(store->PutCheckpoint({}, SampleCheckpoint(0, 2)));
  REQUIRE(Must(store->FindCheckpoints({}, tail, &damaged)).size() == 2);
}

TEST_CASE("KvStoreSurvivesDamagedIndexAndFiles") {
  const TempDirectory temp;
  const std::string path = temp.File("kv");
  const StoredBlock block = SampleBlock(1, 64 << 10);
  const BlockKey key = NextBlockKey({}, block.tokens, kSampleScope);
  const auto fresh = [&] {
    std::filesystem::remove_all(path);
    REQUIRE_OK(OpenStore(path)->PutBlock(key, block.tokens, ShapeOf(block), block.bytes));
  };
  fresh();
  ChangeValues(path, "default", [](std::string& value) {
    if (value.size() == 40) value[0] = 99;
  });
  REQUIRE_ERROR(OpenStore(path)->GetBlock(key, block.tokens), StatusCode::kDataLoss, "missing");
  ChangeValues(path, "default", [](std::string& value) { value = "x"; });
  REQUIRE_ERROR(OpenStore(path)->GetBlock(key, block.tokens), StatusCode::kDataLoss,
                "index entry is damaged");
  REQUIRE(Must(OpenStore(path)->Verify()).problems.size() == 2);  // The block, and its shape.
  {
    // What is left of it goes, and the recomputation is taken.
    auto store = OpenStore(path);
    REQUIRE_FALSE(store->HasBlock(key));
    REQUIRE_OK(store->DropBlocks({&key, 1}, DropReason::kDamaged));
    REQUIRE_OK(store->PutBlock(key, block.tokens, ShapeOf(block), block.bytes));
    REQUIRE_OK(store->GetBlock(key, block.tokens));
    REQUIRE(Must(store->Verify()).problems.empty());
  }
}

TEST_CASE("KvStoreMeetsAnyDamagedCutOrMissingFileWithAStatusOrTheRightBytes") {
  const TempDirectory temp;
  const std::string original = temp.File("original");
  const std::string path = temp.File("kv");
  std::vector<StoredBlock> blocks;
  std::vector<BlockKey> keys;
  {
    auto store = OpenStore(original);
    BlockKey parent{};
    for (int64_t i = 0; i < 6; ++i) {
      blocks.push_back(SampleUnitBlock(i, 32 << 10));
      parent = NextBlockKey(parent, blocks.back().tokens, kSampleScope);
      keys.push_back(parent);
      REQUIRE_OK(store->PutBlock(parent, blocks.back().tokens, ShapeOf(blocks.back()),
                                 blocks.back().bytes));
      if (i % 2 == 1) {
        REQUIRE_OK(store->PutCheckpoint(parent, SampleCheckpoint(i)));
        REQUIRE_OK(store->Flush());
      }
    }
  }
  std::vector<std::string> names;
  for (const auto& file : std::filesystem::directory_iterator(original + "/db")) {
    if (file.is_regular_file()) names.push_back(file.path().filename());
  }
  REQUIRE(names.size() >= 8);
  /// Where in a file: nothing cuts or flips beyond its end.
  struct Damage {
    std::string kind;
    double place;
  };
  std::vector<Damage> damages = {{"missing", 0}, {"cut", 0.5}};
  for (const double place : {0.05, 0.5, 0.95}) damages.push_back({"flip", place});
  int refused = 0;
  int missed = 0;
  int right = 0;
  for (const std::string& name : names) {
    for (const Damage& damage : damages) {
      std::filesystem::remove_all(path);
      std::filesystem::copy(original, path, std::filesystem::copy_options::recursive);
      const std::string file = path + "/db/" + name;
      const auto size = static_cast<double>(std::filesystem::file_size(file));
      const auto at = static_cast<uintmax_t>(size * damage.place);
      if (damage.kind == "missing") {
        std::filesystem::remove(file);
      } else if (damage.kind == "cut") {
        std::filesystem::resize_file(file, at);
      } else if (size > 0) {
        std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
        stream.seekg(static_cast<std::streamoff>(at));
        const char byte = static_cast<char>(stream.get());
        stream.seekp(static_cast<std::streamoff>(at));
        stream.put(static_cast<char>(byte ^ 0x10));
      }
      CAPTURE(name, damage.kind, damage.place);
      const auto store = KvStore::Open({.path = path}, nullptr);
      if (!store.ok()) {
        ++refused;
        // What the runtime answers by beginning anew.
        REQUIRE(store.status().code() == StatusCode::kDataLoss);
        REQUIRE(store.status().message().find(path) != std::string::npos);
        continue;
      }
      for (size_t i = 0; i < keys.size(); ++i) {
        const auto read = (*store)->GetBlock(keys[i], blocks[i].tokens);
        if (read.ok() && read->bytes != blocks[i].bytes) FAIL("wrong bytes of block " << i);
        if (!read.ok()) {
          REQUIRE_FALSE(read.status().message().empty());
          // What the caller does next: either works or says why not.
          (*store)
              ->DropBlocks({&keys[i], 1}, DropReason::kDamaged)
              .IgnoreError("a store whose index is damaged may refuse all writes");
        }
        ++(read.ok() ? right : missed);
        (*store)->FindCheckpoints(keys[i], {}, nullptr).status().IgnoreError("must only not crash");
      }
      (*store)->Verify().status().IgnoreError("must only not crash");
      (*store)->Reclaim(0.01, 100).status().IgnoreError("must only not crash");
      (*store)->Flush().IgnoreError("must only not crash");
    }
  }
  CAPTURE(refused, missed, right);
  REQUIRE(refused > 0);
  REQUIRE(missed > 0);
  REQUIRE(right > 0);
}

TEST_CASE("KvStoreOnAReadOnlyDiskSaysSoAndReadsAllTheSame") {
  const TempDirectory temp;
  const std::string disk_path = temp.File("disk");
  const SmallDisk disk(disk_path, "16m");
  if (!disk.mounted()) {
    WARN("SKIPPED: needs the right to mount a tmpfs");
    return;
  }
  const std::string path = disk_path + "/kv";
  const StoredBlock block = SampleUnitBlock(1, 64 << 10);
  const BlockKey key = NextBlockKey({}, block.tokens, kSampleScope);
  REQUIRE_OK(OpenStore(path)->PutBlock(key, block.tokens, ShapeOf(block), block.bytes));
  REQUIRE(mount("none", disk_path.c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, "size=16m") == 0);
  REQUIRE_ERROR(KvStore::Open({.path = path}, nullptr), StatusCode::kPermissionDenied, path);
  auto store = Must(KvStore::Open({.path = path, .read_only = true}, nullptr));
  REQUIRE(Must(store->GetBlock(key, block.tokens)).bytes == block.bytes);
  REQUIRE(Must(store->Verify()).problems.empty());
  REQUIRE_ERROR(store->Reclaim(0.5, 1), StatusCode::kFailedPrecondition, "read-only");
}

TEST_CASE("KvStoreRefusesSecondProcessAndNamesTheDirectory") {
  const TempDirectory temp;
  const std::string path = temp.File("kv");
  {
    Child holder({STORE_WRITER, "hold-kv", path});
    REQUIRE(holder.ReadLine() == "held");
    const auto refused = KvStore::Open({.path = path}, nullptr);
    REQUIRE_ERROR(refused, StatusCode::kFailedPrecondition,
                  "'" + path + "' is held by another process");
    REQUIRE(refused.status().reason() == "LOCKED");
  }
  const auto store = OpenStore(path);
  REQUIRE_ERROR(KvStore::Open({.path = path}, nullptr), StatusCode::kFailedPrecondition, path);
  REQUIRE_ERROR(KvStore::Remove(path), StatusCode::kFailedPrecondition, path);
}

TEST_CASE("KvStoreOnAFullDiskSaysSoAndReopens") {
  const TempDirectory temp;
  const std::string disk_path = temp.File("disk");
  const SmallDisk disk(disk_path, "8m");
  if (!disk.mounted()) {
    WARN("SKIPPED: needs the right to mount a tmpfs");
    return;
  }
  const std::string path = disk_path + "/kv";
  std::ofstream(disk_path + "/ballast") << std::string(4 << 20, 'b');
  std::vector<StoredBlock> kept;
  {
    auto store = OpenStore(path);
    Status status;
    for (int i = 0; i < 100 && status.ok(); ++i) {
      const StoredBlock block = SampleBlock(i, 200'000);
      status = store->PutBlock(NextBlockKey({}, block.tokens, kSampleScope), block.tokens,
                               ShapeOf(block), block.bytes);
      if (status.ok()) status = store->Flush();
      if (status.ok()) kept.push_back(block);
    }
    REQUIRE_ERROR(status, StatusCode::kResourceExhausted, path);
    REQUIRE(status.message().find("free space") != std::string::npos);
    REQUIRE(kept.size() > 5);
    // What was flushed can still be read.
    const auto& first = kept.front();
    REQUIRE_OK(store->GetBlock(NextBlockKey({}, first.tokens, kSampleScope), first.tokens));
  }
  REQUIRE(std::filesystem::remove(disk_path + "/ballast"));
  auto store = OpenStore(path);
  for (const StoredBlock& block : kept) {
    REQUIRE_OK(store->GetBlock(NextBlockKey({}, block.tokens, kSampleScope), block.tokens));
  }
  const StoredBlock more = SampleBlock(1000, 200'000);
  REQUIRE_OK(store->PutBlock(NextBlockKey({}, more.tokens, kSampleScope), more.tokens,
                             ShapeOf(more), more.bytes));
  REQUIRE_OK(store->Flush());
  REQUIRE(Must(store->Verify()).problems.empty());
}

TEST_CASE("KvStoreWritesNoLogFiles") {
  const TempDirectory temp;
  const std::string path = temp.File("kv");
  const auto store = OpenStore(path);
  REQUIRE_OK(store->Flush());
  for (const auto& file : std::filesystem::recursive_directory_iterator(path)) {
    CAPTURE(file.path().string());
    REQUIRE(file.path().filename().string().find("LOG") != 0);
  }
}

}  // namespace baleen
