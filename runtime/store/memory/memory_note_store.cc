// NoteStore in memory: the class of note_store.h without SQLite, for builds with
// BALEEN_THREAD_CORE. Finds the whole query as it stands.
#include <map>
#include <mutex>
#include <utility>

#include "runtime/store/note_store.h"

namespace baleen {

class NoteStore::Impl {
 public:
  std::mutex mutex;
  std::map<int64_t, StoredNote> notes;
  int64_t last_key = 0;
};

NoteStore::NoteStore(std::string /*path*/) : impl_(std::make_unique<Impl>()) {}
NoteStore::~NoteStore() = default;

Result<int64_t> NoteStore::Add(const StoredNote& note) {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  for (const auto& [key, earlier] : impl_->notes) {
    if (earlier.call == note.call) return key;
  }
  StoredNote& kept = impl_->notes[++impl_->last_key] = note;
  return kept.key = impl_->last_key;
}

Result<std::vector<StoredNote>> NoteStore::Find(const std::string& workspace,
                                                std::string_view query, int64_t limit) {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  std::vector<StoredNote> found;
  for (const auto& [key, note] : impl_->notes) {
    if (std::ssize(found) >= limit) break;
    if (note.workspace == workspace && note.text.find(query) != std::string::npos) {
      found.push_back(note);
    }
  }
  return found;
}

Result<std::vector<StoredNote>> NoteStore::List(const std::string& workspace, int64_t after,
                                                int64_t limit) {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  std::vector<StoredNote> found;
  for (const auto& [key, note] : impl_->notes) {
    if (std::ssize(found) >= limit) break;
    if (key > after && (workspace.empty() || note.workspace == workspace)) found.push_back(note);
  }
  return found;
}

Result<StoredNote> NoteStore::Forget(int64_t key) {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  if (auto gone = impl_->notes.extract(key); !gone.empty()) return std::move(gone.mapped());
  return NotFoundError("there is no note n" + std::to_string(key), "ITEM_UNKNOWN");
}

Result<std::vector<std::string>> NoteStore::Verify() { return std::vector<std::string>(); }

Status NoteStore::Backup(const std::string& /*path*/) { return OkStatus(); }

}  // namespace baleen
