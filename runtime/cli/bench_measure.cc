#include "runtime/cli/bench_measure.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace baleen::cli {

double MsSince(SteadyTime start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

double UsSince(SteadyTime start) { return MsSince(start) * 1000; }

double CpuMs() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto ms = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_usec) / 1e3;
  };
  return ms(usage.ru_utime) + ms(usage.ru_stime);
}

Spread Summarise(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values.front(), values[values.size() / 2], values.back()};
}

Json ToJson(const Spread& spread) {
  return {{"median", spread.median}, {"low", spread.low}, {"high", spread.high}};
}

void ForgetFiles(const std::string& folder) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    const int fd = open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    if (fdatasync(fd) == 0) posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);  // clean pages only
    close(fd);
  }
}

int64_t ReadFiles(const std::string& folder, std::vector<char>* buffer) {
  int64_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    while (file) {
      file.read(buffer->data(), static_cast<std::streamsize>(buffer->size()));
      bytes += file.gcount();
    }
  }
  return bytes;
}

Result<double> SyncedAppendMs(const std::string& folder, int64_t bytes) {
  const std::string path = folder + "/append";
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) return UnavailableError("can't open '" + path + "'");
  const std::string content(static_cast<size_t>(bytes), 'x');
  const auto start = std::chrono::steady_clock::now();
  const bool written = write(fd, content.data(), content.size()) == std::ssize(content);
  const bool synced = fdatasync(fd) == 0;
  const double ms = MsSince(start);
  close(fd);
  if (!written || !synced) return UnavailableError("can't write and sync '" + path + "'");
  return ms;
}

}  // namespace baleen::cli
