#include "runtime/store/kv_store.h"

#define XXH_INLINE_ALL
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>
#include <xxhash.h>

#include <algorithm>
#include <mutex>

#include "runtime/store/block_codec.h"
#include "runtime/store/kv_files.h"
#include "runtime/store/little_endian.h"

namespace baleen {
namespace {

// Three column families. `index` (the default one) is small and maps content keys to numbers;
// `blocks` and `checkpoints` map numbers, which only grow, to values. Content keys are random, so
// values sorted by them would overlap in every file and be rewritten by each merge; sorted by
// number they never overlap, files only move down a level, and each value is written once.
constexpr const char* kBlocksFamily = "blocks";
constexpr const char* kCheckpointsFamily = "checkpoints";
constexpr char kBlockTag = 'b';
constexpr char kCheckpointTag = 'c';

/// Swallows RocksDB's text log, which would grow without bound and say nothing to our users.
class SilentLogger : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char* /*format*/, va_list /*arguments*/) override {}
};

template <typename T>
void AppendBigEndian(std::string& out, T value) {
  for (int shift = static_cast<int>(sizeof(T)) * 8 - 8; shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>(value >> shift));
  }
}

std::string NumberKey(uint64_t number) {
  std::string key;
  AppendBigEndian(key, number);
  return key;
}

/// Inverse of NumberKey; 0, which no value has, for any other length.
uint64_t KeyNumber(const rocksdb::Slice& key) {
  if (key.size() != sizeof(uint64_t)) return 0;
  uint64_t number = 0;
  for (size_t i = 0; i < key.size(); ++i) number = number << 8 | static_cast<uint8_t>(key[i]);
  return number;
}

std::string Tagged(char tag, const BlockKey& key) {
  std::string tagged(1, tag);
  tagged.append(reinterpret_cast<const char*>(key.data()), key.size());
  return tagged;
}

/// On-disk: 'c', parent, big-endian tail length, xxh3-128 of the tail's ids (little-endian).
std::string CheckpointKey(const BlockKey& parent, std::span<const int32_t> tail) {
  std::string key = Tagged(kCheckpointTag, parent);
  AppendBigEndian(key, static_cast<uint32_t>(tail.size()));
  const XXH128_hash_t hash = XXH3_128bits(tail.data(), tail.size_bytes());
  AppendBigEndian(key, hash.high64);
  AppendBigEndian(key, hash.low64);
  return key;
}
constexpr size_t kCheckpointKeyBytes = 1 + 32 + 4 + 16;

