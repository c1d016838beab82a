// Resuming: what a session computes doesn't depend on when the runtime was closed, on threads,
// chunks or checkpoints, nor on which part of the KV store was lost or damaged; the turn's report
// says which.
#include <rocksdb/db.h>

#include <functional>

#include "runtime/store/kv_store.h"
#include "tests/runtime/fixture.h"

namespace baleen {
namespace {

constexpr char kSession[] = "resumed";

RuntimeOptions Options(const std::string& data_dir, int threads = 1, int64_t chunk = 64,
                       int64_t interval = 512) {
  RuntimeOptions options = WorkerOptions(data_dir, TinyModel());
  options.threads = threads;
  options.prefill_chunk_tokens = chunk;
  options.checkpoint_interval_tokens = interval;
  return options;
}

CreateSessionRequest PlainSession() {
  CreateSessionRequest request;
  request.session = kSession;
  request.settings.tokens_max = 12;
  // One generation per turn, whatever the model writes.
  request.settings.script =
      "return function(message) return baleen.generate{user = message}.content end";
  request.settings.sampling.seed = 3;
  return request;
}

StartTurnRequest Turn(int64_t bytes) {
  StartTurnRequest request;
  request.session = kSession;
  request.trace_logits = true;
  std::string text;
  for (int64_t i = 0; i < bytes; ++i) text += static_cast<char>('a' + i * i % 23);
  request.input.push_back(text);
  return request;
}

void RequireTurn(Runtime& runtime, int64_t bytes) {
  const TurnView view = RunTurn(runtime, Turn(bytes));
  INFO(view.error.ToString());
  REQUIRE(view.state == TurnState::kSucceeded);
}

const std::vector<int64_t> kLengths = {1, 100, 120, 300, 20, 700, 5};

/// A conversation of kLengths under one runtime.
TokenTrace Undisturbed(const RuntimeOptions& options) {
  const auto runtime = OpenRuntime(options);
  REQUIRE_OK(runtime->CreateSession(PlainSession()));
  for (const int64_t bytes : kLengths) RequireTurn(*runtime, bytes);
  return ReadAll(*runtime, kSession);
}

void RequireSame(const TokenTrace& mine, const TokenTrace& expected) {
  REQUIRE(mine.ids == expected.ids);
  REQUIRE(mine.logits_hashes == expected.logits_hashes);
}

/// Changes or (return false) removes the stored values of one family, through RocksDB itself.
int ChangeValues(const std::string& data_dir, const std::string& family_name,
                 const std::function<bool(std::string&)>& change) {
  rocksdb::DB* opened = nullptr;
  std::vector<rocksdb::ColumnFamilyHandle*> families;
  std::vector<rocksdb::ColumnFamilyDescriptor> wanted;
  for (const char* name : {"default", "blocks", "rows", "checkpoints"}) {
    wanted.emplace_back(name, rocksdb::ColumnFamilyOptions());
  }
  REQUIRE(rocksdb::DB::Open({}, data_dir + "/kv/db", wanted, &families, &opened).ok());
  const std::unique_ptr<rocksdb::DB> db(opened);
  int changed = 0;
  for (rocksdb::ColumnFamilyHandle* family : families) {
    if (family->GetName() == family_name) {
      const std::unique_ptr<rocksdb::Iterator> entry(db->NewIterator({}, family));
      for (entry->SeekToFirst(); entry->Valid(); entry->Next(), ++changed) {
        std::string value = entry->value().ToString();
        REQUIRE((change(value) ? db->Put({}, family, entry->key(), value)
                               : db->Delete({}, family, entry->key()))
                    .ok());
      }
    }
    REQUIRE(db->DestroyColumnFamilyHandle(family).ok());
  }
  return changed;
}

/// A data directory with two turns in it, 10 blocks, and the trace of an undamaged third turn.
class Stored {
 public:
  Stored() {
    const std::string twin = folder_.File("twin");
    {
      const auto runtime = OpenRuntime(Options(original()));
      REQUIRE_OK(runtime->CreateSession(PlainSession()));
      RequireTurn(*runtime, 1500);
      RequireTurn(*runtime, 1200);
      tokens_ = ReadAll(*runtime, kSession).ids;
      const RuntimeStats stats = Must(runtime->Stats());
      scope_ = {stats.fingerprint, stats.arithmetic_id, "default"};
    }
    std::filesystem::copy(original(), twin, std::filesystem::copy_options::recursive);
    std::filesystem::permissions(twin, std::filesystem::perms::owner_all);
    const auto runtime = OpenRuntime(Options(twin));
    RequireTurn(*runtime, 50);
    expected_ = ReadAll(*runtime, kSession);
    // Undamaged: all but the tail behind the last checkpoint comes from the disk.
    const auto reuse = LastReuse(*runtime, kSession);
    REQUIRE(reuse["reused_disk"].get<int64_t>() + 2 >= std::ssize(tokens_));
  }

