// PathAudit: tells the runtime's observer of paths that the workspace refuses to a call.
//
// Passes everything on as it is; whoever refuses (runtime/workspace) marks it by kPathRefused. Made
// for each call, on the pool.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tools_sdk/tool.h"

namespace baleen {

/// Told of a path, and why it is refused.
using PathRefusal = std::function<void(const std::string& path, const std::string& why)>;

/// Threads: any.
class PathAudit {
 public:
  /// `refused` is told of each path once. Null: nobody wants to know.
  explicit PathAudit(PathRefusal refused) : refused_(std::move(refused)) {}
  void Note(std::string_view path, const Status& status);

 private:
  static constexpr size_t kPathsMax = 32;  // of one call: a search may meet many
  const PathRefusal refused_;
  std::mutex mutex_;
  std::set<std::string> noted_;  ///< Under mutex_.
};

/// Borrows: both, as AuditedChanges does.
class AuditedFiles final : public WorkspaceFiles {
 public:
  AuditedFiles(const WorkspaceFiles& files, PathAudit* audit) : files_(files), audit_(*audit) {}
  Result<std::string> Read(std::string_view path, int64_t offset, int64_t bytes_max) const override;
  Result<int64_t> Size(std::string_view path) const override;
  Result<std::vector<FileEntry>> List(std::string_view path, int64_t entries_max) const override;

 private:
  const WorkspaceFiles& files_;
  PathAudit& audit_;
};

class AuditedChanges final : public WorkspaceChanges {
 public:
  AuditedChanges(WorkspaceChanges* changes, PathAudit* audit)
      : changes_(*changes), audit_(*audit) {}
  void NoteSeen(std::string_view path) override { changes_.NoteSeen(path); }
  Result<SeenFile> Load(std::string_view path) override;
  Status Store(std::string_view path, std::string_view content,
               const std::string* replaced) override;

 private:
  WorkspaceChanges& changes_;
  PathAudit& audit_;
};

}  // namespace baleen
