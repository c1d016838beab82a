#include "runtime/store/kv_database.h"

#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/listener.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/checkpoint.h>
#include <rocksdb/write_batch.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <utility>

#include "runtime/store/index_codec.h"
#include "runtime/store/kv_file_system.h"
#include "runtime/store/kv_files.h"
#include "runtime/store/kv_reclaim.h"

namespace baleen {

/// Counts what flushes and merges write, and lets no error mend itself: after a full disk RocksDB
/// would try again by itself once there is space, which can wait for ever under atomic flushes, and
/// closing would wait for that. We reopen.
class WriteCounter : public rocksdb::EventListener {
 public:
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason /*reason*/, rocksdb::Status error,
                            bool* auto_recovery) override {
    error.PermitUncheckedError();
    *auto_recovery = false;
  }
  void OnTableFileCreated(const rocksdb::TableFileCreationInfo& file) override {
    bytes_.fetch_add(static_cast<int64_t>(file.file_size), std::memory_order_relaxed);
  }
  int64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> bytes_{0};
};

namespace {

constexpr const char* kBlocksFamily = "blocks";
constexpr const char* kRowsFamily = "rows";
constexpr const char* kCheckpointsFamily = "checkpoints";
// A run of neighbours is read this far ahead; measured in README.md.
constexpr size_t kReadAheadBytes = 1 << 20;
// Below this many values an iterator costs more than it saves.
constexpr size_t kRunLengthMin = 8;

/// Swallows RocksDB's text log, which would grow without bound and say nothing to our users.
class SilentLogger : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char* /*format*/, va_list /*arguments*/) override {}
};

rocksdb::ColumnFamilyOptions ValueFamily(int64_t write_buffer_bytes,
                                         std::shared_ptr<LiveFilterFactory> filter) {
  rocksdb::ColumnFamilyOptions options;
  options.compaction_filter_factory = std::move(filter);
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
  options.max_bgerror_resume_count = 0;  // See WriteCounter.
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

rocksdb::ReadOptions ReadFamily(KvFamily family) {
  return family == KvFamily::kIndex ? rocksdb::ReadOptions() : ReadValues();
}

/// Whether `next` may well lie right behind `key`: the next unit, or the first ones of the next
/// number.
bool LooksAdjacent(const std::string& key, const std::string& next) {
  const uint64_t number = NumberInKey(key);
  const uint64_t next_number = NumberInKey(next);
  if (key.size() == sizeof(uint64_t)) return next_number == number + 1;
  const auto unit = [](const std::string& row) {
    return static_cast<uint8_t>(row[8]) << 8 | static_cast<uint8_t>(row[9]);
  };
  if (next_number == number) return unit(next) == unit(key) + 1;
  return next_number == number + 1 && unit(next) == 1;
}

/// Whether reading all from the first key to the last reads little in vain.
bool IsRun(std::span<const std::string> keys) {
  if (keys.size() < kRunLengthMin) return false;
  size_t adjacent = 0;
  for (size_t i = 1; i < keys.size(); ++i) adjacent += LooksAdjacent(keys[i - 1], keys[i]) ? 1 : 0;
  return adjacent * 8 >= (keys.size() - 1) * 7;
}

}  // namespace

class KvDatabase::Impl {
 public:
  using Family = rocksdb::ColumnFamilyHandle;

  explicit Impl(const KvStoreOptions& options) : path(options.path), read_only(options.read_only) {}
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

  Status Open(const KvStoreOptions& options);
  Status Error(const rocksdb::Status& status) const { return RocksError(status, path); }
  Family* family(KvFamily which) const { return families[static_cast<size_t>(which)]; }
  void VisitRun(KvFamily which, std::span<const std::string> keys, const Sink& sink) const;

  const std::string path;
  const bool read_only;
  /// Owners: RocksDB and this.
  std::shared_ptr<WriteCounter> written = std::make_shared<WriteCounter>();
  /// Of the value families. Owners: RocksDB and this.
  std::vector<std::shared_ptr<LiveFilterFactory>> filters;
  std::mutex reclaim_mutex;           ///< One at a time.
  std::unique_ptr<rocksdb::Env> env;  ///< Null: the machine's.
  std::unique_ptr<rocksdb::DB> db;
  std::vector<Family*> families;  ///< In the order of KvFamily; freed before db.
};

