#include "runtime/store/block_codec.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>

#include "runtime/store/little_endian.h"

namespace baleen {
namespace {

constexpr std::string_view kBlockMagic = "BLNB";
constexpr std::string_view kCheckpointMagic = "BLNC";
constexpr size_t kDigestBytes = 16;
// Copied and hashed a piece at a time, so that the second reader finds the piece in the L2 cache.
constexpr size_t kPieceBytes = 128 << 10;

template <typename T>
void Append(std::string& out, T value) {
  std::byte bytes[sizeof(T)];
  StoreLittle(value, bytes);
  out.append(reinterpret_cast<const char*>(bytes), sizeof(T));
}

void AppendVarint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

void AppendTokens(std::string& out, std::span<const int32_t> tokens) {
  AppendVarint(out, tokens.size());
  const auto bytes = std::as_bytes(tokens);
  out.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

void AppendHead(std::string& out, std::string_view magic, const BlockKey& key) {
  out.append(magic);
  Append<uint32_t>(out, kKvFormatVersion);
  out.append(reinterpret_cast<const char*>(key.data()), key.size());
}

void AppendDigest(std::string& out) {
  const XXH128_hash_t digest = XXH3_128bits(out.data(), out.size());
  Append<uint64_t>(out, digest.low64);
  Append<uint64_t>(out, digest.high64);
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

Status TakeHead(ByteReader& reader, std::string_view magic, const BlockKey& key) {
  ASSIGN_OR_RETURN(const std::string_view found, reader.Take(4, "magic"));
  if (found != magic)
    return DataLossError("stored value: magic differs from " + std::string(magic));
  ASSIGN_OR_RETURN(const std::string_view version, reader.Take(4, "version"));
  const auto number = LoadLittle<uint32_t>(reinterpret_cast<const std::byte*>(version.data()));
  if (number != kKvFormatVersion) {
    return DataLossError("stored value: version " + std::to_string(number) + ", expected " +
                         std::to_string(kKvFormatVersion));
  }
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
  stream.name = name;
  stream.row_bytes = static_cast<int64_t>(row_bytes);
  stream.rows = static_cast<int64_t>(rows);
  stream.offset = static_cast<int64_t>(offset);
  return stream;
}

/// The limits that both directions share. Empty: fine.
std::string BlockProblem(uint64_t tokens, std::span<const StoredStream> streams,
                         uint64_t payload_bytes) {
  if (tokens > kBlockTokensMax || streams.size() > kBlockStreamsMax ||
      payload_bytes > kBlockBytesMax) {
    return "block of " + std::to_string(tokens) + " tokens, " + std::to_string(streams.size()) +
           " streams and " + std::to_string(payload_bytes) + " bytes: expected at most " +
           std::to_string(kBlockTokensMax) + ", " + std::to_string(kBlockStreamsMax) + " and " +
           std::to_string(kBlockBytesMax);
  }
  const auto limit = static_cast<int64_t>(kBlockBytesMax);
  for (const StoredStream& stream : streams) {
    const bool sane = stream.row_bytes >= 0 && stream.rows >= 0 && stream.offset >= 0 &&
                      stream.row_bytes <= limit && stream.rows <= limit && stream.offset <= limit &&
                      stream.name.size() <= kStreamNameBytesMax;
    // At most 2^30 * 2^30 + 2^30: no overflow.
    if (sane &&
        stream.row_bytes * stream.rows + stream.offset <= static_cast<int64_t>(payload_bytes)) {
      continue;
    }
    return "stream '" + stream.name.substr(0, 40) + "' (" + std::to_string(stream.rows) +
           " rows of " + std::to_string(stream.row_bytes) + " bytes at " +
           std::to_string(stream.offset) + ") lies outside the payload of " +
           std::to_string(payload_bytes) + " bytes";
  }
  return {};
}

}  // namespace

Status CheckBlock(std::span<const int32_t> tokens, std::span<const StoredStream> streams,
                  uint64_t payload_bytes) {
  const std::string problem = BlockProblem(tokens.size(), streams, payload_bytes);
  return problem.empty() ? OkStatus() : InvalidArgumentError(problem);
}

Status CheckCheckpoint(const StoredCheckpoint& checkpoint) {
  if (checkpoint.position >= static_cast<int64_t>(checkpoint.tail_tokens.size()) &&
      checkpoint.tail_tokens.size() <= kBlockTokensMax &&
      checkpoint.state.size() <= kBlockBytesMax) {
    return OkStatus();
  }
  return InvalidArgumentError("checkpoint at " + std::to_string(checkpoint.position) + " with " +
                              std::to_string(checkpoint.tail_tokens.size()) + " tail tokens and " +
                              std::to_string(checkpoint.state.size()) +
                              " bytes: expected position >= tail tokens, at most " +
                              std::to_string(kBlockTokensMax) + " tail tokens and " +
                              std::to_string(kBlockBytesMax) + " bytes");
}

namespace {

/// Everything of a block before its payload.
void AppendBlockHead(std::string& out, const BlockKey& key, const BlockShape& shape) {
  const auto& [tokens, streams, payload_bytes] = shape;
  AppendHead(out, kBlockMagic, key);
  AppendTokens(out, tokens);
  AppendVarint(out, streams.size());
  for (const StoredStream& stream : streams) {
    AppendVarint(out, stream.name.size());
    out.append(stream.name);
    AppendVarint(out, static_cast<uint64_t>(stream.row_bytes));
    AppendVarint(out, static_cast<uint64_t>(stream.rows));
    AppendVarint(out, static_cast<uint64_t>(stream.offset));
  }
  AppendVarint(out, payload_bytes);
}

}  // namespace

std::string EncodeBlock(const BlockKey& key, std::span<const int32_t> tokens,
                        std::span<const StoredStream> streams, std::span<const std::byte> bytes) {
  std::string out;
  out.reserve(bytes.size() + tokens.size_bytes() + streams.size() * 48 + 128);
  AppendBlockHead(out, key, {tokens, streams, bytes.size()});
  out.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  AppendDigest(out);
  return out;
}

Result<StoredBlock> DecodeBlock(std::string_view value, const BlockKey& key) {
  ByteReader reader(value);
  StoredBlock block;
  RETURN_IF_ERROR(TakeHead(reader, kBlockMagic, key));
  ASSIGN_OR_RETURN(block.tokens, TakeTokens(reader));
  ASSIGN_OR_RETURN(const uint64_t streams, reader.TakeVarint(kBlockStreamsMax, "stream count"));
  for (uint64_t i = 0; i < streams; ++i) {
    ASSIGN_OR_RETURN(StoredStream stream, TakeStream(reader));
    block.streams.push_back(std::move(stream));
  }
  ASSIGN_OR_RETURN(const uint64_t payload, reader.TakeVarint(kBlockBytesMax, "payload bytes"));
  if (const auto problem = BlockProblem(block.tokens.size(), block.streams, payload);
      !problem.empty()) {
    return DataLossError("stored value: " + problem);
  }
  RETURN_IF_ERROR(reader.Copy(payload, block.bytes, "payload"));
  RETURN_IF_ERROR(reader.Finish());
  return block;
}

Result<std::vector<std::byte>> LoadBlockPayload(std::string_view value, const BlockKey& key,
                                                const BlockShape& shape) {
  std::string head;
  AppendBlockHead(head, key, shape);
  const size_t size = head.size() + shape.payload_bytes + kDigestBytes;
  const XXH128_hash_t digest =
      value.size() == size ? XXH3_128bits(value.data(), size - kDigestBytes) : XXH128_hash_t{};
  const auto* bytes = reinterpret_cast<const std::byte*>(value.data());
  if (value.size() == size && value.starts_with(head) &&
      LoadLittle<uint64_t>(bytes + size - 16) == digest.low64 &&
      LoadLittle<uint64_t>(bytes + size - 8) == digest.high64) {
    return std::vector<std::byte>(bytes + head.size(), bytes + head.size() + shape.payload_bytes);
  }
  // The slow way knows what is wrong with a value in itself; else it is another's.
  RETURN_IF_ERROR(DecodeBlock(value, key).status());
  return DataLossError(
      "stored value: sound, but its token ids or streams are others than expected");
}

std::string EncodeCheckpoint(const BlockKey& parent, const StoredCheckpoint& checkpoint) {
  std::string out;
  out.reserve(checkpoint.state.size() + checkpoint.tail_tokens.size() * sizeof(int32_t) + 128);
  AppendHead(out, kCheckpointMagic, parent);
  AppendVarint(out, static_cast<uint64_t>(checkpoint.position));
  AppendTokens(out, checkpoint.tail_tokens);
  AppendVarint(out, checkpoint.state.size());
  out.append(checkpoint.state);
  AppendDigest(out);
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
