#include "runtime/store/block_codec.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "runtime/store/little_endian.h"

namespace baleen {
namespace {

constexpr std::string_view kShapeMagic = "BLNS";
constexpr std::string_view kBlockMagic = "BLNB";
constexpr std::string_view kCheckpointMagic = "BLNC";
constexpr size_t kDigestBytes = 16;
// Copied and hashed a piece at a time, so that the second reader finds the piece in the L2 cache.
constexpr size_t kPieceBytes = 128 << 10;

void AppendVarint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

void AppendTokens(std::string& out, std::span<const int32_t> tokens) {
  AppendVarint(out, tokens.size());
  const auto bytes = std::as_bytes(tokens);
  out.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

void AppendVersion(std::string& out, std::string_view magic) {
  out.append(magic);
  AppendLittle<uint32_t>(out, kKvFormatVersion);
}

void AppendDigest(std::string& out, const XXH128_hash_t& digest) {
  AppendLittle<uint64_t>(out, digest.low64);
  AppendLittle<uint64_t>(out, digest.high64);
}

void AppendDigestOfAll(std::string& out) {
  AppendDigest(out, XXH3_128bits(out.data(), out.size()));
}

/// So that a unit in another's place has a wrong checksum.
uint64_t UnitSeed(const BlockKey& key, int32_t unit) {
  const auto first = LoadLittle<uint64_t>(reinterpret_cast<const std::byte*>(key.data()));
  return first ^ (static_cast<uint64_t>(unit) * 0x9e3779b97f4a7c15);
}

/// Of the last bytes of `value`, which is long enough.
bool EndsWithDigest(std::string_view value, const XXH128_hash_t& digest) {
  const auto* end = reinterpret_cast<const std::byte*>(value.data()) + value.size();
  return LoadLittle<uint64_t>(end - 16) == digest.low64 &&
         LoadLittle<uint64_t>(end - 8) == digest.high64;
}

/// Takes fields off the front of a value; hashes what it takes.
class ByteReader {
 public:
  explicit ByteReader(std::string_view value) : rest_(value) { XXH3_128bits_reset(&hash_); }

  size_t left() const { return rest_.size(); }

  /// `field` names what was expected, for the message.
  Result<std::string_view> Take(uint64_t count, std::string_view field) {
    if (count > rest_.size()) return Short(count, field);
    const std::string_view taken = rest_.substr(0, count);
    XXH3_128bits_update(&hash_, taken.data(), taken.size());
    rest_.remove_prefix(count);
    return taken;
  }

  Result<uint64_t> TakeVarint(uint64_t most, std::string_view field) {
    uint64_t value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
      ASSIGN_OR_RETURN(const std::string_view one, Take(1, field));
      const auto byte = static_cast<uint8_t>(one[0]);
      if (shift == 63 && byte > 1) break;
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte >= 0x80) continue;
      if (value <= most) return value;
      return DataLossError("stored value: " + std::string(field) + " is " + std::to_string(value) +
                           ", expected at most " + std::to_string(most));
    }
    return DataLossError("stored value: " + std::string(field) + " is not a number of 64 bits");
  }

  /// Appends `count` bytes to `out`, a piece at a time.
  template <typename Container>
  Status Copy(uint64_t count, Container& out, std::string_view field) {
    if (count > rest_.size()) return Short(count, field);
    using Element = typename Container::value_type;
    out.reserve(out.size() + count);
    while (count > 0) {
      const size_t piece = std::min<uint64_t>(count, kPieceBytes);
      const auto* from = reinterpret_cast<const Element*>(rest_.data());
      out.insert(out.end(), from, from + piece);
      XXH3_128bits_update(&hash_, rest_.data(), piece);
      rest_.remove_prefix(piece);
      count -= piece;
    }
    return OkStatus();
  }

  /// The digest is the last thing in a value, and right.
  Status Finish() {
    if (rest_.size() != kDigestBytes) {
      return DataLossError("stored value: " + std::to_string(rest_.size()) +
                           " bytes after the payload, expected the checksum's 16");
    }
    const XXH128_hash_t digest = XXH3_128bits_digest(&hash_);
    const auto* stored = reinterpret_cast<const std::byte*>(rest_.data());
    if (LoadLittle<uint64_t>(stored) == digest.low64 &&
        LoadLittle<uint64_t>(stored + 8) == digest.high64) {
      return OkStatus();
    }
    return DataLossError("stored value: checksum differs; the bytes are damaged");
  }

