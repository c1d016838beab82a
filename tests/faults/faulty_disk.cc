#include "tests/faults/faulty_disk.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace baleen {
namespace {

constexpr int64_t kSectorBytes = 512;

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string Parent(const std::string& path) {
  return std::filesystem::path(path).parent_path().string();
}

/// The real folders of a path that may have been made relative or doubled its slashes.
std::string Normal(const std::string& path) {
  std::string normal = std::filesystem::path(path).lexically_normal().string();
  while (normal.size() > 1 && normal.back() == '/') normal.pop_back();
  return normal;
}

bool IsSync(DiskOp op) { return op == DiskOp::kSync || op == DiskOp::kSyncDirectory; }

}  // namespace

std::string DiskOpName(DiskOp op) {
  switch (op) {
    case DiskOp::kCreate: return "create";
    case DiskOp::kWrite: return "write";
    case DiskOp::kTruncate: return "truncate";
    case DiskOp::kSync: return "sync";
    case DiskOp::kSyncDirectory: return "sync directory";
    case DiskOp::kRename: return "rename";
    case DiskOp::kDelete: return "delete";
  }
  return "?";
}

FaultyDisk::FaultyDisk(std::string folder) : folder_(Normal(folder)) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_)) {
    if (!entry.is_regular_file()) continue;
    auto file = std::make_shared<File>();
    file->durable = ReadFile(entry.path());
    names_[entry.path().string()] = file;
  }
  durable_names_ = names_;
}

void FaultyDisk::Keep(const std::string& path) {
  const std::lock_guard lock(mutex_);
  File& file = *FileAt(Normal(path));
  file.durable = ReadFile(path);
  file.pending.clear();
}

void FaultyDisk::FailAt(int64_t number, Fault fault, bool lasting) {
  const std::lock_guard lock(mutex_);
  fail_at_ = static_cast<int64_t>(log_.size()) + number;
  fault_ = fault;
  lasting_ = lasting;
}

void FaultyDisk::SkipSync(int64_t number) {
  const std::lock_guard lock(mutex_);
  skip_sync_ = syncs_ + number;
}

std::vector<FaultyDisk::Entry> FaultyDisk::log() const {
  const std::lock_guard lock(mutex_);
  return log_;
}

Fault FaultyDisk::Next(DiskOp op, const std::string& path) {
  const std::lock_guard lock(mutex_);
  const auto number = static_cast<int64_t>(log_.size());
  Fault fault = Fault::kNone;
  if (fail_at_ >= 0 && (number == fail_at_ || (lasting_ && number > fail_at_))) fault = fault_;
  if (fault == Fault::kTornWrite && op != DiskOp::kWrite) fault = Fault::kNone;
  if (IsSync(op) && syncs_++ == skip_sync_ && fault == Fault::kNone) fault = Fault::kSkippedSync;
  if (fault == Fault::kShortWrite && op != DiskOp::kWrite) fault = Fault::kNoSpace;
  log_.push_back({op, Normal(path), fault});
  return fault;
}

/// A name that appears without having been created through a wrapper, such as a file that the
/// library makes by itself and syncs, is taken as durable.
std::shared_ptr<FaultyDisk::File>& FaultyDisk::FileAt(const std::string& path) {
  auto& file = names_[path];
  if (file == nullptr) {
    file = std::make_shared<File>();
    durable_names_[path] = file;
  }
  return file;
}

void FaultyDisk::ApplyName(const NameChange& change, Names& names) {
  if (!change.removed.empty()) names.erase(change.removed);
  if (!change.added.empty()) names[change.added] = change.file;
}

void FaultyDisk::Created(const std::string& path) {
  const std::lock_guard lock(mutex_);
  const NameChange change = {"", Normal(path), std::make_shared<File>()};
  ApplyName(change, names_);
  pending_names_.push_back(change);
}

void FaultyDisk::Wrote(const std::string& path, int64_t offset, std::string_view bytes) {
  const std::lock_guard lock(mutex_);
  FileAt(Normal(path))->pending.push_back({offset, std::string(bytes), -1});
}

void FaultyDisk::Truncated(const std::string& path, int64_t size_bytes) {
  const std::lock_guard lock(mutex_);
  FileAt(Normal(path))->pending.push_back({0, "", size_bytes});
}

