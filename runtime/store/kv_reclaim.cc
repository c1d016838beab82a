#include "runtime/store/kv_reclaim.h"

#include <rocksdb/convenience.h>
#include <rocksdb/metadata.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>
#include <utility>

#include "runtime/store/index_codec.h"

namespace baleen {
namespace {

// Files below this are joined; above, another reads no faster.
constexpr uint64_t kSmallFileBytes = 8 << 20;
constexpr uint64_t kJoinedFileBytes = 64 << 20;
constexpr size_t kJoinedFilesMin = 8;
constexpr int kAttempts = 4;
constexpr std::chrono::milliseconds kMergeWait(500);

class LiveFilter : public rocksdb::CompactionFilter {
 public:
  explicit LiveFilter(std::shared_ptr<const LiveNumbers> live) : live_(std::move(live)) {}
  const char* Name() const override { return "baleen.LiveFilter"; }
  bool Filter(int /*level*/, const rocksdb::Slice& key, const rocksdb::Slice& /*value*/,
              std::string* /*new_value*/, bool* /*changed*/) const override {
    return !live_->Contains(NumberInKey({key.data(), key.size()}));
  }

 private:
  const std::shared_ptr<const LiveNumbers> live_;  // owners: see LiveFilterFactory
};

struct ValueFile {
  std::string name;
  int level = 0;
  uint64_t bytes = 0;
  uint64_t first = 0;  ///< Number of the first value, and of the last.
  uint64_t last = 0;
  int64_t live_bytes = 0;

