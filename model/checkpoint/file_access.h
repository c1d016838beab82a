// Files of a checkpoint folder: read whole or mapped, identified, written atomically.
//
// Knows nothing of what is inside. Called by the rest of model/checkpoint only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "model/weight_source.h"
#include "tools_sdk/file_descriptor.h"
#include "tools_sdk/status.h"

namespace baleen {

/// The content of one regular file, mapped read-only or held in memory.
/// Threads: immutable; any thread. Changing a mapped file while it is in use is outside the
/// contract.
class FileContent {
 public:
  /// Errors: NOT_FOUND, INVALID_ARGUMENT (not a regular file), RESOURCE_EXHAUSTED (no memory),
  /// DATA_LOSS (shorter than its stated size).
  static Result<std::unique_ptr<FileContent>> Open(const std::string& path, WeightAccess access);
  ~FileContent();
  FileContent(const FileContent&) = delete;
  FileContent& operator=(const FileContent&) = delete;

  std::span<const std::byte> bytes() const { return {bytes_, size_}; }

 private:
  FileContent() = default;

  std::byte* bytes_ = nullptr;  // A mapping of the file, or anonymous memory holding a copy.
  size_t size_ = 0;
};

/// Whole text of a small file.
/// Errors: as FileContent::Open; INVALID_ARGUMENT if it is larger than `limit_bytes`.
Result<std::string> ReadTextFile(const std::string& path, int64_t limit_bytes);

/// What changes when a file is replaced or edited.
struct FileIdentity {
  int64_t size = 0;
  int64_t modified_ns = 0;
  uint64_t inode = 0;
  uint64_t device = 0;
};

/// Errors: NOT_FOUND.
Result<FileIdentity> IdentifyFile(const std::string& path);

bool FileExists(const std::string& path);

/// A file that is written beside `path`, synced and renamed to `path`, so that readers see the old
/// file or the whole new one. Without Finish nothing is left of it. Threads: one at a time.
class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// Errors: UNAVAILABLE naming path and cause.
  Status Add(std::span<const std::byte> bytes);
  /// Nothing may be added afterwards. Errors: as Add; the temporary file is removed.
  Status Finish();

 private:
  std::string path_;
  std::string temporary_;
  std::optional<FileDescriptor> file_;  // From the first Add to Finish.
};

/// Parts one after the other, as an AtomicFile. Errors: AtomicFile's.
Status WriteFileAtomically(const std::string& path,
                           std::span<const std::span<const std::byte>> parts);
Status WriteFileAtomically(const std::string& path, std::string_view text);

}  // namespace baleen
