// The journal's upkeep: a complete copy of it while others write, and giving back unused space.
#include <sys/stat.h>

#include "runtime/store/journal_impl.h"

namespace baleen {
namespace {

int64_t SizeOf(const std::string& path) {
  struct stat file = {};
  return stat(path.c_str(), &file) == 0 ? static_cast<int64_t>(file.st_size) : 0;
}

}  // namespace

Status Journal::Backup(const std::string& path) {
  return impl_->database->CopyTo(path).WithContext("backup of journal '" + impl_->database->path() +
                                                   "'");
}

Status Journal::Compact() {
  RETURN_IF_ERROR(impl_->broken);
  ASSIGN_OR_RETURN(const int64_t pages, impl_->database->IntOf("PRAGMA page_count"));
  ASSIGN_OR_RETURN(const int64_t unused, impl_->database->IntOf("PRAGMA freelist_count"));
  if (unused >= 16 && unused >= pages / 4) RETURN_IF_ERROR(impl_->database->Exec("VACUUM"));
  return impl_->EmptyLog();
}

Result<int64_t> Journal::ChangeNumber() { return impl_->database->IntOf("PRAGMA data_version"); }

Result<int64_t> Journal::BytesOnDisk() {
  return SizeOf(impl_->database->path()) + SizeOf(impl_->database->path() + "-wal");
}

}  // namespace baleen
