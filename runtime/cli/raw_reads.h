// RawReads: what the disk can do, for benches to hold the store against: preads of given ranges.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tools_sdk/status.h"

namespace baleen::cli {

/// Bytes [offset, offset + bytes) of a file.
struct FileRange {
  int fd = -1;
  int64_t offset = 0;
  int64_t bytes = 0;
};

/// Open files of a folder, one behind the other in the order of their names.
class FileRow {
 public:
  /// Those of `paths`.
  static Result<FileRow> Open(const std::vector<std::string>& paths);
  ~FileRow();
  FileRow(FileRow&& other) noexcept : files_(std::move(other.files_)) { other.files_.clear(); }
  FileRow& operator=(FileRow&&) = delete;

  int64_t bytes() const;
  /// The ranges of at most `bytes_max` that make up [offset, offset + bytes) of the row.
  std::vector<FileRange> Ranges(int64_t offset, int64_t bytes, int64_t bytes_max) const;

 private:
  explicit FileRow(std::vector<FileRange> files) : files_(std::move(files)) {}
  std::vector<FileRange> files_;
};

/// Reads all ranges by pread into one buffer per thread; each thread takes the next run of them.
/// Returns the time in ms, or the first error.
Result<double> RawRead(const std::vector<FileRange>& ranges, int threads);

}  // namespace baleen::cli