rocksdb::ColumnFamilyOptions ValueFamily(int64_t write_buffer_bytes) {
  rocksdb::ColumnFamilyOptions options;
  options.compression =
      rocksdb::kNoCompression;  // Measured: gains 1.1x, decodes slower than disks read.
  options.write_buffer_size = static_cast<size_t>(write_buffer_bytes);
  options.max_write_buffer_number = 3;
  // Everything rests in level 1, where files don't overlap and a lookup is a binary search.
  options.max_bytes_for_level_base = uint64_t{1} << 50;
  options.level0_file_num_compaction_trigger = 4;
  rocksdb::BlockBasedTableOptions table;
  table.no_block_cache =
      true;  // The page cache serves values; a second copy would only cost memory.
  table.checksum = rocksdb::kXXH3;
  table.format_version = 5;
  table.block_align = false;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

rocksdb::ColumnFamilyOptions IndexFamily() {
  rocksdb::ColumnFamilyOptions options;
  options.compression = rocksdb::kNoCompression;  // Keys are hashes.
  options.write_buffer_size = 4 << 20;
  rocksdb::BlockBasedTableOptions table;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  table.checksum = rocksdb::kXXH3;
  table.format_version = 5;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

rocksdb::DBOptions StoreOptions() {
  rocksdb::DBOptions options;
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  options.atomic_flush = true;  // No WAL: the families must not come back from different times.
  options.info_log = std::make_shared<SilentLogger>();  // Owners: RocksDB only; its API takes this.
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  options.max_background_jobs = 2;
  options.max_open_files = 256;
  // A session's blocks lie one behind the other, in the order in which a resume reads them.
  options.advise_random_on_open = false;
  options.max_bgerror_resume_count = 0;  // No retries in the background; we reopen.
  options.manifest_preallocation_size = 64 << 10;
  options.skip_stats_update_on_db_open = true;
  return options;
}

/// Values carry their own checksum over more than RocksDB's; verifying both halves the read speed.
rocksdb::ReadOptions ReadValues() {
  rocksdb::ReadOptions options;
  options.verify_checksums = false;
  return options;
}

}  // namespace

class KvStore::Impl {
 public:
  using Family = rocksdb::ColumnFamilyHandle;

  Impl(const KvStoreOptions& options) : path(options.path), read_only(options.read_only) {}
  ~Impl() {
    for (Family* family : families) {
      if (db != nullptr) Ignore(db->DestroyColumnFamilyHandle(family));
    }
    if (db != nullptr) Ignore(db->Close());
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  /// A cache that can't write its last values has lost only time, and a destructor can't report.
  static void Ignore(const rocksdb::Status& status) { status.PermitUncheckedError(); }

  Status OpenFamilies(int64_t write_buffer_bytes);
  Status ReadNextNumbers();
  Status Error(const rocksdb::Status& status) const { return RocksError(status, path); }
  Status CheckWritable() const;

  /// 0: not there.
  Result<uint64_t> Find(const std::string& index_key) const;
  Result<rocksdb::PinnableSlice> Read(Family* family, uint64_t number) const;
  Status Put(Family* family, uint64_t* next, const std::string& index_key,
             const std::string& value);
  Status Drop(Family* family, const std::string& index_key);
  /// Index entries with this prefix: key and number.
  Result<std::vector<std::pair<std::string, uint64_t>>> Scan(const std::string& prefix) const;

  const std::string path;
  const bool read_only;
  std::unique_ptr<rocksdb::DB> db;
  std::vector<Family*> families;  ///< index, blocks, checkpoints; freed before db.
  Family* index() const { return families[0]; }
  Family* blocks() const { return families[1]; }
  Family* checkpoints() const { return families[2]; }

  std::mutex put_mutex;  ///< Guards the numbers, and check-then-put.
  uint64_t next_block = 1;
  uint64_t next_checkpoint = 1;
};

Status KvStore::Impl::OpenFamilies(int64_t write_buffer_bytes) {
  const std::vector<rocksdb::ColumnFamilyDescriptor> wanted = {
      {rocksdb::kDefaultColumnFamilyName, IndexFamily()},
      {kBlocksFamily, ValueFamily(write_buffer_bytes)},
      {kCheckpointsFamily, ValueFamily(write_buffer_bytes)}};
  const std::string directory = KvDatabasePath(path);
  rocksdb::DB* opened = nullptr;
  const rocksdb::Status status =
      read_only
          ? rocksdb::DB::OpenForReadOnly(StoreOptions(), directory, wanted, &families, &opened)
          : rocksdb::DB::Open(StoreOptions(), directory, wanted, &families, &opened);
  if (!status.ok()) return Error(status);
  db.reset(opened);
  return ReadNextNumbers();
}

Status KvStore::Impl::ReadNextNumbers() {
  for (auto [family, next] :
       {std::pair(blocks(), &next_block), {checkpoints(), &next_checkpoint}}) {
    const std::unique_ptr<rocksdb::Iterator> last(db->NewIterator(ReadValues(), family));
    last->SeekToLast();
    if (!last->status().ok()) return Error(last->status());
    if (last->Valid()) *next = KeyNumber(last->key()) + 1;
  }
  return OkStatus();
}

Status KvStore::Impl::CheckWritable() const {
  if (!read_only) return OkStatus();
  return FailedPreconditionError("KV store '" + path + "' is open read-only; open it for writing");
}

Result<uint64_t> KvStore::Impl::Find(const std::string& index_key) const {
  rocksdb::PinnableSlice number;
  const rocksdb::Status status = db->Get(rocksdb::ReadOptions(), index(), index_key, &number);
  if (status.IsNotFound()) return uint64_t{0};
  if (!status.ok()) return Error(status);
  return KeyNumber(number);
}

Result<rocksdb::PinnableSlice> KvStore::Impl::Read(Family* family, uint64_t number) const {
  rocksdb::PinnableSlice value;
  const rocksdb::Status status = db->Get(ReadValues(), family, NumberKey(number), &value);
  if (status.IsNotFound()) {
    return DataLossError("KV store '" + path + "': value " + std::to_string(number) +
                         " is indexed but missing; it will be recomputed");
  }
  if (!status.ok()) return Error(status);
  return value;
}

Status KvStore::Impl::Put(Family* family, uint64_t* next, const std::string& index_key,
                          const std::string& value) {
  const std::lock_guard lock(put_mutex);
  ASSIGN_OR_RETURN(const uint64_t found, Find(index_key));
  if (found != 0) return OkStatus();
  rocksdb::WriteBatch batch;
  rocksdb::Status status = batch.Put(index(), index_key, NumberKey(*next));
  if (status.ok()) status = batch.Put(family, NumberKey(*next), value);
  rocksdb::WriteOptions options;
  options.disableWAL = true;
  if (status.ok()) status = db->Write(options, &batch);
  if (!status.ok()) return Error(status);
  ++*next;
  return OkStatus();
}

Status KvStore::Impl::Drop(Family* family, const std::string& index_key) {
  const std::lock_guard lock(put_mutex);
  ASSIGN_OR_RETURN(const uint64_t number, Find(index_key));
  if (number == 0) return OkStatus();
  rocksdb::WriteBatch batch;
  rocksdb::Status status = batch.Delete(index(), index_key);
  if (status.ok()) status = batch.Delete(family, NumberKey(number));
  rocksdb::WriteOptions options;
  options.disableWAL = true;
  if (status.ok()) status = db->Write(options, &batch);
  return status.ok() ? OkStatus() : Error(status);
}

Result<std::vector<std::pair<std::string, uint64_t>>> KvStore::Impl::Scan(
    const std::string& prefix) const {
  std::vector<std::pair<std::string, uint64_t>> entries;
  const std::unique_ptr<rocksdb::Iterator> entry(db->NewIterator(rocksdb::ReadOptions(), index()));
  for (entry->Seek(prefix); entry->Valid() && entry->key().starts_with(prefix); entry->Next()) {
    entries.emplace_back(entry->key().ToString(), KeyNumber(entry->value()));
  }
  if (!entry->status().ok()) return Error(entry->status());
  return entries;
}

KvStore::KvStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
KvStore::~KvStore() = default;

Result<std::unique_ptr<KvStore>> KvStore::Open(const KvStoreOptions& options, bool* dropped) {
  if (dropped != nullptr) *dropped = false;
  ASSIGN_OR_RETURN(const bool older, PrepareKvDirectory(options.path, options.read_only));
  auto impl = std::make_unique<Impl>(options);
  RETURN_IF_ERROR(impl->OpenFamilies(options.write_buffer_bytes));
  if (dropped != nullptr) *dropped = older;
  return std::unique_ptr<KvStore>(new KvStore(std::move(impl)));
}

Status KvStore::PutBlock(const BlockKey& key, std::span<const int32_t> tokens,
                         std::span<const StoredStream> streams, std::span<const std::byte> bytes) {
  RETURN_IF_ERROR(impl_->CheckWritable());
  RETURN_IF_ERROR(CheckBlock(tokens, streams, bytes.size()));
  const std::string index_key = Tagged(kBlockTag, key);
  ASSIGN_OR_RETURN(const uint64_t found, impl_->Find(index_key));
  if (found != 0) return OkStatus();
  const std::string value = EncodeBlock(key, tokens, streams, bytes);
  return impl_->Put(impl_->blocks(), &impl_->next_block, index_key, value);
}

Result<StoredBlock> KvStore::GetBlock(const BlockKey& key,
                                      std::span<const int32_t> expected_tokens) {
  ASSIGN_OR_RETURN(const uint64_t number, impl_->Find(Tagged(kBlockTag, key)));
  if (number == 0) return NotFoundError("KV block " + BlockKeyHex(key) + " is not stored");
  ASSIGN_OR_RETURN(const rocksdb::PinnableSlice value, impl_->Read(impl_->blocks(), number));
  auto block = DecodeBlock({value.data(), value.size()}, key);
  if (!block.ok()) return block.status().WithContext("KV block " + BlockKeyHex(key));
  if (!std::equal(block->tokens.begin(), block->tokens.end(), expected_tokens.begin(),
                  expected_tokens.end())) {
    return DataLossError("KV block " + BlockKeyHex(key) +
                         " holds other token ids than expected; recompute it");
  }
  return block;
}

Result<std::vector<std::byte>> KvStore::LoadBlock(const BlockKey& key,
                                                  std::span<const int32_t> expected_tokens,
                                                  std::span<const StoredStream> expected_streams,
                                                  int64_t payload_bytes) {
  ASSIGN_OR_RETURN(const uint64_t number, impl_->Find(Tagged(kBlockTag, key)));
  if (number == 0) return NotFoundError("KV block " + BlockKeyHex(key) + " is not stored");
  ASSIGN_OR_RETURN(const rocksdb::PinnableSlice value, impl_->Read(impl_->blocks(), number));
  auto payload =
      LoadBlockPayload({value.data(), value.size()}, key,
                       {expected_tokens, expected_streams, static_cast<uint64_t>(payload_bytes)});
  if (!payload.ok()) return payload.status().WithContext("KV block " + BlockKeyHex(key));
  return payload;
}

bool KvStore::HasBlock(const BlockKey& key) {
  const auto number = impl_->Find(Tagged(kBlockTag, key));
  return number.ok() && *number != 0;
}

Status KvStore::DropBlock(const BlockKey& key) {
  RETURN_IF_ERROR(impl_->CheckWritable());
  return impl_->Drop(impl_->blocks(), Tagged(kBlockTag, key));
}

Status KvStore::PutCheckpoint(const BlockKey& parent, const StoredCheckpoint& checkpoint) {
  RETURN_IF_ERROR(impl_->CheckWritable());
  RETURN_IF_ERROR(CheckCheckpoint(checkpoint));
  return impl_->Put(impl_->checkpoints(), &impl_->next_checkpoint,
                    CheckpointKey(parent, checkpoint.tail_tokens),
                    EncodeCheckpoint(parent, checkpoint));
}

Result<std::vector<StoredCheckpoint>> KvStore::FindCheckpoints(const BlockKey& parent,
                                                               std::span<const int32_t> tail,
                                                               int64_t* damaged) {
  if (damaged != nullptr) *damaged = 0;
  const std::string prefix = Tagged(kCheckpointTag, parent);
  ASSIGN_OR_RETURN(const auto entries, impl_->Scan(prefix));
  std::vector<StoredCheckpoint> found;
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    const auto& [index_key, number] = *entry;
    if (index_key.size() != kCheckpointKeyBytes) continue;
    uint32_t length = 0;
    for (size_t i = 0; i < sizeof(length); ++i) {
      length = length << 8 | static_cast<uint8_t>(index_key[prefix.size() + i]);
    }
    if (length > tail.size() || index_key != CheckpointKey(parent, tail.first(length))) continue;
    auto value = impl_->Read(impl_->checkpoints(), number);
    auto checkpoint = value.ok() ? DecodeCheckpoint({value->data(), value->size()}, parent)
                                 : Result<StoredCheckpoint>(value.status());
    const bool good = checkpoint.ok() &&
                      std::equal(checkpoint->tail_tokens.begin(), checkpoint->tail_tokens.end(),
                                 tail.begin(), tail.begin() + length);
    if (good) {
      found.push_back(std::move(*checkpoint));
      continue;
    }
    if (!checkpoint.ok() && checkpoint.status().code() != StatusCode::kDataLoss) {
      return checkpoint.status();
    }
    if (damaged != nullptr) ++*damaged;
    if (!impl_->read_only) RETURN_IF_ERROR(impl_->Drop(impl_->checkpoints(), index_key));
  }
  return found;
}

Status KvStore::DropCheckpoint(const BlockKey& parent, std::span<const int32_t> tail) {
  RETURN_IF_ERROR(impl_->CheckWritable());
  return impl_->Drop(impl_->checkpoints(), CheckpointKey(parent, tail));
}

Status KvStore::Flush() {
  if (impl_->read_only) return OkStatus();
  rocksdb::FlushOptions options;
  options.wait = true;
  const rocksdb::Status status = impl_->db->Flush(options, impl_->families);
  return status.ok() ? OkStatus() : impl_->Error(status);
}

Result<KvStoreReport> KvStore::Verify() {
  KvStoreReport report;
  ASSIGN_OR_RETURN(const auto entries, impl_->Scan(""));
  for (const auto& [index_key, number] : entries) {
    const bool is_block = index_key.size() == 1 + sizeof(BlockKey) && index_key[0] == kBlockTag;
    const bool is_checkpoint =
        index_key.size() == kCheckpointKeyBytes && index_key[0] == kCheckpointTag;
    if (!is_block && !is_checkpoint) {
      report.problems.push_back("index entry of unknown shape, " +
                                std::to_string(index_key.size()) + " bytes");
      continue;
    }
    BlockKey key;
    std::copy_n(index_key.begin() + 1, key.size(), key.begin());
    const auto value = impl_->Read(is_block ? impl_->blocks() : impl_->checkpoints(), number);
    Status status = value.status();
    if (!value.ok()) {
      ASSIGN_OR_RETURN(const uint64_t now, impl_->Find(index_key));
      if (now != number) continue;  // dropped while this walk went on
    }
    if (value.ok()) {
      const std::string_view bytes(value->data(), value->size());
      status = is_block ? DecodeBlock(bytes, key).status() : DecodeCheckpoint(bytes, key).status();
      (is_block ? report.block_bytes : report.checkpoint_bytes) +=
          static_cast<int64_t>(bytes.size());
    }
    ++(is_block ? report.blocks : report.checkpoints);
    if (!status.ok()) {
      report.problems.push_back((is_block ? "block " : "checkpoint after ") + BlockKeyHex(key) +
                                ": " + status.message());
    }
  }
  return report;
}

Result<int64_t> KvStore::BytesOnDisk() { return KvBytesOnDisk(impl_->path); }

}  // namespace baleen
