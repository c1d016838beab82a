// KvStore's upkeep: what is stored, what was used, what is dropped, whether it is whole.
#include <algorithm>
#include <ctime>
#include <utility>

#include "runtime/store/block_codec.h"
#include "runtime/store/kv_store_impl.h"

namespace baleen {
namespace {

/// A use is written down at most this often, so that loads cost next to no writes.
constexpr int64_t kUseGranularityMs = 3'600'000;
constexpr size_t kNotedUsesMax = 1 << 18;
/// About 60 bytes each.
constexpr size_t kTombstonesMax = 1 << 14;
/// Of one write, so that dropping a whole session doesn't hold up puts.
constexpr size_t kDropsPerWrite = 256;

std::string UtcTime(int64_t ms) {
  const auto seconds = static_cast<time_t>(ms / 1000);
  std::tm parts{};
  char text[32];
  if (gmtime_r(&seconds, &parts) == nullptr ||
      std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts) == 0) {
    return "an unknown time";
  }
  return text;
}

}  // namespace

void KvStore::Impl::NoteUse(const BlockKey& key) {
  const int64_t now = NowMs();
  const std::lock_guard lock(use_mutex);
  if (noted_uses.size() >= kNotedUsesMax) {
    noted_uses.clear();
    sweeps_forgotten = sweeps;
  }
  Use& noted = noted_uses[key];
  noted.sweeps = sweeps;
  if (noted.ms != 0 && now < noted.ms + kUseGranularityMs) return;
  noted.ms = now;
  if (new_uses.size() < kNotedUsesMax) new_uses.push_back(key);
}

Result<std::vector<KvWrite>> KvStore::Impl::TakeUses() {
  std::vector<BlockKey> keys;
  {
    const std::lock_guard lock(use_mutex);
    keys.swap(new_uses);
  }
  const int64_t now = NowMs();
  std::vector<KvWrite> writes;
  for (const BlockKey& key : keys) {
    ASSIGN_OR_RETURN(auto entry, FindBlock(key));
    if (!entry.has_value() || now < entry->used_ms + kUseGranularityMs) continue;
    entry->used_ms = now;
    writes.push_back({KvFamily::kIndex, BlockIndexKey(key), EncodeBlockEntry(*entry)});
  }
  return writes;
}

Status KvStore::Impl::LoadTombstones() {
  if (tombstones_known) return OkStatus();
  RETURN_IF_ERROR(database->Scan(KvFamily::kIndex, std::string(1, kTombstoneTag),
                                 [&](std::string_view index_key, std::string_view value) {
                                   const auto key = KeyInIndex(index_key, kTombstoneTag);
                                   const auto tombstone = DecodeTombstone(value);
                                   if (key.has_value() && tombstone.has_value()) {
                                     tombstones.emplace(tombstone->time_ms, *key);
                                   }
                                   return true;
                                 }));
  tombstones_known = true;
  return OkStatus();
}

Status KvStore::Impl::AddTombstone(const BlockKey& key, const Tombstone& tombstone,
                                   std::vector<KvWrite>& writes) {
  RETURN_IF_ERROR(LoadTombstones());
  writes.push_back({KvFamily::kIndex, TombstoneIndexKey(key), EncodeTombstone(tombstone)});
  tombstones.emplace(tombstone.time_ms, key);
  while (tombstones.size() > kTombstonesMax) {
    const BlockKey oldest = tombstones.begin()->second;
    tombstones.erase(tombstones.begin());
    if (oldest == key) continue;
    writes.push_back({KvFamily::kIndex, TombstoneIndexKey(oldest), std::nullopt});
  }
  return OkStatus();
}

Status KvStore::Impl::DropEntries(std::span<const CheckpointEntry> entries) {
  std::vector<KvWrite> writes;
  for (const CheckpointEntry& entry : entries) {
    writes.push_back({KvFamily::kIndex, CheckpointIndexKey(entry), std::nullopt});
  }
  const std::lock_guard lock(write_mutex);
  return database->Apply(writes);
}

Result<int64_t> KvStore::Impl::DropPart(std::span<const BlockKey> keys,
                                        const Tombstone& tombstone) {
  int64_t dropped = 0;
  std::vector<KvWrite> writes;
  for (const BlockKey& key : keys) {
    // Whatever lies there goes, even an entry that doesn't decode.
    ASSIGN_OR_RETURN(const auto entry, database->Get(KvFamily::kIndex, BlockIndexKey(key)));
    if (!entry.has_value()) continue;
    ++dropped;
    writes.push_back({KvFamily::kIndex, BlockIndexKey(key), std::nullopt});
    RETURN_IF_ERROR(AddTombstone(key, tombstone, writes));
  }
  RETURN_IF_ERROR(database->Apply(writes));
  return dropped;
}

