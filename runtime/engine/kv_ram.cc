#include "runtime/engine/kv_ram.h"

#include <cstring>
#include <utility>

namespace baleen {

size_t KvRam::KeyHash::operator()(const BlockKey& key) const {
  size_t hash = 0;  // the key is a SHA-256: any part of it will do
  std::memcpy(&hash, key.data(), sizeof(hash));
  return hash;
}

std::shared_ptr<KvBlock> KvRam::Find(const BlockKey& key) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return nullptr;
  entries_.splice(entries_.end(), entries_, found->second);
  return found->second->block;
}

void KvRam::Enter(const BlockKey& key, std::shared_ptr<KvBlock> block) {
  if (Find(key) != nullptr) return;
  Grew(block->resident_bytes());
  entries_.push_back({key, std::move(block)});
  by_key_.emplace(key, std::prev(entries_.end()));
}

void KvRam::Touch(std::span<const BlockKey> keys) {
  for (auto key = keys.rbegin(); key != keys.rend(); ++key) Find(*key);
}

void KvRam::Trim() {
  for (auto entry = entries_.begin(); entry != entries_.end() && room() < 0;) {
    entry = RemoveIfUnused(entry);
  }
}

void KvRam::Drop(std::span<const BlockKey> keys) {
  for (const BlockKey& key : keys) {
    const auto found = by_key_.find(key);
    if (found != by_key_.end()) RemoveIfUnused(found->second);
  }
}

KvRam::Entries::iterator KvRam::RemoveIfUnused(Entries::iterator entry) {
  // One owner is this cache. Others come only through the engine's thread, which is this one, so
  // that the count can't grow now; and who fills a unit is an owner.
  if (entry->block.use_count() > 1) return std::next(entry);
  Grew(-entry->block->resident_bytes());
  by_key_.erase(entry->key);
  return entries_.erase(entry);
}

}  // namespace baleen