  double DeadFraction() const {
    if (bytes == 0) return 0;
    return 1.0 - static_cast<double>(live_bytes) / static_cast<double>(bytes);
  }
  /// Level 0 has an order in time, out of which no file may be taken.
  bool IsDead() const { return live_bytes == 0 && level > 0; }
};

/// In the order of their numbers; those that a merge has at the moment are left out.
std::vector<ValueFile> ListFiles(rocksdb::DB& db, rocksdb::ColumnFamilyHandle* family,
                                 const LiveNumbers& live) {
  rocksdb::ColumnFamilyMetaData contents;
  db.GetColumnFamilyMetaData(family, &contents);
  std::vector<ValueFile> files;
  for (const rocksdb::LevelMetaData& level : contents.levels) {
    for (const rocksdb::SstFileMetaData& file : level.files) {
      if (file.being_compacted) continue;
      ValueFile value;
      value.name = file.name;
      value.level = level.level;
      value.bytes = file.size;
      value.first = NumberInKey(file.smallestkey);
      value.last = NumberInKey(file.largestkey);
      value.live_bytes = live.BytesIn(value.first, value.last);
      files.push_back(std::move(value));
    }
  }
  std::sort(files.begin(), files.end(),
            [](const ValueFile& a, const ValueFile& b) { return a.first < b.first; });
  return files;
}

int64_t FamilyBytes(rocksdb::DB& db, rocksdb::ColumnFamilyHandle* family) {
  rocksdb::ColumnFamilyMetaData contents;
  db.GetColumnFamilyMetaData(family, &contents);
  return static_cast<int64_t>(contents.size);
}

/// The first long run of small neighbours: they cost a file each to open.
std::span<const ValueFile> SmallRun(std::span<const ValueFile> files) {
  for (size_t begin = 0; begin < files.size();) {
    size_t end = begin;
    uint64_t bytes = 0;
    while (end < files.size() && files[end].bytes < kSmallFileBytes &&
           bytes + files[end].bytes <= kJoinedFileBytes) {
      bytes += files[end++].bytes;
    }
    if (end - begin >= kJoinedFilesMin) return files.subspan(begin, end - begin);
    begin = std::max(end, begin + 1);
  }
  return {};
}

/// The deadest file, with its neighbours of which enough is dead too: each rewriting costs several
/// syncs, whatever its size. Wholly dead ones by themselves, as they are deleted unread. Empty:
/// none is dead enough.
std::span<const ValueFile> DeadRun(std::span<const ValueFile> files, const ReclaimLimits& limits) {
  const auto deadest = std::max_element(
      files.begin(), files.end(),
      [](const ValueFile& a, const ValueFile& b) { return a.DeadFraction() < b.DeadFraction(); });
  if (deadest == files.end() || deadest->DeadFraction() < limits.dead_fraction_min) return {};
  auto begin = static_cast<size_t>(deadest - files.begin());
  size_t end = begin + 1;
  uint64_t bytes = deadest->bytes;
  const auto joins = [&](const ValueFile& file) {
    if (static_cast<int64_t>(end - begin) >= limits.files_max) return false;
    if (deadest->IsDead()) return file.IsDead();
    return file.bytes < kSmallFileBytes && bytes + file.bytes <= kJoinedFileBytes &&
           file.DeadFraction() >= limits.dead_fraction_min;
  };
  while (begin > 0 && joins(files[begin - 1])) bytes += files[--begin].bytes;
  while (end < files.size() && joins(files[end])) bytes += files[end++].bytes;
  return files.subspan(begin, end - begin);
}

/// RocksDB stops all writing once a merge meets a damaged block, so the file is read through first.
rocksdb::Status ReadThrough(rocksdb::DB& db, rocksdb::ColumnFamilyHandle* family,
                            const ValueFile& file) {
  rocksdb::ReadOptions options;
  options.verify_checksums = true;
  options.readahead_size = 1 << 20;
  const std::unique_ptr<rocksdb::Iterator> entry(db.NewIterator(options, family));
  for (entry->Seek(NumberKey(file.first)); entry->Valid(); entry->Next()) {
    if (NumberInKey({entry->key().data(), entry->key().size()}) > file.last) break;
  }
  return entry->status();
}

rocksdb::Status Rewrite(rocksdb::DB& db, rocksdb::ColumnFamilyHandle* family,
                        std::span<const ValueFile> files) {
  rocksdb::CompactionOptions options;
  options.compression = rocksdb::kNoCompression;
  std::vector<std::string> names;
  int level = 1;
  for (const ValueFile& file : files) {
    names.push_back(file.name);
    level = std::max(level, file.level);
  }
  return db.CompactFiles(options, family, names, level);
}

/// Deletes neighbours that nothing live lies in, unread.
rocksdb::Status DeleteFiles(rocksdb::DB& db, rocksdb::ColumnFamilyHandle* family,
                            std::span<const ValueFile> files) {
  const std::string begin = NumberKey(files.front().first);
  const std::string end = NumberKey(files.back().last + 1);
  const rocksdb::Slice from(begin);
  const rocksdb::Slice to(end);
  return rocksdb::DeleteFilesInRange(&db, family, &from, &to, /*include_end=*/false);
}

/// Files that RocksDB merges by itself at the moment could not be taken. Waits for at most a while.
void AwaitMerges(rocksdb::DB& db) {
  const auto deadline = std::chrono::steady_clock::now() + kMergeWait;
  uint64_t running = 0;
  while (db.GetIntProperty(rocksdb::DB::Properties::kNumRunningCompactions, &running) &&
         running > 0 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

rocksdb::Status Attempt(rocksdb::DB& db, rocksdb::ColumnFamilyHandle* family,
                        const LiveNumbers& live, const ReclaimLimits& limits, ReclaimStep* step) {
  const std::vector<ValueFile> files = ListFiles(db, family, live);
  std::span<const ValueFile> chosen = DeadRun(files, limits);
  const bool dead = !chosen.empty();
  if (!dead && limits.join_small_files) chosen = SmallRun(files);
  if (chosen.empty()) return rocksdb::Status::OK();
  const int64_t before = FamilyBytes(db, family);
  rocksdb::Status status;
  if (dead && chosen.front().IsDead()) {
    status = DeleteFiles(db, family, chosen);
  } else {
    for (const ValueFile& file : chosen) {
      status = ReadThrough(db, family, file);
      if (status.IsCorruption()) {
        step->damaged_first = file.first;
        step->damaged_last = file.last;
        return rocksdb::Status::OK();
      }
      if (!status.ok()) return status;
    }
    status = Rewrite(db, family, chosen);
  }
  if (!status.ok()) return status;
  step->files = std::ssize(chosen);
  step->bytes_freed = before - FamilyBytes(db, family);
  // Files that didn't shrink would be chosen again for ever.
  step->done = dead && step->bytes_freed <= 0;
  return status;
}

}  // namespace

std::unique_ptr<rocksdb::CompactionFilter> LiveFilterFactory::CreateCompactionFilter(
    const rocksdb::CompactionFilter::Context& /*context*/) {
  const std::lock_guard lock(mutex_);
  return live_ == nullptr ? nullptr : std::make_unique<LiveFilter>(live_);
}

void LiveFilterFactory::SetLive(std::shared_ptr<const LiveNumbers> live) {
  const std::lock_guard lock(mutex_);
  live_ = std::move(live);
}

rocksdb::Status ReclaimOnce(rocksdb::DB& db, rocksdb::ColumnFamilyHandle* family,
                            const LiveNumbers& live, const ReclaimLimits& limits,
                            ReclaimStep* step) {
  rocksdb::Status status;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    AwaitMerges(db);
    *step = {};
    status = Attempt(db, family, live, limits, step);
    // A merge that began meanwhile has one of the files.
    if (!status.IsAborted() && !status.IsInvalidArgument()) return status;
  }
  return rocksdb::Status::OK();  // the next run, then
}

}  // namespace baleen
