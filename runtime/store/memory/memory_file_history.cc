// FileHistory in memory: the class of file_history.h without SQLite, for builds with
// BALEEN_THREAD_CORE. Keeps every content.
#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

#include "runtime/store/file_history.h"

namespace baleen {
namespace {

struct Row {
  FileOwner owner;
  FilePlace place;
  FileChange change;
  int64_t restore = 0;
  bool Is(const FileOwner& other) const {
    return owner.session == other.session && owner.created_ms == other.created_ms;
  }
};

}  // namespace

class FileHistory::Impl {
 public:
  std::mutex mutex;
  std::map<int64_t, Row> rows;
  std::map<std::string, std::string> contents;
  int64_t last_key = 0;
};

FileHistory::FileHistory(std::string /*path*/, int64_t /*bytes_max*/)
    : impl_(std::make_unique<Impl>()) {}
FileHistory::~FileHistory() = default;

Result<int64_t> FileHistory::Begin(const FileOwner& owner, const FilePlace& place,
                                   const FileChange& change, std::string_view before,
                                   int64_t restore) {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  const int64_t key = ++impl_->last_key;
  Row& row = impl_->rows[key] = {owner, place, change, restore == kNewRestore ? key : restore};
  row.change.key = key;
  if (!change.before.empty()) impl_->contents[change.before] = before;
  return key;
}

Status FileHistory::Settle(int64_t key, bool happened) {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  if (!happened) {
    impl_->rows.erase(key);
  } else if (const auto row = impl_->rows.find(key); row != impl_->rows.end()) {
    row->second.change.settled = true;
  }
  return OkStatus();
}

Status FileHistory::Mark(const FileOwner& owner, const FilePlace& place) {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  if (!impl_->rows.empty()) impl_->rows[++impl_->last_key] = {owner, place, {}, 0};
  return OkStatus();
}

Result<int64_t> FileHistory::KeyAt(const FileOwner& owner, const std::vector<FilePlace>& places) {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  int64_t newest = 0;
  for (const auto& [key, row] : impl_->rows) {
    const bool there = std::any_of(places.begin(), places.end(), [&](const FilePlace& place) {
      return row.place.timeline == place.timeline && row.place.seq <= place.seq;
    });
    if (row.Is(owner) && row.restore == 0 && there) newest = key;
  }
  return newest;
}

Result<int64_t> FileHistory::KeyBeforeRestore(const FileOwner& owner) {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  int64_t first = 0;
  for (const auto& [key, row] : impl_->rows) {
    if (row.Is(owner)) first = std::max(first, row.restore);
  }
  if (first > 0) return first - 1;
  return NotFoundError("no files were restored for session '" + owner.session + "'");
}

Result<std::vector<FileChange>> FileHistory::ChangesAfter(const FileOwner& owner, int64_t key) {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  std::vector<FileChange> changes;
  for (const auto& [at, row] : impl_->rows) {
    if (at > key && row.Is(owner) && !row.change.path.empty()) changes.push_back(row.change);
  }
  return changes;
}

Result<bool> FileHistory::Keeps(const std::string& digest) {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  return impl_->contents.contains(digest);
}

Result<std::string> FileHistory::Content(const std::string& digest) {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  const auto found = impl_->contents.find(digest);
  if (found == impl_->contents.end()) return NotFoundError("the content " + digest + " isn't kept");
  return found->second;
}

Result<std::vector<FileOwner>> FileHistory::Owners() {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  std::vector<FileOwner> owners;
  for (const auto& [key, row] : impl_->rows) {
    if (std::none_of(owners.begin(), owners.end(), [&](const auto& one) { return row.Is(one); })) {
      owners.push_back(row.owner);
    }
  }
  return owners;
}

Status FileHistory::Forget(const FileOwner& owner) {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  std::erase_if(impl_->rows, [&](const auto& entry) { return entry.second.Is(owner); });
  return OkStatus();
}

Result<FileHistoryReport> FileHistory::Verify() { return FileHistoryReport(); }

Status FileHistory::Backup(const std::string& /*path*/) { return OkStatus(); }

std::vector<std::string> FileHistory::Notes() { return {}; }

}  // namespace baleen
