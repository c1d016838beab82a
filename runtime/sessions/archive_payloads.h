// ArchivePayloads: what the frames of a session archive hold.
//
// Pure functions between values and bytes; reading treats every byte as hostile. The frames
// themselves are runtime/store/session_archive.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/store/journal_records.h"
#include "runtime/store/kv_records.h"
#include "tools_sdk/status.h"

namespace baleen {

/// The first frame: the session, and under which model and layout its KV was computed.
struct ArchiveHeader {
  std::string session;
  std::string title;
  std::string settings;  ///< JSON object text, as journalled.
  int64_t created_ms = 0;
  int64_t tokens = 0;
  int64_t events = 0;
  std::string fingerprint;
  std::string arithmetic_id;
  int64_t kv_format = 0;
  int64_t block_tokens = 0;
  std::string block_shape;  ///< BlockShape::hash in hex: two shapes with one hash are the same.
};
std::string ArchiveHeaderToJson(const ArchiveHeader& header);
/// Errors: DATA_LOSS naming the member.
Result<ArchiveHeader> ArchiveHeaderFromJson(std::string_view json);

/// `session` isn't written: the importer's name is used.
std::string ArchiveEventToJson(const EventRecord& event);
/// Errors: DATA_LOSS naming the member.
Result<EventRecord> ArchiveEventFromJson(std::string_view json);

/// Ids per kTokens frame at most: 12 bytes each, so that a frame stays small.
inline constexpr int64_t kArchiveTokensPerFrame = 1 << 16;
/// u64 begin, u64 count, u8 has hashes, i32 each, u64 each if so.
std::string EncodeArchiveTokens(const TokenRun& run);
/// Errors: DATA_LOSS: lengths that don't fit, negative ids.
Result<TokenRun> DecodeArchiveTokens(std::string_view bytes);

/// u64 index of the block; its bytes follow.
std::string EncodeArchiveBlockHead(int64_t index);
struct ArchiveBlock {
  int64_t index = 0;
  std::string_view bytes;  ///< Borrows: the payload.
};
/// Errors: DATA_LOSS unless exactly `block_bytes` follow the index.
Result<ArchiveBlock> DecodeArchiveBlock(std::string_view payload, int64_t block_bytes);

/// u64 position, u32 CheckpointKind bits; the state follows.
std::string EncodeArchiveCheckpointHead(const StoredCheckpoint& checkpoint);
/// Without tail tokens: the importer knows them. Errors: DATA_LOSS.
Result<StoredCheckpoint> DecodeArchiveCheckpoint(std::string_view payload);

}  // namespace baleen
