// Export: a session into one archive file: its history, its token ids, the KV rows of its context.
#pragma once

#include <atomic>
#include <functional>
#include <string>

#include "runtime/session.h"
#include "runtime/store/journal.h"
#include "runtime/store/kv_store.h"
#include "runtime/store/session_archive.h"

namespace baleen {

/// What export and import work with.
/// Borrows: all pointers, for the call.
struct PortParts {
  Journal* journal = nullptr;  ///< A connection of the caller's own, for reading.
  KvStore* kv = nullptr;
  KvScope scope;
  const BlockShape* shape = nullptr;
  int64_t block_tokens = 0;
  ArchiveKey key;
  /// Bytes or blocks done, of all; returning false cancels. Nullable.
  std::function<bool(int64_t done, int64_t total)> progress;
};

/// Writes `record`'s current timeline, as of `record`, to the new file `path`. KV that is missing
/// or damaged is left out and noted: an import computes it again. Errors: ALREADY_EXISTS,
/// NOT_FOUND, PERMISSION_DENIED, RESOURCE_EXHAUSTED (disk full), DATA_LOSS (journal), CANCELLED.
/// Threads: any that owns `parts.journal`. Cost: reads all of the session's KV once.
Result<ExportView> ExportSession(const PortParts& parts, const SessionRecord& record,
                                 const std::string& path);

/// BlockShape::hash in hex.
std::string ShapeHex(const BlockShape& shape);

/// The keys of the whole blocks of `tokens`.
std::vector<BlockKey> KeysOfBlocks(std::span<const int32_t> tokens, const PortParts& parts);

}  // namespace baleen
