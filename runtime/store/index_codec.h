// Index codec: keys and values of the KV store's index.
//
// Internal to runtime/store. Pure functions over hostile bytes. Called by kv_store*.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "runtime/store/kv_records.h"

namespace baleen {

// On-disk, part of kKvFormatVersion. Numbers in keys are big-endian, so that they sort; in values
// little-endian. RocksDB's own checksums are verified for the index, so entries carry none.
//   'b' key [32]                                -> u64 number, i64 bytes, i64 of unit 0,
//                                                  i64 created, i64 used
//   'c' parent [32], u32 tail length, hash [16] -> u64 number, i64 bytes, i64 created,
//                                                  i64 position, u32 kinds
//   's' hash [16]                               -> EncodeShape
//   't' key [32]                                -> i64 time, i64 detail, u8 reason
inline constexpr char kBlockTag = 'b';
inline constexpr char kCheckpointTag = 'c';
inline constexpr char kShapeTag = 's';
inline constexpr char kTombstoneTag = 't';

struct BlockEntry {
  uint64_t number = 0;
  int64_t bytes = 0;           ///< Stored, all units.
  int64_t resident_bytes = 0;  ///< Of them, unit 0.
  int64_t created_ms = 0;
  int64_t used_ms = 0;
};

struct NumberedCheckpoint {
  uint64_t number = 0;
  CheckpointEntry entry;
};

struct Tombstone {
  int64_t time_ms = 0;
  int64_t detail = 0;
  DropReason reason = DropReason::kRequested;
};

std::string BlockIndexKey(const BlockKey& key);
std::string ShapeIndexKey(const std::array<uint8_t, 16>& hash);
std::string TombstoneIndexKey(const BlockKey& key);
/// What all checkpoints after `parent` begin with.
std::string CheckpointIndexPrefix(const BlockKey& parent);
std::string CheckpointIndexKey(const CheckpointEntry& entry);
/// Parent, length and hash of the checkpoint after `tail`; the rest is empty.
CheckpointEntry CheckpointName(const BlockKey& parent, std::span<const int32_t> tail);

/// Of a block's or tombstone's index key; nothing if it is none.
std::optional<BlockKey> KeyInIndex(std::string_view index_key, char tag);

std::string EncodeBlockEntry(const BlockEntry& entry);
std::optional<BlockEntry> DecodeBlockEntry(std::string_view value);
std::string EncodeCheckpointEntry(const NumberedCheckpoint& checkpoint);
/// Nothing unless both have the right form.
std::optional<NumberedCheckpoint> DecodeCheckpointEntry(std::string_view index_key,
                                                        std::string_view value);
std::string EncodeTombstone(const Tombstone& tombstone);
std::optional<Tombstone> DecodeTombstone(std::string_view value);

/// Key of a value in the families of blocks and checkpoints.
std::string NumberKey(uint64_t number);
/// Key of a unit in the family of rows: sorts by number, then unit.
std::string KvRowKey(uint64_t number, int32_t unit);
/// The number that a value's key begins with; 0, which no value has, if it is too short.
uint64_t NumberInKey(std::string_view key);

}  // namespace baleen