Status KvDatabase::Impl::Open(const KvStoreOptions& options) {
  std::vector<rocksdb::ColumnFamilyDescriptor> wanted = {
      {rocksdb::kDefaultColumnFamilyName, IndexFamily()}};
  for (const char* name : {kBlocksFamily, kRowsFamily, kCheckpointsFamily}) {
    filters.push_back(std::make_shared<LiveFilterFactory>());
    wanted.emplace_back(name, ValueFamily(options.write_buffer_bytes, filters.back()));
  }
  rocksdb::DBOptions db_options = StoreOptions();
  db_options.listeners = {written};
  if (options.file_system != nullptr) {
    env = rocksdb::NewCompositeEnv(options.file_system->files);
    db_options.env = env.get();
  }
  const std::string directory = KvDatabasePath(path);
  rocksdb::DB* opened = nullptr;
  const rocksdb::Status status =
      read_only ? rocksdb::DB::OpenForReadOnly(db_options, directory, wanted, &families, &opened)
                : rocksdb::DB::Open(db_options, directory, wanted, &families, &opened);
  if (!status.ok()) return Error(status);
  db.reset(opened);
  return OkStatus();
}

KvDatabase::KvDatabase(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
KvDatabase::~KvDatabase() = default;

Result<std::unique_ptr<KvDatabase>> KvDatabase::Open(const KvStoreOptions& options, bool* dropped) {
  ASSIGN_OR_RETURN(*dropped, PrepareKvDirectory(options.path, options.read_only));
  auto impl = std::make_unique<Impl>(options);
  RETURN_IF_ERROR(impl->Open(options));
  return std::unique_ptr<KvDatabase>(new KvDatabase(std::move(impl)));
}

Status KvDatabase::Remove(const std::string& path) { return RemoveKvDirectory(path); }

Result<std::optional<std::string>> KvDatabase::Get(KvFamily family, const std::string& key) const {
  rocksdb::PinnableSlice value;
  const auto status = impl_->db->Get(ReadFamily(family), impl_->family(family), key, &value);
  if (status.IsNotFound()) return std::optional<std::string>();
  if (!status.ok()) return impl_->Error(status);
  return std::optional<std::string>(value.ToString());
}

void KvDatabase::Visit(KvFamily family, std::span<const std::string> keys, const Sink& sink) const {
  if (IsRun(keys)) return impl_->VisitRun(family, keys, sink);
  for (size_t i = 0; i < keys.size(); ++i) {
    rocksdb::PinnableSlice value;
    const auto status = impl_->db->Get(ReadFamily(family), impl_->family(family), keys[i], &value);
    const std::string_view bytes(value.data(), value.size());
    const bool more =
        status.ok() ? sink(i, OkStatus(), &bytes)
                    : sink(i, status.IsNotFound() ? OkStatus() : impl_->Error(status), nullptr);
    if (!more) return;
  }
}

void KvDatabase::Impl::VisitRun(KvFamily which, std::span<const std::string> keys,
                                const Sink& sink) const {
  rocksdb::ReadOptions options = ReadFamily(which);
  options.readahead_size = kReadAheadBytes;
  // What lies behind the last key is somebody else's to read.
  const std::string end = keys.back() + '\0';
  const rocksdb::Slice bound(end);
  options.iterate_upper_bound = &bound;
  const std::unique_ptr<rocksdb::Iterator> entry(db->NewIterator(options, family(which)));
  entry->Seek(keys.front());
  for (size_t i = 0; i < keys.size(); ++i) {
    while (entry->Valid() && entry->key().compare(keys[i]) < 0) entry->Next();
    bool more = false;
    if (entry->Valid() && entry->key() == rocksdb::Slice(keys[i])) {
      const std::string_view bytes(entry->value().data(), entry->value().size());
      more = sink(i, OkStatus(), &bytes);
    } else {
      more = sink(i, entry->status().ok() ? OkStatus() : Error(entry->status()), nullptr);
    }
    if (!more) return;
  }
}

Status KvDatabase::Scan(KvFamily family, const std::string& prefix, const Visitor& visit) const {
  const std::unique_ptr<rocksdb::Iterator> entry(
      impl_->db->NewIterator(ReadFamily(family), impl_->family(family)));
  for (entry->Seek(prefix); entry->Valid() && entry->key().starts_with(prefix); entry->Next()) {
    const rocksdb::Slice key = entry->key();
    const rocksdb::Slice value = entry->value();
    if (!visit({key.data(), key.size()}, {value.data(), value.size()})) break;
  }
  return entry->status().ok() ? OkStatus() : impl_->Error(entry->status());
}

Result<uint64_t> KvDatabase::LastNumber(KvFamily family) const {
  const std::unique_ptr<rocksdb::Iterator> last(
      impl_->db->NewIterator(ReadFamily(family), impl_->family(family)));
  last->SeekToLast();
  if (!last->status().ok()) return impl_->Error(last->status());
  if (!last->Valid()) return uint64_t{0};
  return NumberInKey({last->key().data(), last->key().size()});
}

Status KvDatabase::Apply(std::span<const KvWrite> writes) {
  rocksdb::WriteBatch batch;
  rocksdb::Status status;
  for (const KvWrite& write : writes) {
    rocksdb::ColumnFamilyHandle* family = impl_->family(write.family);
    if (status.ok()) {
      status = write.value.has_value() ? batch.Put(family, write.key, *write.value)
                                       : batch.Delete(family, write.key);
    }
  }
  rocksdb::WriteOptions options;
  options.disableWAL = true;
  if (status.ok()) status = impl_->db->Write(options, &batch);
  return status.ok() ? OkStatus() : impl_->Error(status);
}

Status KvDatabase::Flush() {
  rocksdb::FlushOptions options;
  options.wait = true;
  const rocksdb::Status status = impl_->db->Flush(options, impl_->families);
  return status.ok() ? OkStatus() : impl_->Error(status);
}

Result<ReclaimStep> KvDatabase::ReclaimOnce(KvFamily family,
                                            std::shared_ptr<const LiveNumbers> live,
                                            const ReclaimLimits& limits) {
  const std::lock_guard lock(impl_->reclaim_mutex);
  LiveFilterFactory& filter = *impl_->filters[static_cast<size_t>(family) - 1];
  filter.SetLive(live);
  ReclaimStep step;
  const auto status = baleen::ReclaimOnce(*impl_->db, impl_->family(family), *live, limits, &step);
  filter.SetLive(nullptr);
  if (!status.ok()) return impl_->Error(status);
  return step;
}

Status KvDatabase::CompactIndex() {
  const rocksdb::CompactRangeOptions options;
  const auto status =
      impl_->db->CompactRange(options, impl_->family(KvFamily::kIndex), nullptr, nullptr);
  return status.ok() ? OkStatus() : impl_->Error(status);
}

Status KvDatabase::Backup(const std::string& path) {
  if (access(path.c_str(), F_OK) == 0) {
    return AlreadyExistsError("backup '" + path + "' exists; name a directory that doesn't");
  }
  // The directory is made by the same rules as a store's own; RocksDB wants to make the database.
  RETURN_IF_ERROR(PrepareKvDirectory(path, /*read_only=*/false).status());
  rocksdb::Checkpoint* made = nullptr;
  auto status = rocksdb::Checkpoint::Create(impl_->db.get(), &made);
  const std::unique_ptr<rocksdb::Checkpoint> checkpoint(made);
  // Limit 0: whatever is in memory is flushed first, for there is no log that could hold it.
  if (status.ok()) status = checkpoint->CreateCheckpoint(KvDatabasePath(path), 0);
  return status.ok() ? OkStatus() : RocksError(status, path);
}

Result<int64_t> KvDatabase::BytesOnDisk() const { return KvBytesOnDisk(impl_->path); }
int64_t KvDatabase::FileBytesWritten() const { return impl_->written->bytes(); }

}  // namespace baleen
