// A DeepSeek-V4 with one part left out, for tests of what the goldens can see.
//
// Production code has no such switches: a part is taken out by what the model is given, namely
// other tensors, another config, or a backend whose one op differs. Used by sensitivity_test.cc.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/backend.h"
#include "model/weight_source.h"

namespace baleen::oracle {

struct TensorCopy {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::vector<std::byte> bytes;

  /// Replaces the content by `value` everywhere, as F32.
  void Fill(float value);
  /// Moves the first half of every run of `run_bytes` behind its second half.
  void SwapHalves(size_t run_bytes);
};

/// Ops that go wrong in a FaultyBackend.
enum class Fault {
  kNone,
  kNoInverseRope,
  kCombTransposed,
  kNoHeadNorm,
  kSharedUnclamped,
  kLateVisibility,  ///< A window is seen one query later than its last token.
  kNoHcaEntries,
};

/// How to leave out one part. Unset functions change nothing.
struct Part {
  std::string name;
  /// Whether a model of this config, over so many tokens, has the part at all.
  std::function<bool(const ModelConfig&, int64_t tokens)> present;
  std::function<void(ModelConfig&)> configure;
  std::function<void(const ModelConfig&, std::string_view tensor, TensorCopy&)> edit;
  Fault fault = Fault::kNone;
};

/// All parts that parity must depend on.
std::vector<Part> Parts();

/// `base` as `part` changes it. Borrows: base.
class EditedWeights : public WeightSource {
 public:
  EditedWeights(const WeightSource& base, const Part& part);

  const ModelConfig& config() const override { return config_; }
  std::vector<std::string> Names() const override { return base_.Names(); }
  Result<TensorView> Find(std::string_view name) const override;

 private:
  const WeightSource& base_;
  ModelConfig config_;
  std::map<std::string, TensorCopy, std::less<>> tensors_;
};

/// The cpu backend with one op changed.
std::unique_ptr<kernels::Backend> MakeFaultyBackend(Fault fault);

}  // namespace baleen::oracle
