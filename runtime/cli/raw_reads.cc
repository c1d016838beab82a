#include "runtime/cli/raw_reads.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "runtime/cli/bench_measure.h"

namespace baleen::cli {
namespace {

Status DiskError(const std::string& what) {
  return InternalError(what + ": " + std::strerror(errno) + "; check the disk");
}

}  // namespace

Result<FileRow> FileRow::Open(const std::vector<std::string>& paths) {
  FileRow row(std::vector<FileRange>{});
  for (const std::string& path : paths) {
    FileRange file;
    file.fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat entry = {};
    if (file.fd < 0 || fstat(file.fd, &entry) != 0) return DiskError("open '" + path + "'");
    file.bytes = entry.st_size;
    row.files_.push_back(file);
  }
  return row;
}

FileRow::~FileRow() {
  for (const FileRange& file : files_) close(file.fd);
}

int64_t FileRow::bytes() const {
  int64_t bytes = 0;
  for (const FileRange& file : files_) bytes += file.bytes;
  return bytes;
}

std::vector<FileRange> FileRow::Ranges(int64_t offset, int64_t bytes, int64_t bytes_max) const {
  std::vector<FileRange> ranges;
  for (const FileRange& file : files_) {
    while (offset < file.bytes && bytes > 0) {
      const int64_t part = std::min({bytes, bytes_max, file.bytes - offset});
      ranges.push_back({file.fd, offset, part});
      offset += part;
      bytes -= part;
    }
    offset -= file.bytes;
    if (bytes == 0) break;
    offset = std::max<int64_t>(offset, 0);
  }
  return ranges;
}

Result<double> RawRead(const std::vector<FileRange>& ranges, int threads) {
  constexpr size_t kRun = 16;
  int64_t longest = 0;
  for (const FileRange& range : ranges) longest = std::max(longest, range.bytes);
  std::atomic<size_t> next{0};
  std::atomic<bool> failed{false};
  const auto start = std::chrono::steady_clock::now();
  {
    std::vector<std::jthread> readers;
    for (int i = 0; i < threads; ++i) {
      readers.emplace_back([&] {
        std::vector<char> buffer(static_cast<size_t>(longest));
        for (size_t run = next.fetch_add(kRun); run < ranges.size(); run = next.fetch_add(kRun)) {
          const size_t end = std::min(run + kRun, ranges.size());
          for (size_t r = run; r < end; ++r) {
            const FileRange& range = ranges[r];
            const auto bytes = static_cast<size_t>(range.bytes);
            if (pread(range.fd, buffer.data(), bytes, range.offset) != range.bytes) failed = true;
          }
        }
      });
    }
  }
  if (failed) return DiskError("raw read");
  return MsSince(start);
}

}  // namespace baleen::cli
