#include "runtime/store/kv_store.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "runtime/store/block_codec.h"
#include "runtime/store/kv_store_impl.h"

namespace baleen {
namespace {

std::string BlockName(const BlockKey& key) { return "KV block " + BlockKeyHex(key); }

/// The part of a block that a unit is.
std::span<const std::byte> Part(std::span<const std::byte> bytes, const BlockExtent& extent) {
  return bytes.subspan(static_cast<size_t>(extent.offset), static_cast<size_t>(extent.bytes));
}

}  // namespace

Status KvStore::Impl::Open(bool* dropped) {
  ASSIGN_OR_RETURN(database, KvDatabase::Open(options, dropped));
  ASSIGN_OR_RETURN(const uint64_t block, database->LastNumber(KvFamily::kBlocks));
  ASSIGN_OR_RETURN(const uint64_t row, database->LastNumber(KvFamily::kRows));
  ASSIGN_OR_RETURN(const uint64_t checkpoint, database->LastNumber(KvFamily::kCheckpoints));
  next_block = std::max(block, row) + 1;
  next_checkpoint = checkpoint + 1;
  reader = std::make_unique<UnitReader>(database.get(), std::max(1, options.reader_threads));
  reader->on_block_used = [this](const BlockKey& key) { NoteUse(key); };
  return OkStatus();
}

Status KvStore::Impl::CheckWritable() const {
  if (!options.read_only) return OkStatus();
  return FailedPreconditionError("KV store '" + options.path +
                                 "' is open read-only; open it for writing");
}

int64_t KvStore::Impl::NowMs() const {
  if (options.now_ms) return options.now_ms();
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

Result<std::optional<BlockEntry>> KvStore::Impl::FindBlock(const BlockKey& key) const {
  ASSIGN_OR_RETURN(const auto value, database->Get(KvFamily::kIndex, BlockIndexKey(key)));
  if (!value.has_value()) return std::optional<BlockEntry>();
  auto entry = DecodeBlockEntry(*value);
  if (!entry.has_value()) return DataLossError(BlockName(key) + ": its index entry is damaged");
  return entry;
}

Result<std::optional<NumberedCheckpoint>> KvStore::Impl::FindCheckpoint(
    const CheckpointEntry& name) const {
  const std::string index_key = CheckpointIndexKey(name);
  ASSIGN_OR_RETURN(const auto value, database->Get(KvFamily::kIndex, index_key));
  if (!value.has_value()) return std::optional<NumberedCheckpoint>();
  // A damaged entry finds nothing, and is overwritten by the next one of its name.
  return DecodeCheckpointEntry(index_key, *value);
}

Result<const BlockShape*> KvStore::Impl::FindShape(const std::array<uint8_t, 16>& hash) {
  const std::lock_guard lock(shape_mutex);
  const auto known = shapes.find(hash);
  if (known != shapes.end()) return &known->second;
  ASSIGN_OR_RETURN(const auto value, database->Get(KvFamily::kIndex, ShapeIndexKey(hash)));
  if (!value.has_value()) return DataLossError("the shape that the block names is not stored");
  ASSIGN_OR_RETURN(BlockShape shape, DecodeShape(*value));
  if (shape.hash() != hash) return DataLossError("stored shape: its hash differs");
  return &shapes.emplace(hash, std::move(shape)).first->second;
}

Result<std::string> KvStore::Impl::ReadValue(KvFamily family, const std::string& key) const {
  ASSIGN_OR_RETURN(auto value, database->Get(family, key));
  if (value.has_value()) return std::move(*value);
  return DataLossError("KV store '" + options.path + "': value " +
                       std::to_string(NumberInKey(key)) +
                       " is indexed but missing; it will be recomputed");
}

KvStore::KvStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
KvStore::~KvStore() = default;

Result<std::unique_ptr<KvStore>> KvStore::Open(const KvStoreOptions& options, bool* dropped) {
  bool older = false;
  if (dropped != nullptr) *dropped = false;
  auto impl = std::make_unique<Impl>(options);
  RETURN_IF_ERROR(impl->Open(&older));
  if (dropped != nullptr) *dropped = older;
  return std::unique_ptr<KvStore>(new KvStore(std::move(impl)));
}

Status KvStore::Remove(const std::string& path) { return KvDatabase::Remove(path); }

Status KvStore::PutBlock(const BlockKey& key, std::span<const int32_t> tokens,
                         const BlockShape& shape, std::span<const std::byte> bytes) {
  RETURN_IF_ERROR(impl_->CheckWritable());
  RETURN_IF_ERROR(CheckBlock(tokens, shape, bytes.size()));
  impl_->NoteUse(key);  // Before the look-up: a sweep under way must see it.
  if (HasBlock(key)) return OkStatus();
  // Encoded outside the lock; the keys wait for the number.
  std::vector<KvWrite> writes(1);
  std::vector<int32_t> units;
  int64_t stored_bytes = 0;
  for (int32_t unit = 0; unit < shape.units(); ++unit) {
    const BlockExtent extent = shape.extent(unit);
    if (unit != 0 && extent.bytes == 0) continue;
    units.push_back(unit);
    writes.push_back({unit == 0 ? KvFamily::kBlocks : KvFamily::kRows, "",
                      EncodeUnit(key, tokens, shape, unit, Part(bytes, extent))});
    stored_bytes += std::ssize(*writes.back().value);
  }
  const std::lock_guard lock(impl_->write_mutex);
  ASSIGN_OR_RETURN(const auto found, impl_->FindBlock(key));
  if (found.has_value()) return OkStatus();
  const uint64_t number = impl_->next_block;
  const int64_t now = impl_->NowMs();
  writes[0] = {KvFamily::kIndex, BlockIndexKey(key),
               EncodeBlockEntry({number, stored_bytes, std::ssize(*writes[1].value), now, now})};
  for (size_t i = 0; i < units.size(); ++i) {
    writes[i + 1].key = units[i] == 0 ? NumberKey(number) : KvRowKey(number, units[i]);
  }
  if (!impl_->FindShape(shape.hash()).ok()) {
    writes.push_back({KvFamily::kIndex, ShapeIndexKey(shape.hash()), EncodeShape(shape)});
  }
  writes.push_back({KvFamily::kIndex, TombstoneIndexKey(key), std::nullopt});
  RETURN_IF_ERROR(impl_->database->Apply(writes));
  ++impl_->next_block;
  impl_->payload_bytes_put += std::ssize(bytes);
  return OkStatus();
}

Result<StoredBlock> KvStore::GetBlock(const BlockKey& key, std::span<const int32_t> tokens) {
  ASSIGN_OR_RETURN(const auto entry, impl_->FindBlock(key));
  if (!entry.has_value()) return BlockNotStored(key);
  ASSIGN_OR_RETURN(const std::string value,
                   impl_->ReadValue(KvFamily::kBlocks, NumberKey(entry->number)));
  auto head = DecodeResident(value, key);
  if (!head.ok()) return head.status().WithContext(BlockName(key));
  ASSIGN_OR_RETURN(const BlockShape* shape, impl_->FindShape(head->shape));
  StoredBlock block;
  ASSIGN_OR_RETURN(block.bytes, LoadBlock(key, tokens, *shape));
  block.tokens = std::move(head->tokens);
  block.streams.assign(shape->streams().begin(), shape->streams().end());
  return block;
}

Result<std::vector<std::byte>> KvStore::LoadBlock(const BlockKey& key,
                                                  std::span<const int32_t> tokens,
                                                  const BlockShape& shape) {
  std::vector<std::byte> bytes(static_cast<size_t>(shape.block_bytes()));
  std::vector<UnitRead> reads;
  for (int32_t unit = 0; unit < shape.units(); ++unit) {
    const BlockExtent extent = shape.extent(unit);
    if (unit != 0 && extent.bytes == 0) continue;
    UnitRead read;
    read.key = key;
    read.unit = unit;
    read.out = std::span(bytes).subspan(static_cast<size_t>(extent.offset),
                                        static_cast<size_t>(extent.bytes));
    read.tokens = tokens;
    reads.push_back(std::move(read));
  }
  RETURN_IF_ERROR(LoadUnits(reads, shape));
  return bytes;
}

Status KvStore::LoadUnits(std::span<UnitRead> reads, const BlockShape& shape,
                          std::optional<std::chrono::steady_clock::time_point> deadline) {
  return impl_->reader->Load(reads, shape, deadline);
}

std::unique_ptr<UnitLoad> KvStore::StartUnits(std::vector<UnitRead> reads, const BlockShape& shape,
                                              UnitPriority priority, UnitsDone done) {
  return impl_->reader->Start(std::move(reads), shape, priority, std::move(done));
}

bool KvStore::HasBlock(const BlockKey& key) {
  const auto entry = impl_->FindBlock(key);
  return entry.ok() && entry->has_value();
}

Status KvStore::PutCheckpoint(const BlockKey& parent, const StoredCheckpoint& checkpoint) {
  RETURN_IF_ERROR(impl_->CheckWritable());
  RETURN_IF_ERROR(CheckCheckpoint(checkpoint));
  NumberedCheckpoint stored;
  stored.entry = CheckpointName(parent, checkpoint.tail_tokens);
  const std::string index_key = CheckpointIndexKey(stored.entry);
  const std::lock_guard lock(impl_->write_mutex);
  ASSIGN_OR_RETURN(const auto found, impl_->FindCheckpoint(stored.entry));
  std::vector<KvWrite> writes;
  if (found.has_value()) {
    if ((found->entry.kinds | checkpoint.kinds) == found->entry.kinds) return OkStatus();
    stored = *found;
    stored.entry.kinds |= checkpoint.kinds;
  } else {
    std::string value = EncodeCheckpoint(parent, checkpoint);
    stored.number = impl_->next_checkpoint;
    stored.entry.position = checkpoint.position;
    stored.entry.kinds = checkpoint.kinds;
    stored.entry.created_ms = impl_->NowMs();
    stored.entry.bytes = std::ssize(value);
    writes.push_back({KvFamily::kCheckpoints, NumberKey(stored.number), std::move(value)});
  }
  writes.push_back({KvFamily::kIndex, index_key, EncodeCheckpointEntry(stored)});
  RETURN_IF_ERROR(impl_->database->Apply(writes));
  if (found.has_value()) return OkStatus();
  ++impl_->next_checkpoint;
  ++impl_->checkpoints_put;
  impl_->payload_bytes_put += std::ssize(checkpoint.state);
  return OkStatus();
}

Result<std::vector<StoredCheckpoint>> KvStore::FindCheckpoints(const BlockKey& parent,
                                                               std::span<const int32_t> tail,
                                                               int64_t* damaged) {
  if (damaged != nullptr) *damaged = 0;
  ASSIGN_OR_RETURN(std::vector<CheckpointEntry> entries, ListCheckpoints({&parent, 1}));
  std::reverse(entries.begin(), entries.end());
  std::vector<StoredCheckpoint> found;
  for (const CheckpointEntry& entry : entries) {
    const size_t length = entry.tail_length;
    if (length > tail.size()) continue;
    const CheckpointEntry name = CheckpointName(parent, tail.first(length));
    if (name.tail_hash != entry.tail_hash) continue;
    ASSIGN_OR_RETURN(const auto stored, impl_->FindCheckpoint(entry));
    if (!stored.has_value()) continue;  // dropped since
    const auto value = impl_->ReadValue(KvFamily::kCheckpoints, NumberKey(stored->number));
    auto checkpoint =
        value.ok() ? DecodeCheckpoint(*value, parent) : Result<StoredCheckpoint>(value.status());
    const bool good = checkpoint.ok() &&
                      std::equal(checkpoint->tail_tokens.begin(), checkpoint->tail_tokens.end(),
                                 tail.begin(), tail.begin() + static_cast<int64_t>(length));
    if (good) {
      checkpoint->kinds = stored->entry.kinds;
      checkpoint->created_ms = stored->entry.created_ms;
      found.push_back(std::move(*checkpoint));
      continue;
    }
    if (!checkpoint.ok() && checkpoint.status().code() != StatusCode::kDataLoss) {
      return checkpoint.status();
    }
    if (damaged != nullptr) ++*damaged;
    if (!impl_->options.read_only) RETURN_IF_ERROR(impl_->DropEntries({&entry, 1}));
  }
  return found;
}

Result<std::vector<CheckpointEntry>> KvStore::ListCheckpoints(std::span<const BlockKey> parents) {
  std::vector<CheckpointEntry> entries;
  for (const BlockKey& parent : parents) {
    RETURN_IF_ERROR(impl_->database->Scan(KvFamily::kIndex, CheckpointIndexPrefix(parent),
                                          [&](std::string_view key, std::string_view value) {
                                            const auto found = DecodeCheckpointEntry(key, value);
                                            if (found.has_value()) entries.push_back(found->entry);
                                            return true;
                                          }));
  }
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    return std::tie(a.position, a.tail_hash) < std::tie(b.position, b.tail_hash);
  });
  return entries;
}