void FaultyDisk::Synced(const std::string& path) {
  const std::lock_guard lock(mutex_);
  File& file = *FileAt(Normal(path));
  for (const Change& change : file.pending) ApplyChange(change, file.durable);
  file.pending.clear();
}

void FaultyDisk::Forgot(const std::string& path) {
  const std::lock_guard lock(mutex_);
  FileAt(Normal(path))->pending.clear();
}

void FaultyDisk::SyncedDirectory(const std::string& path) {
  const std::lock_guard lock(mutex_);
  const std::string directory = Normal(path);
  std::erase_if(pending_names_, [&](const NameChange& change) {
    const std::string& name = change.added.empty() ? change.removed : change.added;
    if (Parent(name) != directory) return false;
    ApplyName(change, durable_names_);
    return true;
  });
}

void FaultyDisk::Renamed(const std::string& from, const std::string& to) {
  const std::lock_guard lock(mutex_);
  const NameChange change = {Normal(from), Normal(to), FileAt(Normal(from))};
  ApplyName(change, names_);
  pending_names_.push_back(change);
}

void FaultyDisk::Linked(const std::string& from, const std::string& to) {
  const std::lock_guard lock(mutex_);
  const NameChange change = {"", Normal(to), FileAt(Normal(from))};
  ApplyName(change, names_);
  pending_names_.push_back(change);
}

void FaultyDisk::Deleted(const std::string& path) {
  const std::lock_guard lock(mutex_);
  const NameChange change = {Normal(path), "", nullptr};
  ApplyName(change, names_);
  pending_names_.push_back(change);
}

void FaultyDisk::ApplyChange(const Change& change, std::string& bytes) {
  if (change.truncate_to >= 0) {
    bytes.resize(static_cast<size_t>(change.truncate_to), '\0');
    return;
  }
  const auto end = static_cast<size_t>(change.offset) + change.bytes.size();
  if (bytes.size() < end) bytes.resize(end, '\0');
  std::copy(change.bytes.begin(), change.bytes.end(), bytes.begin() + change.offset);
}

std::string FaultyDisk::AfterCut(const File& file, Cut cut, std::mt19937_64& random) {
  std::string bytes = file.durable;
  if (cut == Cut::kNothing) return bytes;
  // Of one file everything, nothing or each sector by itself: mixtures of files matter too.
  const uint64_t mood = cut == Cut::kEverything ? 0 : random() % 4;
  if (mood == 1) return bytes;
  for (const Change& change : file.pending) {
    const auto kept = [&] { return mood == 0 || random() % 2 == 0; };
    if (change.truncate_to >= 0) {
      if (kept()) ApplyChange(change, bytes);
      continue;
    }
    const auto size = static_cast<int64_t>(change.bytes.size());
    for (int64_t at = 0; at < size;) {
      const int64_t sector_end = ((change.offset + at) / kSectorBytes + 1) * kSectorBytes;
      const int64_t count = std::min(size - at, sector_end - change.offset - at);
      if (kept()) {
        ApplyChange({change.offset + at,
                     change.bytes.substr(static_cast<size_t>(at), static_cast<size_t>(count)), -1},
                    bytes);
      }
      at += count;
    }
  }
  return bytes;
}

void FaultyDisk::PowerCut(const std::string& to, Cut cut, std::mt19937_64& random) const {
  const std::lock_guard lock(mutex_);
  Names names = durable_names_;
  const size_t kept = cut == Cut::kNothing      ? 0
                      : cut == Cut::kEverything ? pending_names_.size()
                                                : random() % (pending_names_.size() + 1);
  for (size_t i = 0; i < kept; ++i) ApplyName(pending_names_[i], names);
  std::filesystem::remove_all(to);
  std::filesystem::create_directories(to);
  std::filesystem::permissions(to, std::filesystem::perms::owner_all);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_)) {
    if (!entry.is_directory()) continue;
    std::filesystem::create_directories(to / std::filesystem::relative(entry.path(), folder_));
  }
  for (const auto& [path, file] : names) {
    // The index of SQLite's log is memory with a name.
    if (path.ends_with("-shm")) continue;
    const std::filesystem::path target = to / std::filesystem::relative(path, folder_);
    std::ofstream(target, std::ios::binary) << AfterCut(*file, cut, random);
  }
}

}  // namespace baleen