  /// A copy to damage.
  std::string Copy(const std::string& name) {
    const std::string path = folder_.File(name);
    std::filesystem::copy(original(), path, std::filesystem::copy_options::recursive);
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    return path;
  }
  const TokenTrace& expected() const { return expected_; }
  int64_t tokens() const { return std::ssize(tokens_); }

  /// Calls `change` with the store of `data_dir`, and key and ids of block `index`.
  void WithBlock(const std::string& data_dir, int64_t index,
                 const std::function<void(KvStore&, const BlockKey&, std::span<const int32_t>)>&
                     change) const {
    const auto store = Must(KvStore::Open({.path = data_dir + "/kv"}, nullptr));
    BlockKey key{};
    std::span<const int32_t> ids;
    for (int64_t i = 0; i <= index; ++i) {
      ids = std::span(tokens_).subspan(static_cast<size_t>(i * 256), 256);
      key = NextBlockKey(key, ids, scope_);
    }
    change(*store, key, ids);
  }

  /// The third turn on a damaged copy: the same bits; its reuse report.
  nlohmann::json ResumeAndCompare(const std::string& data_dir) const {
    const auto runtime = OpenRuntime(Options(data_dir));
    RequireTurn(*runtime, 50);
    RequireSame(ReadAll(*runtime, kSession), expected_);
    REQUIRE(Must(runtime->Verify("")).problems.empty());  // Damage was replaced.
    return LastReuse(*runtime, kSession);
  }

 private:
  std::string original() const { return folder_.File("original"); }

