// Block codec: the bytes of stored shapes, units of blocks, and checkpoints.
//
// Internal to runtime/store. Pure functions over hostile bytes: strict, bounds-checked, so that a
// fuzzer can call them. Knows no RocksDB. Called by kv_store.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/store/kv_records.h"
#include "tools_sdk/status.h"

namespace baleen {

// On-disk, part of kKvFormatVersion. Integers are little-endian; "varint" is LEB128, 10 bytes at
// most; every digest is xxh3-128 (u64 low, u64 high).
//   shape:      "BLNS" u32 version, varint block bytes, varint streams, each: varint name length,
//               name, varint row_bytes, varint rows, varint offset, varint unit.
//   unit 0:     "BLNB" u32 version, key [32], hash of the shape [16], varint tokens, i32 each,
//               bytes of the extent, digest of everything before.
//   other unit: bytes of the extent, digest of them seeded with key and unit.
//   checkpoint: "BLNC" u32 version, key of the parent [32], varint position, varint tail tokens,
//               i32 each, varint state bytes, state, digest of everything before.

std::string EncodeShape(const BlockShape& shape);
/// Errors: DATA_LOSS: not what EncodeShape writes, or a shape that BlockShape::Make refuses.
Result<BlockShape> DecodeShape(std::string_view value);

/// `bytes` is the unit's extent. Unit 0 holds `tokens` too; others ignore them.
std::string EncodeUnit(const BlockKey& key, std::span<const int32_t> tokens,
                       const BlockShape& shape, int32_t unit, std::span<const std::byte> bytes);
/// Size of what EncodeUnit makes.
int64_t EncodedUnitBytes(int64_t tokens, const BlockShape& shape, int32_t unit);

/// Checks a unit whose key, tokens and shape are known, then copies its extent to `out`, which is
/// untouched if the check fails.
/// Errors: DATA_LOSS: checksum, size, or another block than expected.
Status LoadUnit(std::string_view value, const BlockKey& key, std::span<const int32_t> tokens,
                const BlockShape& shape, int32_t unit, std::span<std::byte> out);

/// The head of a unit 0 about which nothing is known, after its checksum was verified.
struct ResidentHead {
  std::array<uint8_t, 16> shape{};
  std::vector<int32_t> tokens;
  std::string_view extent;  ///< Borrows: the value.
};
/// Errors: DATA_LOSS (magic, version, a length beyond the value, another key, checksum).
Result<ResidentHead> DecodeResident(std::string_view value, const BlockKey& key);

std::string EncodeCheckpoint(const BlockKey& parent, const StoredCheckpoint& checkpoint);
/// Errors: DATA_LOSS, as above. Kinds and time are not part of the value.
Result<StoredCheckpoint> DecodeCheckpoint(std::string_view value, const BlockKey& parent);

/// Errors: INVALID_ARGUMENT: no such unit, or not `bytes` long.
Status CheckUnit(const BlockShape& shape, int32_t unit, size_t bytes);
/// Errors: INVALID_ARGUMENT for what the decoders would refuse.
Status CheckBlock(std::span<const int32_t> tokens, const BlockShape& shape, size_t bytes);
Status CheckCheckpoint(const StoredCheckpoint& checkpoint);

}  // namespace baleen
