// Weight matrices: as a file has them, and as a backend keeps them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/dtype.h"

namespace baleen::kernels {

/// A weight matrix in a file's format; y = x W^T with W [rows, cols].
/// Borrows: all pointers, until Pack returns.
struct MatrixSource {
  DType dtype = DType::kF32;          ///< kF32, kBf16, kF16, kF8E4M3 or kFp4 (packed along cols).
  const std::byte* values = nullptr;  ///< [rows, cols] row major.
  int64_t rows = 0;
  int64_t cols = 0;
  DType scale_dtype = DType::kF8E8M0;  ///< kF8E8M0 or kF32.
  const std::byte* scales =
      nullptr;  ///< Null: no scales. [ceil(rows/block_rows), ceil(cols/block_cols)].
  int64_t scale_block_rows = 0;
  int64_t scale_block_cols = 0;
};

/// A weight matrix as a backend keeps it. Immutable; may be shared by threads.
class PackedMatrix {
 public:
  virtual ~PackedMatrix() = default;
  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }

 protected:
  PackedMatrix(int64_t rows, int64_t cols) : rows_(rows), cols_(cols) {}

 private:
  int64_t rows_;
  int64_t cols_;
};

}  // namespace baleen::kernels
