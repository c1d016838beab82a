// KV files: the directory around the RocksDB database: format stamp, sizes, errors in our words.
//
// Internal to runtime/store. Called by kv_database.cc.
#pragma once

#include <rocksdb/status.h>

#include <cstdint>
#include <string>

#include "tools_sdk/status.h"

namespace baleen {

/// Where the RocksDB database of the store at `path` lies.
std::string KvDatabasePath(const std::string& path);

/// Creates the directory and its FORMAT file, or checks them; drops the database of an older
/// format. Returns true if it dropped one. Errors: those of KvStore::Open.
Result<bool> PrepareKvDirectory(const std::string& path, bool read_only);

/// Deletes a store that nobody has open; touches only the files that it consists of.
Status RemoveKvDirectory(const std::string& path);

/// Sizes of all files below `path`.
Result<int64_t> KvBytesOnDisk(const std::string& path);

/// A RocksDB error on the store at `path`, with what to do.
Status RocksError(const rocksdb::Status& status, const std::string& path);

}  // namespace baleen
