// RandomWeights: every tensor a config needs, from a seed.
//
// For tests, demonstrations and `baleen make-tiny`. The same seed gives the same bytes on every
// machine. Knows nothing of training; magnitudes are chosen so that a forward pass is lively:
// logits spread over a few units, attention neither flat nor stuck on one key.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "model/checkpoint/encode_tensor.h"
#include "model/config.h"
#include "model/weight_source.h"
#include "tools_sdk/status.h"

namespace baleen {

/// kFloat32: all F32 (hash tables I64). kOfficial: the released formats: BF16, F32, I64, F8_E4M3
/// blocks and packed FP4 experts with F8_E8M0 scales (`expert_dtype` "fp8": F8_E4M3 experts and F32
/// scales everywhere, as in the Base releases).
enum class RandomStorage { kFloat32, kOfficial };

/// Threads: immutable after construction; any thread.
class RandomWeights : public WeightSource {
 public:
  /// Requires: config.Validate() is OK; for kOfficial with FP4, hidden and expert_dim even.
  RandomWeights(const ModelConfig& config, uint64_t seed, RandomStorage storage);

  const ModelConfig& config() const override { return config_; }
  std::vector<std::string> Names() const override;
  Result<TensorView> Find(std::string_view name) const override;

 private:
  void Add(const std::string& name, EncodedTensor tensor);

  ModelConfig config_;
  std::map<std::string, EncodedTensor, std::less<>> tensors_;
};

/// The standard small model: six layers [window, window, CSA, HCA, CSA, HCA], the first two hash
/// routed, 8 experts of which 2 are used, hidden size 128, a window of 128, a million positions.
/// Its dimensions are legal for every official format; callers may change fields.
ModelConfig TinyConfig(int64_t vocab = 512);

}  // namespace baleen
