// WeightSource: where tensors come from. Knows names and bytes, not what they mean.
//
// Implemented by model/checkpoint (safetensors folders) and by model/random_weights (seeded tensors
// for tests and demonstrations).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/dtype.h"
#include "model/config.h"
#include "tools_sdk/status.h"

namespace baleen {

/// kMapped: pages come from the file when touched. kRead: files are read whole when opened.
enum class WeightAccess { kMapped, kRead };

/// One tensor as stored. For FP4 the file says I8 [rows, cols/2]; `dtype` is kI8 here too.
/// Borrows: bytes, from the source; they need not be aligned to the element size.
struct TensorView {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
};

/// Tensors under their official DeepSeek names ("layers.3.attn.wq_a.weight", scales as
/// "layers.3.attn.wq_a.scale"), whatever the file called them; fused expert tensors of transformers
/// checkpoints are presented one expert at a time.
/// Threads: const methods may be called from any thread. Lifetime: views live as long as the
/// source.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  virtual const ModelConfig& config() const = 0;
  /// Official names of all tensors, sorted.
  virtual std::vector<std::string> Names() const = 0;
  /// Errors: NOT_FOUND naming the tensor under its official and its file name.
  virtual Result<TensorView> Find(std::string_view name) const = 0;
};

}  // namespace baleen
