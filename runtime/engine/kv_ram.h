// KvRam: blocks of KV in RAM by their key, shared by all sequences, within a budget of bytes.
//
// Every sealed block of a live sequence is here too; only blocks that nobody else holds can go, the
// least recently used first. What goes is on the disk, or is computed again.
#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <unordered_map>

#include "model/kv_block.h"
#include "runtime/store/kv_store.h"

namespace baleen {

/// Threads: the engine thread; what says so, any.
class KvRam {
 public:
  explicit KvRam(int64_t budget_bytes) : budget_bytes_(budget_bytes) {}
  KvRam(const KvRam&) = delete;
  KvRam& operator=(const KvRam&) = delete;

  /// The block called `key`, or null.
  std::shared_ptr<KvBlock> Find(const BlockKey& key);
  /// Enters `block` as the most recently used; of two by one key the first stays.
  void Enter(const BlockKey& key, std::shared_ptr<KvBlock> block);
  /// Makes a sequence's blocks the most recently used, its first one last: prefixes are shared.
  void Touch(std::span<const BlockKey> keys);
  /// Drops blocks that only this holds until the budget is met.
  void Trim();
  /// Drops those of `keys` that only this holds.
  void Drop(std::span<const BlockKey> keys);

  /// A block that is here got `bytes` more. Threads: any.
  void Grew(int64_t bytes) { bytes_.fetch_add(bytes, std::memory_order_relaxed); }
  /// Bytes of present units. Threads: any.
  int64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  int64_t budget_bytes() const { return budget_bytes_; }
  /// Bytes that may be added. Threads: any.
  int64_t room() const { return budget_bytes_ - bytes(); }

 private:
  struct Entry {
    BlockKey key{};
    std::shared_ptr<KvBlock> block;  // owners: see KvBlock
  };
  struct KeyHash {
    size_t operator()(const BlockKey& key) const;
  };
  using Entries = std::list<Entry>;

  /// The entry after `entry`, which is removed if nobody else holds its block.
  Entries::iterator RemoveIfUnused(Entries::iterator entry);

  const int64_t budget_bytes_;
  std::atomic<int64_t> bytes_{0};
  Entries entries_;  // the least recently used first
  std::unordered_map<BlockKey, Entries::iterator, KeyHash> by_key_;
};

}  // namespace baleen
