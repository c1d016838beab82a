// Block codec: the bytes of a stored block and of a stored checkpoint.
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

#include "runtime/store/kv_store.h"
#include "tools_sdk/status.h"

namespace baleen {

// On-disk, part of kKvFormatVersion. Integers are little-endian; "varint" is LEB128, 10 bytes at
// most.
//   block:      "BLNB" u32 version, key [32], varint tokens, i32 each, varint streams, each: varint
//               name length, name, varint row_bytes, varint rows, varint offset; varint payload
//               bytes, payload, xxh3-128 (u64 low, u64 high) of everything before.
//   checkpoint: "BLNC" u32 version, key of the parent [32], varint position, varint tail tokens,
//   i32
//               each, varint state bytes, state, xxh3-128 of everything before.

/// What a block may hold at most; a header that says more is damage, not a reason to allocate.
inline constexpr uint64_t kBlockTokensMax = 1 << 16;
inline constexpr uint64_t kBlockStreamsMax = 1 << 14;
inline constexpr uint64_t kStreamNameBytesMax = 256;
inline constexpr uint64_t kBlockBytesMax = uint64_t{1} << 30;

std::string EncodeBlock(const BlockKey& key, std::span<const int32_t> tokens,
                        std::span<const StoredStream> streams, std::span<const std::byte> bytes);
/// Copies out of `value` and verifies its checksum in the same pass.
/// Errors: DATA_LOSS (magic, version, a length beyond the value, a stream outside the payload,
/// another key, bytes left over, checksum).
Result<StoredBlock> DecodeBlock(std::string_view value, const BlockKey& key);

/// What the head of a block says, besides its key.
struct BlockShape {
  std::span<const int32_t> tokens;
  std::span<const StoredStream> streams;
  uint64_t payload_bytes = 0;
};

/// The payload of a block whose head is known: the head is compared as bytes and the checksum taken
/// in one go, which is several times faster than DecodeBlock for small blocks.
/// Errors: DATA_LOSS: as DecodeBlock, or another head than expected.
Result<std::vector<std::byte>> LoadBlockPayload(std::string_view value, const BlockKey& key,
                                                const BlockShape& shape);

std::string EncodeCheckpoint(const BlockKey& parent, const StoredCheckpoint& checkpoint);
/// Errors: DATA_LOSS, as above.
Result<StoredCheckpoint> DecodeCheckpoint(std::string_view value, const BlockKey& parent);

/// Errors: INVALID_ARGUMENT for what DecodeBlock would refuse: limits, negative sizes, a stream
/// that reaches outside the payload.
Status CheckBlock(std::span<const int32_t> tokens, std::span<const StoredStream> streams,
                  uint64_t payload_bytes);
Status CheckCheckpoint(const StoredCheckpoint& checkpoint);

}  // namespace baleen
