// How a tensor may be stored: the storage classes of the format, and reading ids.
//
// The rules only; model/checkpoint/tensor_check.h applies them to a source and model/weights.cc
// packs by them.
#pragma once

#include <cstdint>
#include <optional>

#include "model/checkpoint/tensor_table.h"
#include "model/weight_source.h"

namespace baleen {

enum class Storage {
  kPlain,  ///< F32, BF16 or F16.
  kFp8,    ///< F8_E4M3 codes with block scales.
  kFp4,    ///< Two E2M1 codes per I8 element, with block scales.
  kIds,    ///< I64 or I32 expert ids.
};

/// How a tensor of `format` that a file declares as `dtype` is stored; nullopt: it may not be.
std::optional<Storage> StorageOf(TensorFormat format, DType dtype);

/// Elements that share a scale. Requires: kFp8 or kFp4.
struct ScaleBlock {
  int64_t rows = 0;
  int64_t cols = 0;
};
ScaleBlock ScaleBlockOf(Storage storage);

/// Element `index` of a tensor in kIds.
int64_t IdAt(const TensorView& view, int64_t index);

}  // namespace baleen
