// Reclaim: giving back the space of dropped values, and joining small files.
//
// Values carry no RocksDB tombstones: one for an old number and a new value in one memtable would
// span all numbers between, and its merge would rewrite all of them. Instead a file whose values
// are mostly dead is rewritten alone, without them. Internal to runtime/store; called by
// KvDatabase.
#pragma once

#include <rocksdb/compaction_filter.h>
#include <rocksdb/db.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "runtime/store/kv_database.h"

namespace baleen {

/// Drops dead values from the files that are rewritten; the rest of the time it drops nothing.
class LiveFilterFactory : public rocksdb::CompactionFilterFactory {
 public:
  const char* Name() const override { return "baleen.LiveFilter"; }
  std::unique_ptr<rocksdb::CompactionFilter> CreateCompactionFilter(
      const rocksdb::CompactionFilter::Context& context) override;

  /// Null: keep everything. Owners: this, the reclaiming, and filters at work.
  void SetLive(std::shared_ptr<const LiveNumbers> live);

 private:
  std::mutex mutex_;
  std::shared_ptr<const LiveNumbers> live_;  // guarded by mutex_
};

/// One step over one family; see KvDatabase::ReclaimOnce.
rocksdb::Status ReclaimOnce(rocksdb::DB& db, rocksdb::ColumnFamilyHandle* family,
                            const LiveNumbers& live, const ReclaimLimits& limits,
                            ReclaimStep* step);

}  // namespace baleen
