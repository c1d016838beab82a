// Databases of our own beside the journal: opened, set up, and looked at for whose they are.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "runtime/store/sqlite.h"
#include "tools_sdk/status.h"

namespace baleen {

struct OwnSchema {
  const char* what;    ///< For messages: "a search index".
  const char* setup;   ///< PRAGMAs of each connection.
  const char* tables;  ///< Of a new file; sets application_id and user_version, too.
  int64_t application_id;
  int64_t version;
  /// Makes a file of the version before one of this; null: such a file is DATA_LOSS.
  const char* upgrade = nullptr;
};

/// Errors: DATA_LOSS (another program's file, a damaged one, a version that is too old),
/// FAILED_PRECONDITION/NEWER_VERSION, and those of the disk.
Result<std::unique_ptr<Sqlite>> OpenOwnDatabase(const std::string& path, const OwnSchema& schema);

/// All of `work` or nothing of it. Errors: those of `work` and of the commit.
Status RunInTransaction(Sqlite& database, const std::function<Status()>& work);

}  // namespace baleen
