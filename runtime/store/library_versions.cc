#include "runtime/store/library_versions.h"

#include <rocksdb/version.h>
#include <sqlite3.h>

#include "runtime/store/journal_schema.h"

namespace baleen {

std::string StoreLibraryVersions() {
  return std::string("SQLite ") + sqlite3_libversion() + ", RocksDB " +
         std::to_string(ROCKSDB_MAJOR) + "." + std::to_string(ROCKSDB_MINOR) + "." +
         std::to_string(ROCKSDB_PATCH);
}

int64_t JournalVersion() { return kJournalVersion; }

}  // namespace baleen
