// MemoryRegistry: what plays the disk for the in-memory stores, a map from path to contents.
//
// The stores in this folder replace SQLite and RocksDB at link time when BALEEN_THREAD_CORE is on,
// so that ThreadSanitizer sees all threads and locks of the process and no uninstrumented library
// that makes its own. Nothing here outlives the process. Used by memory_journal.cc and
// memory_kv_store.cc only.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace baleen {

/// Threads: any.
template <typename Contents>
class MemoryRegistry {
 public:
  /// The contents at `path`, made empty if absent. Owners: the registry, and every store that has
  /// the path open.
  std::shared_ptr<Contents> Open(const std::string& path) {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::shared_ptr<Contents>& entry = entries_[path];
    if (entry == nullptr) entry = std::make_shared<Contents>();
    return entry;
  }

  bool Has(const std::string& path) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return entries_.count(path) != 0;
  }

  /// Who has the path open keeps the old contents.
  void Remove(const std::string& path) {
    const std::lock_guard<std::mutex> lock(mutex_);
    entries_.erase(path);
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Contents>> entries_;
};

}  // namespace baleen
