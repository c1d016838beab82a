// Weight dequantisation, see the header.
#include "kernels/dequantise.h"

#include <cstring>

#include "kernels/check.h"
#include "kernels/integer_math.h"

namespace baleen::kernels {
namespace {

template <typename T>
T ReadAt(const std::byte* base, int64_t index) {
  T value;  // file bytes need not be aligned
  std::memcpy(&value, base + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

void DecodeRow(const MatrixSource& source, int64_t row, float* out) {
  const int64_t cols = source.cols;
  const int64_t first = row * cols;
  switch (source.dtype) {
    case DType::kF32:
      for (int64_t c = 0; c < cols; ++c) out[c] = ReadAt<float>(source.values, first + c);
      return;
    case DType::kBf16:
      for (int64_t c = 0; c < cols; ++c) {
        out[c] = DecodeBf16(ReadAt<uint16_t>(source.values, first + c));
      }
      return;
    case DType::kF16:
      for (int64_t c = 0; c < cols; ++c) {
        out[c] = DecodeF16(ReadAt<uint16_t>(source.values, first + c));
      }
      return;
    case DType::kF8E4M3:
      for (int64_t c = 0; c < cols; ++c) {
        out[c] = DecodeE4M3(ReadAt<uint8_t>(source.values, first + c));
      }
      return;
    case DType::kFp4: {
      const int64_t row_bytes = CeilDivide(cols, 2);
      for (int64_t c = 0; c < cols; ++c) {
        const uint8_t pair = ReadAt<uint8_t>(source.values, row * row_bytes + c / 2);
        out[c] = DecodeE2M1(c % 2 == 0 ? pair & 15u : pair >> 4);
      }
      return;
    }
    default:
      DCHECK(false && "not a weight type");
      std::memset(out, 0, static_cast<size_t>(cols) * sizeof(float));
  }
}

float ReadScale(const MatrixSource& source, int64_t index) {
  if (source.scale_dtype == DType::kF32) return ReadAt<float>(source.scales, index);
  return DecodeE8M0(ReadAt<uint8_t>(source.scales, index));
}

}  // namespace

void DequantiseRow(const MatrixSource& source, int64_t row, float* out) {
  DecodeRow(source, row, out);
  if (source.scales == nullptr) return;
  const int64_t block = source.scale_block_cols;
  const int64_t blocks = CeilDivide(source.cols, block);
  const int64_t first_scale = row / source.scale_block_rows * blocks;
  for (int64_t b = 0; b < blocks; ++b) {
    const float scale = ReadScale(source, first_scale + b);
    const int64_t end = b + 1 < blocks ? (b + 1) * block : source.cols;
    for (int64_t c = b * block; c < end; ++c) out[c] *= scale;
  }
}

}  // namespace baleen::kernels
