#include "runtime/sessions/path_audit.h"

#include "runtime/workspace/beneath.h"
#include "tools_sdk/utf8.h"

namespace baleen {

void PathAudit::Note(std::string_view path, const Status& status) {
  if (status.reason() != kPathRefused || !refused_) return;
  const std::string shown = ReplaceInvalidUtf8(path.substr(0, 4096));
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (noted_.size() >= kPathsMax || !noted_.insert(shown).second) return;
  }
  refused_(shown, ReplaceInvalidUtf8(status.message()));
}

Result<std::string> AuditedFiles::Read(std::string_view path, int64_t offset,
                                       int64_t bytes_max) const {
  auto read = files_.Read(path, offset, bytes_max);
  audit_.Note(path, read.status());
  return read;
}

Result<int64_t> AuditedFiles::Size(std::string_view path) const {
  auto size = files_.Size(path);
  audit_.Note(path, size.status());
  return size;
}

Result<std::vector<FileEntry>> AuditedFiles::List(std::string_view path,
                                                  int64_t entries_max) const {
  auto entries = files_.List(path, entries_max);
  audit_.Note(path, entries.status());
  return entries;
}

Result<SeenFile> AuditedChanges::Load(std::string_view path) {
  auto seen = changes_.Load(path);
  audit_.Note(path, seen.status());
  return seen;
}

Status AuditedChanges::Store(std::string_view path, std::string_view content,
                             const std::string* replaced) {
  Status stored = changes_.Store(path, content, replaced);
  audit_.Note(path, stored);
  return stored;
}

}  // namespace baleen