 private:
  Status Short(uint64_t count, std::string_view field) const {
    return DataLossError("stored value: " + std::string(field) + " needs " + std::to_string(count) +
                         " bytes, " + std::to_string(rest_.size()) + " are left");
  }

  std::string_view rest_;
  XXH3_state_t hash_;
};

Status TakeVersion(ByteReader& reader, std::string_view magic) {
  ASSIGN_OR_RETURN(const std::string_view found, reader.Take(4, "magic"));
  if (found != magic)
    return DataLossError("stored value: magic differs from " + std::string(magic));
  ASSIGN_OR_RETURN(const std::string_view version, reader.Take(4, "version"));
  const auto number = LoadLittle<uint32_t>(reinterpret_cast<const std::byte*>(version.data()));
  if (number != kKvFormatVersion) {
    return DataLossError("stored value: version " + std::to_string(number) + ", expected " +
                         std::to_string(kKvFormatVersion));
  }
  return OkStatus();
}

Status TakeHead(ByteReader& reader, std::string_view magic, const BlockKey& key) {
  RETURN_IF_ERROR(TakeVersion(reader, magic));
  ASSIGN_OR_RETURN(const std::string_view owner, reader.Take(key.size(), "key"));
  if (!std::equal(key.begin(), key.end(), reinterpret_cast<const uint8_t*>(owner.data()))) {
    return DataLossError("stored value: belongs to another key than " + BlockKeyHex(key));
  }
  return OkStatus();
}

Result<std::vector<int32_t>> TakeTokens(ByteReader& reader) {
  ASSIGN_OR_RETURN(const uint64_t count, reader.TakeVarint(kBlockTokensMax, "token count"));
  ASSIGN_OR_RETURN(const std::string_view bytes, reader.Take(count * sizeof(int32_t), "token ids"));
  std::vector<int32_t> tokens(count);
  for (size_t i = 0; i < count; ++i) {
    tokens[i] =
        LoadLittle<int32_t>(reinterpret_cast<const std::byte*>(bytes.data()) + i * sizeof(int32_t));
  }
  return tokens;
}

Result<StoredStream> TakeStream(ByteReader& reader) {
  StoredStream stream;
  ASSIGN_OR_RETURN(const uint64_t length, reader.TakeVarint(kStreamNameBytesMax, "name length"));
  ASSIGN_OR_RETURN(const std::string_view name, reader.Take(length, "stream name"));
  ASSIGN_OR_RETURN(const uint64_t row_bytes, reader.TakeVarint(kBlockBytesMax, "row bytes"));
  ASSIGN_OR_RETURN(const uint64_t rows, reader.TakeVarint(kBlockBytesMax, "rows"));
  ASSIGN_OR_RETURN(const uint64_t offset, reader.TakeVarint(kBlockBytesMax, "offset"));
  ASSIGN_OR_RETURN(const uint64_t unit, reader.TakeVarint(kBlockUnitsMax, "unit"));
  stream.name = name;
  stream.row_bytes = static_cast<int64_t>(row_bytes);
  stream.rows = static_cast<int64_t>(rows);
  stream.offset = static_cast<int64_t>(offset);
  stream.unit = static_cast<int32_t>(unit);
  return stream;
}

}  // namespace

Status CheckBlock(std::span<const int32_t> tokens, const BlockShape& shape, size_t bytes) {
  if (std::ssize(tokens) <= kBlockTokensMax && static_cast<int64_t>(bytes) == shape.block_bytes()) {
    return OkStatus();
  }
  return InvalidArgumentError("block of " + std::to_string(tokens.size()) + " tokens and " +
                              std::to_string(bytes) + " bytes: expected at most " +
                              std::to_string(kBlockTokensMax) + " tokens, and its shape's " +
                              std::to_string(shape.block_bytes()) + " bytes");
}

Status CheckUnit(const BlockShape& shape, int32_t unit, size_t bytes) {
  if (unit < 0 || unit >= shape.units()) {
    return InvalidArgumentError("unit " + std::to_string(unit) +
                                ": the block's shape has units 0.." +
                                std::to_string(shape.units() - 1));
  }
  if (static_cast<int64_t>(bytes) == shape.extent(unit).bytes) return OkStatus();
  return InvalidArgumentError("room for " + std::to_string(bytes) + " bytes, expected " +
                              std::to_string(shape.extent(unit).bytes));
}

