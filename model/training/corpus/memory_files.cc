#include "model/training/corpus/memory_files.h"

#include <algorithm>
#include <utility>

namespace baleen::training {
namespace {

/// Without a leading "./" and trailing slashes; "" for the root.
std::string_view Plain(std::string_view path) {
  if (path.starts_with("./")) path.remove_prefix(2);
  while (!path.empty() && path.back() == '/') path.remove_suffix(1);
  return path == "." ? std::string_view() : path;
}

// In the words of the real workspace.
Status Missing(std::string_view path) {
  return NotFoundError("'" + std::string(path) + "': No such file or directory");
}

}  // namespace

void MemoryFiles::Put(std::string_view path, std::string content) {
  files_[std::string(path)] = std::move(content);
}

Result<const std::string*> MemoryFiles::Find(std::string_view path) const {
  if (path.starts_with("/") || path.find("..") != std::string_view::npos) {
    return PermissionDeniedError("'" + std::string(path) + "' is outside the workspace");
  }
  const auto found = files_.find(Plain(path));
  if (found != files_.end()) return &found->second;
  const std::string folder = std::string(Plain(path)) + "/";
  const auto below = files_.lower_bound(folder);
  if (folder == "/" || (below != files_.end() && below->first.starts_with(folder))) {
    return FailedPreconditionError("'" + std::string(path) + "' is a directory");
  }
  return Missing(path);
}

Result<std::string> MemoryFiles::Read(std::string_view path, int64_t offset,
                                      int64_t bytes_max) const {
  ASSIGN_OR_RETURN(const std::string* content, Find(path));
  const auto begin = std::min(static_cast<size_t>(std::max<int64_t>(offset, 0)), content->size());
  return content->substr(begin, static_cast<size_t>(std::max<int64_t>(bytes_max, 0)));
}

Result<int64_t> MemoryFiles::Size(std::string_view path) const {
  ASSIGN_OR_RETURN(const std::string* content, Find(path));
  return static_cast<int64_t>(content->size());
}

Result<std::vector<FileEntry>> MemoryFiles::List(std::string_view path, int64_t entries_max) const {
  if (path.starts_with("/") || path.find("..") != std::string_view::npos) {
    return PermissionDeniedError("'" + std::string(path) + "' is outside the workspace");
  }
  if (files_.contains(Plain(path))) {
    return NotFoundError("'" + std::string(path) + "': Not a directory");
  }
  std::string prefix(Plain(path));
  if (!prefix.empty()) prefix += '/';
  std::vector<FileEntry> entries;
  for (auto file = files_.lower_bound(prefix);
       file != files_.end() && file->first.starts_with(prefix); ++file) {
    const size_t slash = file->first.find('/', prefix.size());
    const std::string entry = file->first.substr(0, slash);
    // "a-b" stands between "a" and "a/x": not only the last one may be the same.
    const bool known = std::any_of(entries.begin(), entries.end(),
                                   [&](const FileEntry& other) { return other.path == entry; });
    if (known) continue;
    const bool is_file = slash == std::string::npos;
    entries.push_back({entry, is_file ? FileEntry::Kind::kFile : FileEntry::Kind::kDirectory,
                       is_file ? static_cast<int64_t>(file->second.size()) : 0});
  }
  if (entries.empty() && !prefix.empty()) return Missing(path);
  std::sort(entries.begin(), entries.end(),
            [](const FileEntry& a, const FileEntry& b) { return a.path < b.path; });
  if (static_cast<int64_t>(entries.size()) > entries_max) {
    entries.resize(static_cast<size_t>(std::max<int64_t>(entries_max, 0)));
  }
  return entries;
}

}  // namespace baleen::training
