// Writing NumPy's .npy files: fp32 matrices, row by row.
#pragma once

#include <cstdint>
#include <fstream>
#include <span>
#include <string>

#include "tools_sdk/status.h"

namespace baleen::cli {

/// Shapes: [rows, cols] fp32, C order. Source: NumPy format specification, version 1.0.
class NpyWriter {
 public:
  static Result<NpyWriter> Create(const std::string& path, int64_t rows, int64_t cols) {
    NpyWriter writer;
    writer.file_.open(path, std::ios::binary | std::ios::trunc);
    if (!writer.file_) return PermissionDeniedError("can't write '" + path + "'");
    std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" +
                         std::to_string(rows) + ", " + std::to_string(cols) + "), }";
    constexpr size_t kPrefix = 10;  // magic, version, length
    header.append(64 - (kPrefix + header.size() + 1) % 64, ' ');
    header += '\n';
    const auto size = static_cast<uint16_t>(header.size());
    writer.file_ << "\x93NUMPY" << '\x01' << '\0' << static_cast<char>(size & 0xFF)
                 << static_cast<char>(size >> 8) << header;
    return writer;
  }
  void Write(std::span<const float> values) {
    file_.write(reinterpret_cast<const char*>(values.data()),
                static_cast<std::streamsize>(values.size_bytes()));
  }
  Status Close() {
    file_.close();
    if (file_) return OkStatus();
    return ResourceExhaustedError("writing the logits failed; is the disk full?");
  }

 private:
  std::ofstream file_;
};

}  // namespace baleen::cli
