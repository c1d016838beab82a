// Files: the few durable file operations that the stores need beside SQLite and RocksDB.
//
// Internal to runtime/store.
#pragma once

#include <string>
#include <string_view>

#include "tools_sdk/status.h"

namespace baleen {

/// A status for `errno_value` from an operation ("create", "sync" ...) on `path`.
Status FileError(int errno_value, std::string_view operation, const std::string& path);

/// Makes the directory entries of `directory` power-safe.
Status SyncDirectory(const std::string& directory);

/// The directory part of `path`; "." if it has none.
std::string DirectoryOf(const std::string& path);

/// Replaces `path` with `text`, mode 0600: written beside it, synced, renamed, directory synced.
Status WriteFileDurably(const std::string& path, std::string_view text);

/// The whole of a small file. Errors: NOT_FOUND; OUT_OF_RANGE beyond `bytes_max`.
Result<std::string> ReadSmallFile(const std::string& path, size_t bytes_max);

/// Creates the file with mode 0600, or does nothing if it is there; the entry is power-safe after.
Status EnsureFile(const std::string& path);

/// fsync of a file by path.
Status SyncFile(const std::string& path);

}  // namespace baleen