Status CheckCheckpoint(const StoredCheckpoint& checkpoint) {
  if (checkpoint.position >= std::ssize(checkpoint.tail_tokens) &&
      std::ssize(checkpoint.tail_tokens) <= kBlockTokensMax &&
      std::ssize(checkpoint.state) <= kBlockBytesMax) {
    return OkStatus();
  }
  return InvalidArgumentError("checkpoint at " + std::to_string(checkpoint.position) + " with " +
                              std::to_string(checkpoint.tail_tokens.size()) + " tail tokens and " +
                              std::to_string(checkpoint.state.size()) +
                              " bytes: expected position >= tail tokens, at most " +
                              std::to_string(kBlockTokensMax) + " tail tokens and " +
                              std::to_string(kBlockBytesMax) + " bytes");
}

std::string EncodeShape(const BlockShape& shape) {
  std::string out;
  AppendVersion(out, kShapeMagic);
  AppendVarint(out, static_cast<uint64_t>(shape.block_bytes()));
  AppendVarint(out, shape.streams().size());
  for (const StoredStream& stream : shape.streams()) {
    AppendVarint(out, stream.name.size());
    out.append(stream.name);
    AppendVarint(out, static_cast<uint64_t>(stream.row_bytes));
    AppendVarint(out, static_cast<uint64_t>(stream.rows));
    AppendVarint(out, static_cast<uint64_t>(stream.offset));
    AppendVarint(out, static_cast<uint64_t>(stream.unit));
  }
  return out;
}

Result<BlockShape> DecodeShape(std::string_view value) {
  ByteReader reader(value);
  RETURN_IF_ERROR(TakeVersion(reader, kShapeMagic));
  ASSIGN_OR_RETURN(const uint64_t block_bytes, reader.TakeVarint(kBlockBytesMax, "block bytes"));
  ASSIGN_OR_RETURN(const uint64_t count, reader.TakeVarint(kBlockStreamsMax, "stream count"));
  std::vector<StoredStream> streams;
  for (uint64_t i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(StoredStream stream, TakeStream(reader));
    streams.push_back(std::move(stream));
  }
  if (reader.left() > 0) {
    return DataLossError("stored shape: " + std::to_string(reader.left()) + " bytes too many");
  }
  auto shape = BlockShape::Make(std::move(streams), static_cast<int64_t>(block_bytes));
  if (!shape.ok()) return DataLossError("stored shape: " + shape.status().message());
  return shape;
}

namespace {

/// Everything of unit 0 before its extent.
std::string ResidentHeadBytes(const BlockKey& key, std::span<const int32_t> tokens,
                              const BlockShape& shape, size_t reserve) {
  std::string out;
  out.reserve(tokens.size_bytes() + 80 + reserve);
  AppendVersion(out, kBlockMagic);
  AppendBytes(out, key);
  AppendBytes(out, shape.hash());
  AppendTokens(out, tokens);
  return out;
}

Status LoadResident(std::string_view value, const BlockKey& key, std::span<const int32_t> tokens,
                    const BlockShape& shape, std::span<std::byte> out) {
  const std::string head = ResidentHeadBytes(key, tokens, shape, 0);
  const size_t size = head.size() + out.size() + kDigestBytes;
  if (value.size() == size && value.starts_with(head) &&
      EndsWithDigest(value, XXH3_128bits(value.data(), size - kDigestBytes))) {
    if (!out.empty()) std::memcpy(out.data(), value.data() + head.size(), out.size());
    return OkStatus();
  }
  // The slow way knows what is wrong with a value in itself; else it is another's.
  ASSIGN_OR_RETURN(const ResidentHead found, DecodeResident(value, key));
  if (!std::equal(found.tokens.begin(), found.tokens.end(), tokens.begin(), tokens.end())) {
    return DataLossError("stored block holds other token ids than expected; recompute it");
  }
  return DataLossError("stored block has another shape than expected; recompute it");
}

}  // namespace