Status KvStore::DropBlocks(std::span<const BlockKey> keys, DropReason reason, int64_t detail) {
  RETURN_IF_ERROR(impl_->CheckWritable());
  const Tombstone tombstone = {impl_->NowMs(), detail, reason};
  while (!keys.empty()) {
    const auto part = keys.first(std::min(keys.size(), kDropsPerWrite));
    keys = keys.subspan(part.size());
    const std::lock_guard lock(impl_->write_mutex);
    RETURN_IF_ERROR(impl_->DropPart(part, tombstone).status());
  }
  return OkStatus();
}

SweepStart KvStore::BeginSweep() {
  const std::scoped_lock lock(impl_->write_mutex, impl_->use_mutex);
  return {++impl_->sweeps, impl_->next_block, impl_->NowMs()};
}

Result<int64_t> KvStore::SweepBlocks(std::span<const BlockKey> keys, const SweepStart& start,
                                     DropReason reason, int64_t detail) {
  RETURN_IF_ERROR(impl_->CheckWritable());
  const Tombstone tombstone = {impl_->NowMs(), detail, reason};
  int64_t dropped = 0;
  while (!keys.empty()) {
    const auto part = keys.first(std::min(keys.size(), kDropsPerWrite));
    keys = keys.subspan(part.size());
    // Both until the write is done: nobody may begin to use a block in between.
    const std::scoped_lock lock(impl_->write_mutex, impl_->use_mutex);
    if (impl_->sweeps_forgotten >= start.sweep) {
      return AbortedError("too many blocks were used during the sweep; begin another");
    }
    std::vector<BlockKey> unused;
    for (const BlockKey& key : part) {
      const auto noted = impl_->noted_uses.find(key);
      if (noted != impl_->noted_uses.end() && noted->second.sweeps >= start.sweep) continue;
      unused.push_back(key);
    }
    ASSIGN_OR_RETURN(const int64_t gone, impl_->DropPart(unused, tombstone));
    dropped += gone;
  }
  return dropped;
}

std::string KvStore::MissReason(const BlockKey& key) {
  const auto value = impl_->database->Get(KvFamily::kIndex, TombstoneIndexKey(key));
  if (!value.ok()) return value.status().ToString();
  const auto tombstone = value->has_value() ? DecodeTombstone(**value) : std::nullopt;
  if (!tombstone.has_value()) return "never stored";
  const std::string time = UtcTime(tombstone->time_ms);
  switch (tombstone->reason) {
    case DropReason::kDamaged: return "dropped at " + time + " because its bytes were damaged";
    case DropReason::kQuota:
      return "evicted at " + time + " under the quota of " + std::to_string(tombstone->detail) +
             " bytes";
    case DropReason::kCollected: return "collected at " + time + ": no session referred to it";
    case DropReason::kRequested: return "dropped at " + time + " on request";
  }
  return "never stored";
}

Status KvStore::Flush() {
  if (impl_->options.read_only) return OkStatus();
  {
    const std::lock_guard lock(impl_->write_mutex);
    ASSIGN_OR_RETURN(const std::vector<KvWrite> uses, impl_->TakeUses());
    if (!uses.empty()) RETURN_IF_ERROR(impl_->database->Apply(uses));
  }
  return impl_->database->Flush();
}

Status KvStore::Impl::VerifyBlock(const BlockKey& key, const BlockEntry& entry) {
  ASSIGN_OR_RETURN(const std::string value, ReadValue(KvFamily::kBlocks, NumberKey(entry.number)));
  ASSIGN_OR_RETURN(const ResidentHead head, DecodeResident(value, key));
  ASSIGN_OR_RETURN(const BlockShape* shape, FindShape(head.shape));
  if (std::ssize(head.extent) != shape->extent(0).bytes) {
    return DataLossError("unit 0 has another size than its shape says");
  }
  std::vector<std::byte> out;
  for (int32_t unit = 1; unit < shape->units(); ++unit) {
    const int64_t bytes = shape->extent(unit).bytes;
    if (bytes == 0) continue;
    ASSIGN_OR_RETURN(const std::string rows,
                     ReadValue(KvFamily::kRows, KvRowKey(entry.number, unit)));
    out.resize(static_cast<size_t>(bytes));
    const Status status = LoadUnit(rows, key, {}, *shape, unit, out);
    if (!status.ok()) return status.WithContext("unit " + std::to_string(unit));
  }
  return OkStatus();
}

