// Journal codec: what a journal row's bytes mean. Token blobs, JSON checks, row checksums.
//
// Internal to runtime/store. Pure functions over hostile bytes, so that a fuzzer can call them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/store/journal.h"
#include "tools_sdk/status.h"

namespace baleen {

/// Ids per row of token_runs, at most (on-disk, part of the schema).
inline constexpr int64_t kTokenRowIds = 960;
/// The last row grows up to this, for a decode tick brings one id: with its header it fills a page
/// of 512 bytes without an overflow page, so that the tick rewrites one page.
inline constexpr int64_t kTokenRowGrownIds = 112;

/// Key of an event or token row: those of a timeline follow one another. On-disk.
constexpr int64_t RowKey(int64_t timeline, int64_t number) { return timeline << 32 | number; }
inline constexpr int64_t kTimelineKeyMax = (int64_t{1} << 31) - 1;
/// Of a timeline's seq and token positions.
inline constexpr int64_t kRowNumberMax = (int64_t{1} << 32) - 1;

/// What an answer is looked up by: 47 bits. On-disk.
int64_t AnswerHash(std::string_view request_id, std::string_view method);

/// Little-endian int32 each.
std::vector<std::byte> EncodeTokenIds(std::span<const int32_t> ids);
/// Errors: DATA_LOSS if the size isn't a multiple of 4, is zero or more than a row's, or an id is
/// negative.
Result<std::vector<int32_t>> DecodeTokenIds(std::span<const std::byte> bytes);

/// Little-endian uint64 each.
std::vector<std::byte> EncodeLogitsHashes(std::span<const uint64_t> hashes);
/// Errors: DATA_LOSS unless `bytes` is empty or holds exactly `count` hashes.
Result<std::vector<uint64_t>> DecodeLogitsHashes(std::span<const std::byte> bytes, size_t count);

/// Errors: INVALID_ARGUMENT if `text` isn't a JSON object or is longer than `bytes_max`.
Status CheckJsonObject(std::string_view text, int64_t bytes_max);
/// The same for any JSON value.
Status CheckJson(std::string_view text, int64_t bytes_max);

/// Errors: INVALID_ARGUMENT unless [a-z0-9][a-z0-9-]{0,62}.
Status CheckSessionId(std::string_view id);

/// xxh3-64 of a row's fields, stored beside them: SQLite's pages carry no checksum of their own.
/// On-disk: field order and widths are part of the schema since version 2.
int64_t EventChecksum(int64_t timeline_key, const EventRecord& event);
int64_t TokenRowChecksum(int64_t timeline_key, int64_t begin, std::span<const std::byte> ids,
                         std::span<const std::byte> hashes);
/// Of id, title, created_ms, pinned, and the keys that the row refers to.
int64_t SessionChecksum(const SessionRecord& session, int64_t settings_key, int64_t timeline_key);
int64_t SettingsChecksum(int64_t settings_key, std::string_view text);
/// Of the fields that never change: all but session, updated_ms, tokens and last_seq.
int64_t TimelineChecksum(const TimelineRecord& timeline);

/// What version 1 stored in their place; for its migration.
int64_t EventChecksumV1(int64_t session_key, const EventRecord& event);
int64_t SessionChecksumV1(const SessionRecord& session);

}  // namespace baleen