std::string EncodeUnit(const BlockKey& key, std::span<const int32_t> tokens,
                       const BlockShape& shape, int32_t unit, std::span<const std::byte> bytes) {
  const auto* begin = reinterpret_cast<const char*>(bytes.data());
  if (unit == 0) {
    std::string out = ResidentHeadBytes(key, tokens, shape, bytes.size() + kDigestBytes);
    out.append(begin, bytes.size());
    AppendDigestOfAll(out);
    return out;
  }
  std::string out;
  out.reserve(bytes.size() + kDigestBytes);
  out.append(begin, bytes.size());
  AppendDigest(out, XXH3_128bits_withSeed(out.data(), out.size(), UnitSeed(key, unit)));
  return out;
}

int64_t EncodedUnitBytes(int64_t tokens, const BlockShape& shape, int32_t unit) {
  const auto bytes = shape.extent(unit).bytes + static_cast<int64_t>(kDigestBytes);
  if (unit != 0) return bytes;
  return bytes + static_cast<int64_t>(ResidentHeadBytes({}, {}, shape, 0).size()) - 1 +
         (tokens < 0x80     ? 1
          : tokens < 0x4000 ? 2
                            : 3) +
         tokens * 4;
}

Status LoadUnit(std::string_view value, const BlockKey& key, std::span<const int32_t> tokens,
                const BlockShape& shape, int32_t unit, std::span<std::byte> out) {
  RETURN_IF_ERROR(CheckUnit(shape, unit, out.size()));
  if (unit == 0) return LoadResident(value, key, tokens, shape, out);
  if (value.size() != out.size() + kDigestBytes) {
    return DataLossError("stored unit has " + std::to_string(value.size()) + " bytes, expected " +
                         std::to_string(out.size() + kDigestBytes));
  }
  if (!EndsWithDigest(value,
                      XXH3_128bits_withSeed(value.data(), out.size(), UnitSeed(key, unit)))) {
    return DataLossError("stored unit: checksum differs; the bytes are damaged");
  }
  if (!out.empty()) std::memcpy(out.data(), value.data(), out.size());
  return OkStatus();
}

Result<ResidentHead> DecodeResident(std::string_view value, const BlockKey& key) {
  ByteReader reader(value);
  ResidentHead head;
  RETURN_IF_ERROR(TakeHead(reader, kBlockMagic, key));
  ASSIGN_OR_RETURN(const std::string_view shape, reader.Take(head.shape.size(), "shape"));
  std::copy(shape.begin(), shape.end(), head.shape.begin());
  ASSIGN_OR_RETURN(head.tokens, TakeTokens(reader));
  if (reader.left() < kDigestBytes) {
    return DataLossError("stored value: ends within its checksum");
  }
  ASSIGN_OR_RETURN(head.extent, reader.Take(reader.left() - kDigestBytes, "payload"));
  RETURN_IF_ERROR(reader.Finish());
  return head;
}

std::string EncodeCheckpoint(const BlockKey& parent, const StoredCheckpoint& checkpoint) {
  std::string out;
  out.reserve(checkpoint.state.size() + checkpoint.tail_tokens.size() * sizeof(int32_t) + 128);
  AppendVersion(out, kCheckpointMagic);
  AppendBytes(out, parent);
  AppendVarint(out, static_cast<uint64_t>(checkpoint.position));
  AppendTokens(out, checkpoint.tail_tokens);
  AppendVarint(out, checkpoint.state.size());
  out.append(checkpoint.state);
  AppendDigestOfAll(out);
  return out;
}

Result<StoredCheckpoint> DecodeCheckpoint(std::string_view value, const BlockKey& parent) {
  ByteReader reader(value);
  StoredCheckpoint checkpoint;
  RETURN_IF_ERROR(TakeHead(reader, kCheckpointMagic, parent));
  ASSIGN_OR_RETURN(const uint64_t position, reader.TakeVarint(INT64_MAX, "position"));
  checkpoint.position = static_cast<int64_t>(position);
  ASSIGN_OR_RETURN(checkpoint.tail_tokens, TakeTokens(reader));
  if (position < checkpoint.tail_tokens.size()) {
    return DataLossError("stored value: more tail tokens than its position");
  }
  ASSIGN_OR_RETURN(const uint64_t state, reader.TakeVarint(kBlockBytesMax, "state bytes"));
  RETURN_IF_ERROR(reader.Copy(state, checkpoint.state, "state"));
  RETURN_IF_ERROR(reader.Finish());
  return checkpoint;
}

}  // namespace baleen