  TempDirectory folder_;
  std::vector<int32_t> tokens_;
  TokenTrace expected_;
  KvScope scope_;
};

}  // namespace

TEST_CASE("ResumeGivesTheSameBitsWhateverThreadsChunksAndIntervals") {
  const TempDirectory temp;
  const TokenTrace expected = Undisturbed(Options(temp.File("reference")));
  REQUIRE(Sampled(expected) > std::ssize(kLengths) * 10);  // Few ended before their limit of 12.
  int folder = 0;
  for (const auto& [threads, chunk, interval] : std::vector<std::tuple<int, int64_t, int64_t>>{
           {2, 64, 512}, {3, 512, 4096}, {1, 1, 256}, {2, 7, 100}, {3, 1000, 1}}) {
    CAPTURE(threads, chunk, interval);
    RequireSame(Undisturbed(Options(temp.File(std::to_string(++folder)), threads, chunk, interval)),
                expected);
  }
}

TEST_CASE("ResumeBetweenAllTurnsGivesTheSameBits") {
  const TempDirectory temp;
  const TokenTrace expected = Undisturbed(Options(temp.File("reference")));
  const std::string data_dir = temp.File("reopened");
  REQUIRE_OK(OpenRuntime(Options(data_dir))->CreateSession(PlainSession()));
  for (size_t i = 0; i < kLengths.size(); ++i) {
    // Other settings at every opening.
    const auto n = static_cast<int64_t>(i);
    const auto runtime =
        OpenRuntime(Options(data_dir, 1 + static_cast<int>(i % 3), 33 + 50 * n, 128 << (i % 4)));
    const int64_t before = Must(runtime->GetSession(kSession)).tokens;
    RequireTurn(*runtime, kLengths[i]);
    const auto reuse = LastReuse(*runtime, kSession);
    CAPTURE(i, reuse.dump());
    // A clean stop loses nothing: only the last sampled token was never computed.
    if (i > 0) REQUIRE(reuse["reused_disk"] == before - 1);
    if (i > 0) REQUIRE(reuse["recomputed"] == 0);
  }
  const auto runtime = OpenRuntime(Options(data_dir));
  RequireSame(ReadAll(*runtime, kSession), expected);
  REQUIRE(Must(runtime->Verify("")).problems.empty());
}

TEST_CASE("ResumeAfterLossOfABlockSaysWhich") {
  Stored stored;
  const std::string data_dir = stored.Copy("dropped");
  stored.WithBlock(data_dir, 4, [](KvStore& store, const BlockKey& key, auto) {
    REQUIRE(store.HasBlock(key));
    REQUIRE_OK(store.DropBlocks({&key, 1}, DropReason::kRequested));
  });
  const auto reuse = stored.ResumeAndCompare(data_dir);
  CAPTURE(reuse.dump());
  REQUIRE(AnyContains(reuse["reasons"], "block 4 (tokens 1024..1279)"));
  REQUIRE(reuse["recomputed"] >= 256);
  // From the checkpoint at 1,024 at the latest, so no more than the block itself.
  REQUIRE(reuse["recomputed"] <= 512);
  // Stored anew.
  stored.WithBlock(data_dir, 4, [](KvStore& store, const BlockKey& key, auto ids) {
    REQUIRE_OK(store.GetBlock(key, ids));
  });
}

TEST_CASE("ResumeOverDamagedBlocksSaysWhichAndVerifyFindsThemBefore") {
  Stored stored;
  const std::string data_dir = stored.Copy("flipped");
  const int blocks = ChangeValues(data_dir, "blocks", [](std::string& value) {
    value[value.size() / 2] ^= 4;
    return true;
  });
  REQUIRE(blocks >= 10);
  {
    const auto runtime = OpenRuntime(Options(data_dir));
    const auto problems = Must(runtime->Verify("")).problems;
    CAPTURE(problems);
    REQUIRE(std::ssize(problems) == blocks);
    REQUIRE(problems.front().find("block") != std::string::npos);
  }
  const auto reuse = stored.ResumeAndCompare(data_dir);
  CAPTURE(reuse.dump());
  for (int i = 0; i < blocks; ++i) {
    REQUIRE(AnyContains(reuse["reasons"], "block " + std::to_string(i) + " (tokens"));
  }
  REQUIRE(AnyContains(reuse["reasons"], "checksum"));
}

TEST_CASE("ResumeWithoutCheckpointsReplays") {
  Stored stored;
  const std::string dropped = stored.Copy("dropped");
  REQUIRE(ChangeValues(dropped, "checkpoints", [](std::string&) { return false; }) >= 5);
  auto reuse = stored.ResumeAndCompare(dropped);
  CAPTURE(reuse.dump());
  // Not everything: 6 layers that look back 128 tokens are computed again over the stored rows.
  const int64_t target = stored.tokens() - 1;
  const int64_t reused = target / 256 * 256 - 6 * 128;
  REQUIRE(reuse["reused_disk"] == reused);
  REQUIRE(reuse["recomputed"] == target - reused);
  REQUIRE(AnyContains(reuse["reasons"], "computed again over them"));

  const std::string damaged = stored.Copy("damaged");
  ChangeValues(damaged, "checkpoints", [](std::string& value) {
    value[value.size() / 2] ^= 1;
    return true;
  });
  REQUIRE(!Must(OpenRuntime(Options(damaged))->Verify("")).problems.empty());
  reuse = stored.ResumeAndCompare(damaged);
  REQUIRE(AnyContains(reuse["reasons"], "damaged checkpoint"));
}

TEST_CASE("ResumeWithoutStoreOrWithCutTablesReplays") {
  Stored stored;
  const std::string removed = stored.Copy("removed");
  std::filesystem::remove_all(removed + "/kv");
  auto reuse = stored.ResumeAndCompare(removed);
  REQUIRE(reuse["recomputed"] == stored.tokens() - 1);
  REQUIRE(AnyContains(reuse["reasons"], "nothing usable is stored"));

  // Every table cut in its middle; then only the last one.
  for (const bool all : {true, false}) {
    const std::string data_dir = stored.Copy(all ? "all" : "one");
    std::vector<std::string> tables;
    for (const auto& file : std::filesystem::directory_iterator(data_dir + "/kv/db")) {
      if (file.path().extension() == ".sst") tables.push_back(file.path());
    }
    std::sort(tables.begin(), tables.end());
    REQUIRE(tables.size() >= 4);
    for (const std::string& table : tables) {
      if (!all && table != tables.back()) continue;
      std::filesystem::resize_file(table, std::filesystem::file_size(table) / 2);
    }
    reuse = stored.ResumeAndCompare(data_dir);
    CAPTURE(all, reuse.dump());
    REQUIRE(reuse["recomputed"] > 0);
    REQUIRE(!reuse["reasons"].empty());
  }
}

TEST_CASE("AnAlteredRowWithARightChecksumGivesOtherLogits") {
  // The control: were it equal here, equality elsewhere would prove nothing.
  Stored stored;
  const std::string data_dir = stored.Copy("altered");
  stored.WithBlock(data_dir, 5, [](KvStore& store, const BlockKey& key, auto ids) {
    StoredBlock block = Must(store.GetBlock(key, ids));
    // The rows of a layer with two per block, which every later query sees.
    for (const StoredStream& stream : block.streams) {
      if (stream.rows != 2 || stream.name.find("codes") == std::string::npos) continue;
      for (int64_t i = 0; i < stream.row_bytes; ++i) {
        block.bytes[static_cast<size_t>(stream.offset + i)] ^= std::byte{0x80};
      }
    }
    const BlockShape shape = Must(BlockShape::Make(block.streams, std::ssize(block.bytes)));
    REQUIRE_OK(store.DropBlocks({&key, 1}, DropReason::kRequested));
    REQUIRE_OK(store.PutBlock(key, block.tokens, shape, block.bytes));
  });
  const auto runtime = OpenRuntime(Options(data_dir));
  RequireTurn(*runtime, 50);
  const TokenTrace mine = ReadAll(*runtime, kSession);
  int64_t different = 0;
  const size_t count = std::min(mine.logits_hashes.size(), stored.expected().logits_hashes.size());
  for (auto i = static_cast<size_t>(stored.tokens()); i < count; ++i) {
    different += mine.logits_hashes[i] != stored.expected().logits_hashes[i];
  }
  REQUIRE(different == 12);  // All that the third turn sampled.
}

TEST_CASE("AnotherModelRecomputesAndSaysSo") {
  Stored stored;
  const std::string data_dir = stored.Copy("other");
  RuntimeOptions options = Options(data_dir);
  options.model_path = TinyModel(/*seed=*/2);
  const auto runtime = OpenRuntime(options);
  RequireTurn(*runtime, 50);
  const auto reuse = LastReuse(*runtime, kSession);
  CAPTURE(reuse.dump());
  REQUIRE(reuse["reused_disk"] == 0);
  REQUIRE(reuse["recomputed"] == stored.tokens() - 1);
  REQUIRE(AnyContains(reuse["reasons"], "another model"));
}

}  // namespace baleen
