// volatile_disk: a disk whose write cache a power cut empties.
//
//   volatile_disk IMAGE FOLDER      commands on standard input, answers on standard output
//
//   Mounts FOLDER by FUSE and shows IMAGE there as the one file `disk`, for a loop device with a
//   file system on it. What is written stays in memory until the file is synced, as in a disk's own
//   cache; only then it reaches IMAGE. Says "ready" once it is mounted.
//
//   cut SEED PERCENT   The power fails: of the sectors that were not synced about PERCENT, drawn by
//                      SEED, reach IMAGE all the same, as a disk writes its cache in any order; the
//                      others are gone. Answers "cut KEPT LOST" and ends at once, so that whoever
//                      still uses the disk gets errors. End of input does the same with nothing
//                      kept.
//
// Needs root, /dev/fuse and loop devices; does nothing about latency or bit errors.
#define FUSE_USE_VERSION 31
#include <fcntl.h>
#include <fuse.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <mutex>
#include <random>
#include <sstream>
#include <string>
#include <thread>

namespace {

constexpr int64_t kSectorBytes = 512;
constexpr char kDiskPath[] = "/disk";

class Disk {
 public:
  explicit Disk(int image) : image_(image), bytes_(lseek(image, 0, SEEK_END)) {}

  int64_t bytes() const { return bytes_; }

  int64_t Read(int64_t at, char* out, int64_t count) {
    const std::lock_guard lock(mutex_);
    count = std::min(count, bytes_ - at);
    if (count <= 0) return 0;
    if (pread(image_, out, static_cast<size_t>(count), at) != count) return -EIO;
    ForEachSector(at, count, [&](int64_t sector, int64_t inside, int64_t offset, int64_t part) {
      const auto cached = cache_.find(sector);
      if (cached == cache_.end()) return;
      std::memcpy(out + offset, cached->second.data() + inside, static_cast<size_t>(part));
    });
    return count;
  }

  int64_t Write(int64_t at, const char* bytes, int64_t count) {
    const std::lock_guard lock(mutex_);
    if (at + count > bytes_) return -ENOSPC;
    bool read = true;
    ForEachSector(at, count, [&](int64_t sector, int64_t inside, int64_t offset, int64_t part) {
      const auto [cached, fresh] = cache_.try_emplace(sector);
      if (fresh && part < kSectorBytes) {
        read = read && pread(image_, cached->second.data(), kSectorBytes, sector * kSectorBytes) ==
                           kSectorBytes;
      }
      std::memcpy(cached->second.data() + inside, bytes + offset, static_cast<size_t>(part));
    });
    return read ? count : -EIO;
  }

  int Sync() {
    const std::lock_guard lock(mutex_);
    for (const auto& [sector, bytes] : cache_) {
      if (!Store(sector, bytes)) return -EIO;
    }
    cache_.clear();
    return 0;
  }

  /// Ends the process.
  [[noreturn]] void Cut(uint64_t seed, int64_t percent) {
    mutex_.lock();  // for ever: nobody writes any more
    std::mt19937_64 random(seed);
    int64_t kept = 0;
    int64_t lost = 0;
    for (const auto& [sector, bytes] : cache_) {
      const bool keep = static_cast<int64_t>(random() % 100) < percent;
      if (keep) Store(sector, bytes);
      ++(keep ? kept : lost);
    }
    std::cout << "cut " << kept << " " << lost << std::endl;
    _exit(0);
  }

 private:
  using Sector = std::array<char, kSectorBytes>;

  template <typename Visit>
  static void ForEachSector(int64_t at, int64_t count, const Visit& visit) {
    for (int64_t done = 0; done < count;) {
      const int64_t inside = (at + done) % kSectorBytes;
      const int64_t part = std::min(kSectorBytes - inside, count - done);
      visit((at + done) / kSectorBytes, inside, done, part);
      done += part;
    }
  }
  bool Store(int64_t sector, const Sector& bytes) const {
    return pwrite(image_, bytes.data(), kSectorBytes, sector * kSectorBytes) == kSectorBytes;
  }

  const int image_;
  const int64_t bytes_;
  std::mutex mutex_;
  std::map<int64_t, Sector> cache_;  // guarded by mutex_
};

Disk& TheDisk() { return *static_cast<Disk*>(fuse_get_context()->private_data); }

int GetAttributes(const char* path, struct stat* entry, fuse_file_info* /*file*/) {
  *entry = {};
  if (std::strcmp(path, "/") == 0) {
    entry->st_mode = S_IFDIR | 0700;
    entry->st_nlink = 2;
    return 0;
  }
  if (std::strcmp(path, kDiskPath) != 0) return -ENOENT;
  entry->st_mode = S_IFREG | 0600;
  entry->st_nlink = 1;
  entry->st_size = TheDisk().bytes();
  return 0;
}

int OpenDisk(const char* path, fuse_file_info* /*file*/) {
  return std::strcmp(path, kDiskPath) == 0 ? 0 : -ENOENT;
}

int ReadDisk(const char* /*path*/, char* out, size_t count, off_t at, fuse_file_info* /*file*/) {
  return static_cast<int>(TheDisk().Read(at, out, static_cast<int64_t>(count)));
}

int WriteDisk(const char* /*path*/, const char* bytes, size_t count, off_t at,
              fuse_file_info* /*file*/) {
  return static_cast<int>(TheDisk().Write(at, bytes, static_cast<int64_t>(count)));
}

int SyncDisk(const char* /*path*/, int /*data_only*/, fuse_file_info* /*file*/) {
  return TheDisk().Sync();
}

void TakeCommands(Disk& disk) {
  std::string line;
  std::getline(std::cin, line);
  std::istringstream words(line);
  std::string command;
  uint64_t seed = 0;
  int64_t percent = 0;
  words >> command >> seed >> percent;
  disk.Cut(seed, percent);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const int image = open(argv[1], O_RDWR | O_CLOEXEC);
  if (image < 0) {
    std::perror(argv[1]);
    return 1;
  }
  Disk disk(image);
  fuse_operations operations = {};
  operations.getattr = GetAttributes;
  operations.open = OpenDisk;
  operations.read = ReadDisk;
  operations.write = WriteDisk;
  operations.fsync = SyncDisk;
  fuse_args arguments = FUSE_ARGS_INIT(1, argv);
  fuse* mounted = fuse_new(&arguments, &operations, sizeof(operations), &disk);
  if (mounted == nullptr || fuse_mount(mounted, argv[2]) != 0) return 1;
  std::cout << "ready" << std::endl;
  std::thread([&disk] { TakeCommands(disk); }).detach();
  return fuse_loop(mounted) == 0 ? 0 : 1;
}
