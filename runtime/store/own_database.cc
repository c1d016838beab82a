#include "runtime/store/own_database.h"

#include "runtime/store/files.h"

namespace baleen {

Result<std::unique_ptr<Sqlite>> OpenOwnDatabase(const std::string& path, const OwnSchema& schema) {
  RETURN_IF_ERROR(EnsureFile(path));
  ASSIGN_OR_RETURN(auto database, Sqlite::Open({.path = path}));
  RETURN_IF_ERROR(database->Exec(schema.setup));
  ASSIGN_OR_RETURN(const int64_t tables, database->IntOf("SELECT count(*) FROM sqlite_schema"));
  if (tables == 0) RETURN_IF_ERROR(database->Exec(schema.tables));
  ASSIGN_OR_RETURN(const int64_t application, database->IntOf("PRAGMA application_id"));
  ASSIGN_OR_RETURN(int64_t version, database->IntOf("PRAGMA user_version"));
  if (application == schema.application_id && version == schema.version - 1 &&
      schema.upgrade != nullptr) {
    RETURN_IF_ERROR(database->Exec(schema.upgrade));
    ASSIGN_OR_RETURN(version, database->IntOf("PRAGMA user_version"));
  }
  const std::string known = std::to_string(schema.version);
  if (application == schema.application_id && version > schema.version) {
    return FailedPreconditionError("'" + path + "' has version " + std::to_string(version) +
                                       ", this build knows versions up to " + known +
                                       "; use a newer build, or move the file away",
                                   "NEWER_VERSION");
  }
  if (application != schema.application_id || version != schema.version) {
    return DataLossError("'" + path + "' is not " + schema.what + " of version " + known +
                         "; move it away, and it begins anew");
  }
  return database;
}

Status RunInTransaction(Sqlite& database, const std::function<Status()>& work) {
  RETURN_IF_ERROR(database.Exec("BEGIN IMMEDIATE"));
  Status status = work();
  if (status.ok()) status = database.Exec("COMMIT");
  if (!status.ok() && database.InTransaction()) {
    database.Exec("ROLLBACK").IgnoreError("the first error is reported");
  }
  return status;
}

}  // namespace baleen
