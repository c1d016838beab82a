// Which libraries the stores run on, for `baleen doctor`.
#pragma once

#include <cstdint>
#include <string>

namespace baleen {

/// "SQLite 3.40.1, RocksDB 7.8.3".
std::string StoreLibraryVersions();

/// PRAGMA user_version that this build writes into a journal.
int64_t JournalVersion();

}  // namespace baleen
