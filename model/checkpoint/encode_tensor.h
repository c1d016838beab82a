// Values -> tensors in the released storage formats, and the same rounding in place.
//
// BF16, F8_E4M3 with block scales, packed FP4: power-of-two scales, the smallest that hold a
// block's largest magnitude, and round to nearest even. Reading back is kernels/dequantise's.
// Called by seeded weights, by the trainer's quantisation stage and by its export: what is trained
// is what is stored.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "kernels/dtype.h"
#include "model/checkpoint/tensor_table.h"
#include "tools_sdk/status.h"

namespace baleen {

/// kNative: FP4 experts and F8_E8M0 scales. kBase: F8_E4M3 experts and F32 scales, as in the Base
/// releases (`expert_dtype` "fp8").
enum class ReleaseStyle { kNative, kBase };

ReleaseStyle ReleaseStyleOf(const ModelConfig& config);

struct EncodedTensor {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;  ///< As stored: FP4 has half the columns.
  std::vector<std::byte> bytes;
};

struct EncodedWeight {
  EncodedTensor tensor;
  std::optional<EncodedTensor> scale;  ///< Belongs under ScaleName.
};

/// Shapes: values as spec.shape, row-major. Requires: finite values; a format other than
/// kHashTable; even columns for FP4.
EncodedWeight EncodeWeight(const TensorSpec& spec, std::span<const float> values,
                           ReleaseStyle style);

/// values <- what reading the encoded values back would give. Requires: as EncodeWeight.
void RoundWeight(const TensorSpec& spec, ReleaseStyle style, std::span<float> values);

EncodedTensor EncodeF32(const TensorSpec& spec, std::span<const float> values);

/// Would training stacks find the same values after converting an encoded FP4 weight to F8_E4M3
/// with one scale per 128x128 block?  Source: spec section 3.6. Errors: FAILED_PRECONDITION naming
/// the tensor and the block whose scales lie too far apart.
Status CheckFp4FitsFp8(const TensorSpec& spec, const EncodedWeight& weight);

}  // namespace baleen
