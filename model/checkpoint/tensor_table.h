// The inventory of a DeepSeek-V4: every tensor a config implies, under its official name.
//
// One table for the loader's checks, for seeded weights and for parameter counts. Knows names,
// shapes and storage classes; no values.  Source: the released checkpoints' headers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/config.h"

namespace baleen {

/// How released checkpoints store a tensor. Unquantised checkpoints may use a plain float type for
/// all but kHashTable.
enum class TensorFormat {
  kNorm,       ///< BF16 vector around 1.
  kBf16,       ///< BF16 matrix.
  kF32,        ///< F32 vector or matrix.
  kFp8,        ///< F8_E4M3 matrix with one scale per 128x128 block.
  kExpert,     ///< FP4 with one scale per row and 32 columns, or as kFp8.
  kHashTable,  ///< I64 (or I32) expert ids.
};

inline constexpr int64_t kFp8BlockSize = 128;
inline constexpr int64_t kFp4BlockSize = 32;

struct TensorSpec {
  std::string name;            ///< E.g. "layers.3.attn.wq_a.weight".
  std::vector<int64_t> shape;  ///< Logical: FP4 packing not applied.
  TensorFormat format = TensorFormat::kF32;
};

/// "x.weight" -> "x.scale"; where a quantised matrix keeps its block scales.
std::string ScaleName(const std::string& weight_name);

/// Everything but the draft blocks, without scales, in the model's order.
/// Requires: config.Validate() is OK.
std::vector<TensorSpec> BackboneTensors(const ModelConfig& config);

/// The preview's multi-token-prediction blocks "mtp.K.*"; empty if there are none.
std::vector<TensorSpec> MtpTensors(const ModelConfig& config);

/// Elements of all tensors. Hash tables are in, though not trained: so are they in the published
/// 284.335 B of Flash.
int64_t ParameterCount(const std::vector<TensorSpec>& tensors);

/// Parameters that take part in one token: only experts_per_token of the routed experts, and of the
/// embedding one row (counted as none).
int64_t ActiveParameterCount(const ModelConfig& config);

}  // namespace baleen
