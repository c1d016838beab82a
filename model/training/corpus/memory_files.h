// MemoryFiles: a workspace that exists only in memory, for tools that read one.
//
// So that an invented workspace gives the very results that a real one would.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tools_sdk/tool.h"

namespace baleen::training {

class MemoryFiles final : public WorkspaceFiles {
 public:
  /// Makes the folders above it, too. Requires: a relative path without "." and "..".
  void Put(std::string_view path, std::string content);
  const std::map<std::string, std::string, std::less<>>& files() const { return files_; }

  Result<std::string> Read(std::string_view path, int64_t offset, int64_t bytes_max) const override;
  Result<int64_t> Size(std::string_view path) const override;
  Result<std::vector<FileEntry>> List(std::string_view path, int64_t entries_max) const override;

 private:
  Result<const std::string*> Find(std::string_view path) const;

  std::map<std::string, std::string, std::less<>> files_;
};

}  // namespace baleen::training
