#include "runtime/store/journal_codec.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <nlohmann/json.hpp>

#include "runtime/store/little_endian.h"

namespace baleen {
namespace {

/// A running xxh3-64. Lengths go in before contents, so that fields can't slide into each other.
class Checksum {
 public:
  Checksum() { XXH3_64bits_reset(&state_); }
  Checksum& Add(int64_t value) {
    std::byte bytes[sizeof(value)];
    StoreLittle(value, bytes);
    XXH3_64bits_update(&state_, bytes, sizeof(bytes));
    return *this;
  }
  Checksum& Add(std::span<const std::byte> bytes) {
    Add(static_cast<int64_t>(bytes.size()));
    if (!bytes.empty()) XXH3_64bits_update(&state_, bytes.data(), bytes.size());
    return *this;
  }
  Checksum& Add(std::string_view text) { return Add(std::as_bytes(std::span(text))); }
  int64_t Digest() const { return static_cast<int64_t>(XXH3_64bits_digest(&state_)); }

 private:
  XXH3_state_t state_;
};

Status CheckSize(std::string_view text, int64_t bytes_max) {
  if (static_cast<int64_t>(text.size()) <= bytes_max) return OkStatus();
  return InvalidArgumentError("JSON text has " + std::to_string(text.size()) +
                              " bytes, expected at most " + std::to_string(bytes_max));
}

}  // namespace

std::vector<std::byte> EncodeTokenIds(std::span<const int32_t> ids) {
  const auto bytes = std::as_bytes(ids);
  return {bytes.begin(), bytes.end()};
}

Result<std::vector<int32_t>> DecodeTokenIds(std::span<const std::byte> bytes) {
  const size_t count = bytes.size() / sizeof(int32_t);
  if (bytes.empty() || bytes.size() % sizeof(int32_t) != 0 ||
      count > static_cast<size_t>(kTokenRowIds)) {
    return DataLossError("token blob has " + std::to_string(bytes.size()) +
                         " bytes, expected a multiple of 4 from 4 to " +
                         std::to_string(kTokenRowIds * 4));
  }
  std::vector<int32_t> ids(count);
  for (size_t i = 0; i < count; ++i) {
    ids[i] = LoadLittle<int32_t>(bytes.data() + i * sizeof(int32_t));
    if (ids[i] < 0) {
      return DataLossError("token blob holds the negative id " + std::to_string(ids[i]) +
                           " at index " + std::to_string(i));
    }
  }
  return ids;
}

std::vector<std::byte> EncodeLogitsHashes(std::span<const uint64_t> hashes) {
  const auto bytes = std::as_bytes(hashes);
  return {bytes.begin(), bytes.end()};
}

Result<std::vector<uint64_t>> DecodeLogitsHashes(std::span<const std::byte> bytes, size_t count) {
  if (bytes.empty()) return std::vector<uint64_t>();
  if (bytes.size() % sizeof(uint64_t) != 0 || bytes.size() / sizeof(uint64_t) != count) {
    return DataLossError("logits hash blob has " + std::to_string(bytes.size()) +
                         " bytes, expected 8 for each of " + std::to_string(count) + " ids");
  }
  std::vector<uint64_t> hashes(count);
  for (size_t i = 0; i < count; ++i) {
    hashes[i] = LoadLittle<uint64_t>(bytes.data() + i * sizeof(uint64_t));
  }
  return hashes;
}

Status CheckJson(std::string_view text, int64_t bytes_max) {
  RETURN_IF_ERROR(CheckSize(text, bytes_max));
  if (!nlohmann::json::accept(text.begin(), text.end())) {
    return InvalidArgumentError("expected JSON text, got bytes that don't parse: '" +
                                std::string(text.substr(0, 40)) + "'");
  }
  return OkStatus();
}

Status CheckJsonObject(std::string_view text, int64_t bytes_max) {
  RETURN_IF_ERROR(CheckJson(text, bytes_max));
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || text[first] != '{') {
    return InvalidArgumentError("expected a JSON object, got '" + std::string(text.substr(0, 40)) +
                                "'");
  }
  return OkStatus();
}

Status CheckSessionId(std::string_view id) {
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  bool good = !id.empty() && id.size() <= 63 && plain(id[0]);
  for (const char c : id) good = good && (plain(c) || c == '-');
  if (good) return OkStatus();
  return InvalidArgumentError("session id '" + std::string(id.substr(0, 80)) +
                              "': expected [a-z0-9][a-z0-9-]{0,62}");
}

int64_t AnswerHash(std::string_view request_id, std::string_view method) {
  const auto hash = static_cast<uint64_t>(Checksum().Add(request_id).Add(method).Digest());
  return static_cast<int64_t>(hash >> 17);
}

int64_t EventChecksum(int64_t timeline_key, const EventRecord& event) {
  return Checksum()
      .Add(timeline_key)
      .Add(event.seq)
      .Add(event.time_ms)
      .Add(std::string_view(event.kind))
      .Add(static_cast<int64_t>(event.version))
      .Add(std::string_view(event.payload))
      .Add(event.tokens)
      .Digest();
}

int64_t TokenRowChecksum(int64_t timeline_key, int64_t begin, std::span<const std::byte> ids,
                         std::span<const std::byte> hashes) {
  return Checksum().Add(timeline_key).Add(begin).Add(ids).Add(hashes).Digest();
}

int64_t SessionChecksum(const SessionRecord& session, int64_t settings_key, int64_t timeline_key) {
  return Checksum()
      .Add(std::string_view(session.id))
      .Add(std::string_view(session.title))
      .Add(settings_key)
      .Add(session.created_ms)
      .Add(static_cast<int64_t>(session.pinned ? 1 : 0))
      .Add(timeline_key)
      .Digest();
}

int64_t SettingsChecksum(int64_t settings_key, std::string_view text) {
  return Checksum().Add(settings_key).Add(text).Digest();
}

int64_t TimelineChecksum(const TimelineRecord& timeline) {
  return Checksum()
      .Add(timeline.key)
      .Add(timeline.number)
      .Add(timeline.base)
      .Add(timeline.base_seq)
      .Add(timeline.base_tokens)
      .Add(timeline.previous)
      .Add(timeline.created_ms)
      .Digest();
}

int64_t EventChecksumV1(int64_t session_key, const EventRecord& event) {
  return Checksum()
      .Add(session_key)
      .Add(event.seq)
      .Add(event.time_ms)
      .Add(std::string_view(event.kind))
      .Add(static_cast<int64_t>(event.version))
      .Add(std::string_view(event.payload))
      .Digest();
}

int64_t SessionChecksumV1(const SessionRecord& session) {
  return Checksum()
      .Add(std::string_view(session.id))
      .Add(std::string_view(session.title))
      .Add(std::string_view(session.settings))
      .Add(session.created_ms)
      .Digest();
}

}  // namespace baleen
