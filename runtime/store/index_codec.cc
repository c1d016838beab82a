#include "runtime/store/index_codec.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>

#include "runtime/store/little_endian.h"

namespace baleen {
namespace {

template <typename T>
void AppendBigEndian(std::string& out, T value) {
  for (int shift = static_cast<int>(sizeof(T)) * 8 - 8; shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>(value >> shift));
  }
}

template <typename T>
T BigEndianAt(std::string_view bytes, size_t at) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) {
    value = static_cast<T>(value << 8 | static_cast<uint8_t>(bytes[at + i]));
  }
  return value;
}

template <typename T>
T At(std::string_view bytes, size_t at) {
  return LoadLittle<T>(reinterpret_cast<const std::byte*>(bytes.data()) + at);
}

std::string Tagged(char tag, const BlockKey& key) {
  std::string tagged(1, tag);
  AppendBytes(tagged, key);
  return tagged;
}

constexpr size_t kCheckpointKeyBytes = 1 + 32 + 4 + 16;

}  // namespace

std::string BlockIndexKey(const BlockKey& key) { return Tagged(kBlockTag, key); }
std::string TombstoneIndexKey(const BlockKey& key) { return Tagged(kTombstoneTag, key); }
std::string CheckpointIndexPrefix(const BlockKey& parent) { return Tagged(kCheckpointTag, parent); }

std::string ShapeIndexKey(const std::array<uint8_t, 16>& hash) {
  std::string key(1, kShapeTag);
  AppendBytes(key, hash);
  return key;
}

std::string CheckpointIndexKey(const CheckpointEntry& entry) {
  std::string key = CheckpointIndexPrefix(entry.parent);
  AppendBigEndian(key, entry.tail_length);
  AppendBytes(key, entry.tail_hash);
  return key;
}

CheckpointEntry CheckpointName(const BlockKey& parent, std::span<const int32_t> tail) {
  CheckpointEntry entry;
  entry.parent = parent;
  entry.tail_length = static_cast<uint32_t>(tail.size());
  const XXH128_hash_t hash = XXH3_128bits(tail.data(), tail.size_bytes());
  std::string bytes;
  AppendBigEndian(bytes, hash.high64);
  AppendBigEndian(bytes, hash.low64);
  std::copy(bytes.begin(), bytes.end(), entry.tail_hash.begin());
  return entry;
}

std::optional<BlockKey> KeyInIndex(std::string_view index_key, char tag) {
  BlockKey key;
  if (index_key.size() != 1 + key.size() || index_key[0] != tag) return std::nullopt;
  std::copy_n(index_key.begin() + 1, key.size(), key.begin());
  return key;
}

std::string EncodeBlockEntry(const BlockEntry& entry) {
  std::string value;
  AppendLittle<uint64_t>(value, entry.number);
  AppendLittle<int64_t>(value, entry.bytes);
  AppendLittle<int64_t>(value, entry.resident_bytes);
  AppendLittle<int64_t>(value, entry.created_ms);
  AppendLittle<int64_t>(value, entry.used_ms);
  return value;
}

std::optional<BlockEntry> DecodeBlockEntry(std::string_view value) {
  if (value.size() != 40) return std::nullopt;
  BlockEntry entry;
  entry.number = At<uint64_t>(value, 0);
  entry.bytes = At<int64_t>(value, 8);
  entry.resident_bytes = At<int64_t>(value, 16);
  entry.created_ms = At<int64_t>(value, 24);
  entry.used_ms = At<int64_t>(value, 32);
  if (entry.number == 0 || entry.resident_bytes < 0 || entry.bytes < entry.resident_bytes) {
    return std::nullopt;
  }
  return entry;
}

std::string EncodeCheckpointEntry(const NumberedCheckpoint& checkpoint) {
  std::string value;
  AppendLittle<uint64_t>(value, checkpoint.number);
  AppendLittle<int64_t>(value, checkpoint.entry.bytes);
  AppendLittle<int64_t>(value, checkpoint.entry.created_ms);
  AppendLittle<int64_t>(value, checkpoint.entry.position);
  AppendLittle<uint32_t>(value, checkpoint.entry.kinds);
  return value;
}

std::optional<NumberedCheckpoint> DecodeCheckpointEntry(std::string_view index_key,
                                                        std::string_view value) {
  if (index_key.size() != kCheckpointKeyBytes || index_key[0] != kCheckpointTag ||
      value.size() != 36) {
    return std::nullopt;
  }
  NumberedCheckpoint checkpoint;
  CheckpointEntry& entry = checkpoint.entry;
  std::copy_n(index_key.begin() + 1, entry.parent.size(), entry.parent.begin());
  entry.tail_length = BigEndianAt<uint32_t>(index_key, 33);
  std::copy_n(index_key.begin() + 37, entry.tail_hash.size(), entry.tail_hash.begin());
  checkpoint.number = At<uint64_t>(value, 0);
  entry.bytes = At<int64_t>(value, 8);
  entry.created_ms = At<int64_t>(value, 16);
  entry.position = At<int64_t>(value, 24);
  entry.kinds = At<uint32_t>(value, 32);
  if (checkpoint.number == 0 || entry.bytes < 0 || entry.position < 0) return std::nullopt;
  return checkpoint;
}

std::string EncodeTombstone(const Tombstone& tombstone) {
  std::string value;
  AppendLittle<int64_t>(value, tombstone.time_ms);
  AppendLittle<int64_t>(value, tombstone.detail);
  AppendLittle<uint8_t>(value, static_cast<uint8_t>(tombstone.reason));
  return value;
}

std::optional<Tombstone> DecodeTombstone(std::string_view value) {
  if (value.size() != 17) return std::nullopt;
  Tombstone tombstone;
  tombstone.time_ms = At<int64_t>(value, 0);
  tombstone.detail = At<int64_t>(value, 8);
  const auto reason = At<uint8_t>(value, 16);
  if (reason < 1 || reason > static_cast<uint8_t>(DropReason::kRequested)) return std::nullopt;
  tombstone.reason = static_cast<DropReason>(reason);
  return tombstone;
}

std::string NumberKey(uint64_t number) {
  std::string key;
  AppendBigEndian(key, number);
  return key;
}

std::string KvRowKey(uint64_t number, int32_t unit) {
  std::string key = NumberKey(number);
  AppendBigEndian(key, static_cast<uint16_t>(unit));
  return key;
}

uint64_t NumberInKey(std::string_view key) {
  return key.size() < sizeof(uint64_t) ? 0 : BigEndianAt<uint64_t>(key, 0);
}

}  // namespace baleen
