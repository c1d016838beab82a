#include "model/checkpoint/stored_tensor.h"

#include <cstring>

namespace baleen {
namespace {

template <typename T>
T ReadAt(const TensorView& view, int64_t index) {
  T value;  // The file's bytes need not be aligned.
  std::memcpy(&value, view.bytes.data() + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

}  // namespace

std::optional<Storage> StorageOf(TensorFormat format, DType dtype) {
  if (format == TensorFormat::kHashTable) {
    if (dtype == DType::kI64 || dtype == DType::kI32) return Storage::kIds;
    return std::nullopt;
  }
  if (dtype == DType::kF32 || dtype == DType::kBf16 || dtype == DType::kF16) return Storage::kPlain;
  const bool expert = format == TensorFormat::kExpert;
  if ((expert || format == TensorFormat::kFp8) && dtype == DType::kF8E4M3) return Storage::kFp8;
  if (expert && dtype == DType::kI8) return Storage::kFp4;
  return std::nullopt;
}

ScaleBlock ScaleBlockOf(Storage storage) {
  if (storage == Storage::kFp4) return {1, kFp4BlockSize};
  return {kFp8BlockSize, kFp8BlockSize};
}

int64_t IdAt(const TensorView& view, int64_t index) {
  if (view.dtype == DType::kI64) return ReadAt<int64_t>(view, index);
  return ReadAt<int32_t>(view, index);
}

}  // namespace baleen
