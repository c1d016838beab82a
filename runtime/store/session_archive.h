// SessionArchive: one session as one file, frame by frame.
//
// Knows frames, their order, their digests and who signed them, not what is in them:
// runtime/sessions fills and reads them. Every byte of a file that is read is hostile.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tools_sdk/status.h"

namespace baleen {

/// On-disk. A change of frames or payloads raises it; a newer one than known is refused.
inline constexpr uint32_t kArchiveVersion = 1;

/// On-disk, don't renumber. The header comes first and once, the end last and once.
enum class ArchiveFrame : uint8_t {
  kEnd = 0,
  kHeader = 1,      ///< JSON object: session, settings, model.
  kEvent = 2,       ///< JSON object: one durable event.
  kTokens = 3,      ///< Token ids and logits hashes, little-endian.
  kBlock = 4,       ///< KV rows of one block.
  kCheckpoint = 5,  ///< KV checkpoint.
};

/// The most that a payload of this kind may hold; a frame that says more is refused unread.
int64_t ArchivePayloadBytesMax(ArchiveFrame kind);

using ArchiveDigest = std::array<uint8_t, 32>;

/// A secret of one installation. What it signed was written by it: rows of KV can't be checked
/// against their tokens without computing them, so they are taken from signed archives only.
struct ArchiveKey {
  std::string secret;

  /// The key in the file `path`, which is made (mode 0600, 32 random bytes) if it isn't there.
  /// Errors: DATA_LOSS (not 32 bytes), PERMISSION_DENIED, INTERNAL.
  static Result<ArchiveKey> OpenOrMake(const std::string& path);
};

// On-disk, integers little-endian:
//   file   "BLNX" u32 version, frames
//   frame  u8 kind, u64 payload bytes, payload, SHA-256 of the digest of the frame before (zeros
//          for the first), kind, payload bytes and payload
//   end    its payload is u64 frames before it, HMAC-SHA256 of the digest before. Nothing follows.
// The digests are chained, so that frames can be neither dropped nor swapped unnoticed.

/// Writes beside the target and links at the end: a file with the target's name is whole.
/// Threads: one at a time.
class ArchiveWriter {
 public:
  /// Errors: ALREADY_EXISTS (`path` is there: archives are never overwritten), and of the file
  /// system: NOT_FOUND, PERMISSION_DENIED, RESOURCE_EXHAUSTED, INTERNAL.
  static Result<std::unique_ptr<ArchiveWriter>> Create(const std::string& path, ArchiveKey key);
  /// Removes what was written unless Finish succeeded.
  ~ArchiveWriter();
  ArchiveWriter(const ArchiveWriter&) = delete;
  ArchiveWriter& operator=(const ArchiveWriter&) = delete;

  /// One frame of the parts, joined. Errors: INVALID_ARGUMENT (too long), RESOURCE_EXHAUSTED (disk
  /// full), INTERNAL.
  Status Append(ArchiveFrame kind, std::initializer_list<std::string_view> parts);
  /// Ends the file, makes it power-safe and gives it its name.
  Status Finish();

  int64_t bytes_written() const { return bytes_written_; }

 private:
  ArchiveWriter(std::string path, std::string temporary, int file, ArchiveKey key);
  Status Write(std::string_view bytes);

  const std::string path_;
  const std::string temporary_;
  const ArchiveKey key_;
  int file_ = -1;
  uint64_t frames_ = 0;
  ArchiveDigest digest_{};
  int64_t bytes_written_ = 0;
};

struct ArchiveRecord {
  ArchiveFrame kind = ArchiveFrame::kEnd;
  std::string payload;
};

/// Reads and verifies one frame after the other.
/// Threads: one at a time.
class ArchiveReader {
 public:
  /// Errors: NOT_FOUND, PERMISSION_DENIED, INVALID_ARGUMENT (not a regular file), DATA_LOSS (not an
  /// archive), FAILED_PRECONDITION (a newer version).
  static Result<std::unique_ptr<ArchiveReader>> Open(const std::string& path);
  ~ArchiveReader();
  ArchiveReader(const ArchiveReader&) = delete;
  ArchiveReader& operator=(const ArchiveReader&) = delete;

  /// The next frame; kEnd once, as the last.
  /// Errors: DATA_LOSS (digest, order, a length beyond the file or the kind's limit, an unknown
  /// kind, bytes after the end; the message gives the offset), INTERNAL (input/output).
  Result<ArchiveRecord> Next();

  /// After the end was read: whether the holder of `key` wrote this file.
  bool SignedBy(const ArchiveKey& key) const;
  /// Back to the first frame. From now on every frame must be what the first reading found, so that
  /// what was verified is what is used, even if somebody writes to the file meanwhile.
  Status Rewind();

  int64_t bytes_read() const { return offset_; }
  int64_t bytes_total() const { return size_; }

 private:
  ArchiveReader(std::string path, int file, int64_t size);
  Status Read(char* out, size_t count, std::string_view field);
  Status CheckDigest(const ArchiveDigest& computed);
  Status CheckEnd(const std::string& payload) const;
  Status Damaged(const std::string& what) const;

  const std::string path_;
  int file_ = -1;
  const int64_t size_;
  int64_t offset_ = 0;
  size_t frames_ = 0;
  bool ended_ = false;
  std::vector<ArchiveDigest> digests_;  ///< Of every frame, from the first reading.
  std::string signature_;
};

}  // namespace baleen