Result<KvStoreReport> KvStore::Verify() {
  KvStoreReport report;
  // Listed first, so that the walk holds no iterator, and with it no old files, while it reads.
  std::vector<std::pair<std::string, std::string>> entries;
  RETURN_IF_ERROR(impl_->database->Scan(KvFamily::kIndex, "",
                                        [&](std::string_view key, std::string_view value) {
                                          entries.emplace_back(key, value);
                                          return true;
                                        }));
  for (const auto& [index_key, value] : entries) {
    const auto block = KeyInIndex(index_key, kBlockTag);
    const auto checkpoint = DecodeCheckpointEntry(index_key, value);
    Status status;
    std::string name;
    if (block.has_value()) {
      name = "block " + BlockKeyHex(*block);
      const auto entry = DecodeBlockEntry(value);
      status = entry.has_value() ? impl_->VerifyBlock(*block, *entry)
                                 : DataLossError("its index entry is damaged");
      ++report.blocks;
      report.block_bytes += entry.has_value() ? entry->bytes : 0;
    } else if (checkpoint.has_value()) {
      name = "checkpoint after " + BlockKeyHex(checkpoint->entry.parent);
      const auto state = impl_->ReadValue(KvFamily::kCheckpoints, NumberKey(checkpoint->number));
      status =
          state.ok() ? DecodeCheckpoint(*state, checkpoint->entry.parent).status() : state.status();
      ++report.checkpoints;
      report.checkpoint_bytes += checkpoint->entry.bytes;
    } else if (index_key.starts_with(kShapeTag)) {
      name = "shape";
      status = DecodeShape(value).status();
    } else if (!KeyInIndex(index_key, kTombstoneTag).has_value()) {
      name = "index entry of " + std::to_string(index_key.size()) + " bytes";
      status = DataLossError("unknown form");
    }
    if (status.ok()) continue;
    ASSIGN_OR_RETURN(const auto now, impl_->database->Get(KvFamily::kIndex, index_key));
    if (!now.has_value()) continue;  // dropped while this walk went on
    report.problems.push_back(name + ": " + status.message());
  }
  return report;
}

Result<std::vector<BlockUsage>> KvStore::ListBlocks() {
  std::vector<BlockUsage> blocks;
  RETURN_IF_ERROR(impl_->database->Scan(KvFamily::kIndex, std::string(1, kBlockTag),
                                        [&](std::string_view index_key, std::string_view value) {
                                          const auto key = KeyInIndex(index_key, kBlockTag);
                                          const auto entry = DecodeBlockEntry(value);
                                          if (key.has_value() && entry.has_value()) {
                                            blocks.push_back({*key, entry->number, entry->bytes,
                                                              entry->created_ms, entry->used_ms});
                                          }
                                          return true;
                                        }));
  {
    const std::lock_guard lock(impl_->use_mutex);
    for (BlockUsage& block : blocks) {
      const auto noted = impl_->noted_uses.find(block.key);
      if (noted == impl_->noted_uses.end()) continue;
      block.used_ms = std::max(block.used_ms, noted->second.ms);
    }
  }
  std::sort(blocks.begin(), blocks.end(),
            [](const BlockUsage& a, const BlockUsage& b) { return a.number < b.number; });
  return blocks;
}

Result<int64_t> KvStore::BytesOnDisk() { return impl_->database->BytesOnDisk(); }

Result<KvStoreCounters> KvStore::Counters() {
  KvStoreCounters counters;
  const UnitReadCounts& reads = impl_->reader->counts();
  counters.payload_bytes_put = impl_->payload_bytes_put;
  counters.file_bytes_written = impl_->database->FileBytesWritten();
  counters.units_read = reads.units;
  counters.unit_bytes_read = reads.bytes;
  counters.units_late = reads.late;
  counters.units_damaged = reads.damaged;
  counters.blocks_found = reads.blocks_found;
  counters.blocks_missed = reads.blocks_missed;
  ASSIGN_OR_RETURN(const auto blocks, ListBlocks());
  counters.blocks = std::ssize(blocks);
  for (const BlockUsage& block : blocks) counters.block_bytes += block.bytes;
  ASSIGN_OR_RETURN(counters.bytes_on_disk, BytesOnDisk());
  return counters;
}

}  // namespace baleen
