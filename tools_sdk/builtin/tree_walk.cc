#include "tools_sdk/builtin/tree_walk.h"

#include <utility>

namespace baleen {
namespace {

constexpr int64_t kIgnoreFileBytesMax = 1 << 20;
constexpr std::array<const char*, 4> kSourceNames = {".rgignore", ".ignore", ".gitignore",
                                                     ".git/info/exclude"};

/// A path as List spells it: no "." and no empty names.
std::string Plain(std::string_view path) {
  std::string out;
  while (!path.empty()) {
    const size_t slash = path.find('/');
    const std::string_view name = path.substr(0, slash);
    if (!name.empty() && name != ".") out += (out.empty() ? "" : "/") + std::string(name);
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
  }
  return out;
}

}  // namespace

void TreeWalk::Enter(std::string prefix) {
  Folder folder;
  for (size_t s = 0; s < kSources; ++s) {
    const auto text = context_.files->Read(prefix + kSourceNames[s], 0, kIgnoreFileBytesMax);
    if (text.ok()) folder.rules[s] = IgnoreRules::Parse(*text);
  }
  folder.prefix = std::move(prefix);
  folders_.push_back(std::move(folder));
}

bool TreeWalk::Ignored(const FileEntry& entry, bool is_directory) const {
  for (size_t s = 0; s < kSources; ++s) {
    for (size_t i = folders_.size(); i-- > 0;) {
      const IgnoreRules& rules = folders_[i].rules[s];
      if (rules.empty()) continue;
      const std::string_view below = std::string_view(entry.path).substr(folders_[i].prefix.size());
      const IgnoreVerdict verdict = rules.Judge(below, is_directory);
      if (verdict != IgnoreVerdict::kNone) return verdict == IgnoreVerdict::kIgnore;
    }
  }
  return false;
}

Status TreeWalk::Walk(std::string_view path, const Visit& visit) {
  // A path with ".." is left as it is: its outer folders' rules then don't apply.
  const bool odd = path.find("..") != std::string_view::npos;
  const std::string start = odd ? std::string(path) : Plain(path);
  const auto entries = context_.files->List(start.empty() ? "." : start, kEntriesMax);
  if (!entries.ok()) {
    FileEntry file;
    file.path = path;
    file.kind = FileEntry::Kind::kFile;
    ASSIGN_OR_RETURN(file.size_bytes, context_.files->Size(path));
    visit(file);
    return OkStatus();
  }
  if (!odd) {
    Enter("");
    for (size_t slash = start.find('/'); slash != std::string::npos;
         slash = start.find('/', slash + 1)) {
      Enter(start.substr(0, slash + 1));
    }
  }
  if (odd || !start.empty()) Enter(start.ends_with('/') ? start : start + "/");
  WalkEntries(*entries, 1, visit);
  folders_.clear();
  return OkStatus();
}

bool TreeWalk::WalkEntries(const std::vector<FileEntry>& entries, int depth, const Visit& visit) {
  for (const FileEntry& entry : entries) {
    if (context_.Cancelled()) return false;
    if (++entries_ > kEntriesMax) {
      cut_ = true;
      return false;
    }
    const bool is_directory = entry.kind == FileEntry::Kind::kDirectory;
    const size_t slash = entry.path.rfind('/');
    const std::string_view name =
        std::string_view(entry.path).substr(slash == std::string::npos ? 0 : slash + 1);
    const bool is_other = !is_directory && entry.kind != FileEntry::Kind::kFile;
    if ((is_other && !scope_.all_kinds) || name == ".git") continue;
    if (!scope_.ignored && Ignored(entry, is_directory)) {
      ++ignored_;
      continue;
    }
    if (!is_directory) {
      if (!visit(entry)) return false;
      continue;
    }
    if (scope_.all_kinds && !visit(entry)) return false;
    const auto inner = depth < kDepthMax ? context_.files->List(entry.path, kEntriesMax)
                                         : Result<std::vector<FileEntry>>(OutOfRangeError("deep"));
    if (!inner.ok()) {
      ++unreadable_;
      continue;
    }
    Enter(entry.path + "/");
    const bool more = WalkEntries(*inner, depth + 1, visit);
    folders_.pop_back();
    if (!more) return false;
  }
  return true;
}

}  // namespace baleen