Result<std::vector<CheckpointEntry>> KvStore::ListAllCheckpoints() {
  std::vector<CheckpointEntry> entries;
  RETURN_IF_ERROR(impl_->database->Scan(KvFamily::kIndex, std::string(1, kCheckpointTag),
                                        [&](std::string_view key, std::string_view value) {
                                          const auto found = DecodeCheckpointEntry(key, value);
                                          if (found.has_value()) entries.push_back(found->entry);
                                          return true;
                                        }));
  return entries;
}

int64_t KvStore::checkpoints_put() const { return impl_->checkpoints_put; }

Status KvStore::SetCheckpointKinds(const CheckpointEntry& name, uint32_t add, uint32_t remove) {
  RETURN_IF_ERROR(impl_->CheckWritable());
  const std::lock_guard lock(impl_->write_mutex);
  ASSIGN_OR_RETURN(auto found, impl_->FindCheckpoint(name));
  if (!found.has_value()) {
    return NotFoundError("no checkpoint after block " + BlockKeyHex(name.parent) + " and " +
                         std::to_string(name.tail_length) + " more tokens is stored");
  }
  const uint32_t kinds = (found->entry.kinds & ~remove) | add;
  if (found->entry.kinds == kinds) return OkStatus();
  found->entry.kinds = kinds;
  const KvWrite write = {KvFamily::kIndex, CheckpointIndexKey(name), EncodeCheckpointEntry(*found)};
  return impl_->database->Apply({&write, 1});
}

Status KvStore::DropCheckpoint(const BlockKey& parent, std::span<const int32_t> tail) {
  const CheckpointEntry name = CheckpointName(parent, tail);
  return DropCheckpoints({&name, 1});
}

Status KvStore::DropCheckpoints(std::span<const CheckpointEntry> entries) {
  RETURN_IF_ERROR(impl_->CheckWritable());
  return impl_->DropEntries(entries);
}

}  // namespace baleen
