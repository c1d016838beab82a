// Block shapes: checked and hashed once per model.
#include <algorithm>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "runtime/store/block_codec.h"
#include "runtime/store/kv_records.h"
#include "runtime/store/little_endian.h"

namespace baleen {
namespace {

Status StreamError(const StoredStream& stream, const std::string& problem) {
  return InvalidArgumentError(
      "stream '" + stream.name.substr(0, 40) + "' (" + std::to_string(stream.rows) + " rows of " +
      std::to_string(stream.row_bytes) + " bytes at " + std::to_string(stream.offset) + ", unit " +
      std::to_string(stream.unit) + ") " + problem);
}

Status CheckStream(const StoredStream& stream, int64_t block_bytes) {
  const auto in_limit = [](int64_t value) { return value >= 0 && value <= kBlockBytesMax; };
  if (!in_limit(stream.row_bytes) || !in_limit(stream.rows) || !in_limit(stream.offset) ||
      // At most 2^30 * 2^30 + 2^30: no overflow.
      stream.row_bytes * stream.rows + stream.offset > block_bytes) {
    return StreamError(stream, "lies outside the payload of the block of " +
                                   std::to_string(block_bytes) + " bytes");
  }
  if (stream.unit < 0 || stream.unit >= kBlockUnitsMax) {
    return StreamError(stream, "has a unit outside 0.." + std::to_string(kBlockUnitsMax - 1));
  }
  if (std::ssize(stream.name) > kStreamNameBytesMax) {
    return StreamError(stream, "has a name of more than " + std::to_string(kStreamNameBytesMax) +
                                   " bytes; lies outside what is stored");
  }
  return OkStatus();
}

/// Extents of two units must not overlap: a read of one would write into another.
Status CheckExtents(const std::vector<BlockExtent>& extents) {
  std::vector<size_t> order;
  for (size_t unit = 0; unit < extents.size(); ++unit) {
    if (extents[unit].bytes > 0) order.push_back(unit);
  }
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return extents[a].offset < extents[b].offset; });
  for (size_t i = 1; i < order.size(); ++i) {
    const BlockExtent& before = extents[order[i - 1]];
    if (before.offset + before.bytes <= extents[order[i]].offset) continue;
    return InvalidArgumentError("units " + std::to_string(order[i - 1]) + " and " +
                                std::to_string(order[i]) +
                                " overlap in the block; the streams of a unit must lie together");
  }
  return OkStatus();
}

}  // namespace

Result<BlockShape> BlockShape::Make(std::vector<StoredStream> streams, int64_t block_bytes) {
  if (block_bytes < 0 || block_bytes > kBlockBytesMax || std::ssize(streams) > kBlockStreamsMax) {
    return InvalidArgumentError("block of " + std::to_string(streams.size()) + " streams and " +
                                std::to_string(block_bytes) + " bytes: expected at most " +
                                std::to_string(kBlockStreamsMax) + " and " +
                                std::to_string(kBlockBytesMax));
  }
  BlockShape shape;
  shape.streams_ = std::move(streams);
  shape.block_bytes_ = block_bytes;
  for (const StoredStream& stream : shape.streams_) {
    RETURN_IF_ERROR(CheckStream(stream, block_bytes));
    const auto unit = static_cast<size_t>(stream.unit);
    if (unit >= shape.extents_.size()) shape.extents_.resize(unit + 1);
    BlockExtent& extent = shape.extents_[unit];
    const int64_t bytes = stream.rows * stream.row_bytes;
    if (bytes == 0) continue;
    if (extent.bytes == 0) {
      extent = {stream.offset, bytes};
      continue;
    }
    const int64_t end = std::max(extent.offset + extent.bytes, stream.offset + bytes);
    extent.offset = std::min(extent.offset, stream.offset);
    extent.bytes = end - extent.offset;
  }
  RETURN_IF_ERROR(CheckExtents(shape.extents_));
  const std::string table = EncodeShape(shape);
  const XXH128_hash_t hash = XXH3_128bits(table.data(), table.size());
  auto* out = reinterpret_cast<std::byte*>(shape.hash_.data());
  StoreLittle<uint64_t>(hash.low64, out);
  StoreLittle<uint64_t>(hash.high64, out + 8);
  return shape;
}

}  // namespace baleen
