#include "model/training/export_checkpoint.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/integer_math.h"
#include "model/checkpoint/encode_tensor.h"
#include "model/checkpoint/file_access.h"
#include "model/checkpoint/shape.h"
#include "model/checkpoint/tensor_table.h"
#include "model/checkpoint/write_checkpoint.h"
#include "model/weight_source.h"

namespace baleen::training {
namespace {

constexpr int64_t kTokenizerBytesMax = int64_t{256} << 20;

std::vector<TensorSpec> AllTensors(const ModelConfig& config) {
  std::vector<TensorSpec> specs = BackboneTensors(config);
  for (TensorSpec& spec : MtpTensors(config)) specs.push_back(std::move(spec));
  return specs;
}

class TrainedWeights : public WeightSource {
 public:
  explicit TrainedWeights(const ModelConfig& config) : config_(config) {}

  void Add(const std::string& name, EncodedTensor tensor) { tensors_[name] = std::move(tensor); }

  const ModelConfig& config() const override { return config_; }
  std::vector<std::string> Names() const override {
    std::vector<std::string> names;
    for (const auto& [name, tensor] : tensors_) names.push_back(name);
    return names;
  }
  Result<TensorView> Find(std::string_view name) const override {
    const auto it = tensors_.find(name);
    if (it == tensors_.end()) {
      return NotFoundError("the trained model has no tensor '" + std::string(name) + "'");
    }
    return TensorView{it->second.dtype, it->second.shape, it->second.bytes};
  }

 private:
  ModelConfig config_;
  std::map<std::string, EncodedTensor, std::less<>> tensors_;
};

EncodedTensor EncodeHashTable(const HashTable& table) {
  const std::vector<int64_t> experts(table.experts.begin(), table.experts.end());
  EncodedTensor tensor{DType::kI64, table.shape,
                       std::vector<std::byte>(experts.size() * sizeof(int64_t))};
  std::memcpy(tensor.bytes.data(), experts.data(), tensor.bytes.size());
  return tensor;
}

Status AddWeight(const TensorSpec& spec, const Parameter& parameter, const ModelConfig& config,
                 ExportFormat format, TrainedWeights* weights) {
  const std::vector<float>& values = parameter.value;
  if (!std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); })) {
    return AbortedError("tensor '" + spec.name + "' is not finite; not exported", "NOT_FINITE");
  }
  if (format == ExportFormat::kFloat32) {
    weights->Add(spec.name, EncodeF32(spec, values));
    return OkStatus();
  }
  const ReleaseStyle style = ReleaseStyleOf(config);
  EncodedWeight weight = EncodeWeight(spec, values, style);
  if (spec.format == TensorFormat::kExpert && style == ReleaseStyle::kNative) {
    RETURN_IF_ERROR(CheckFp4FitsFp8(spec, weight));
  }
  weights->Add(spec.name, std::move(weight.tensor));
  if (weight.scale.has_value()) weights->Add(ScaleName(spec.name), std::move(*weight.scale));
  return OkStatus();
}

}  // namespace

Status ExportModel(const ParameterSet& parameters, const std::string& folder,
                   const ExportOptions& options) {
  const ModelConfig& config = parameters.config();
  TrainedWeights weights(config);
  for (const TensorSpec& spec : AllTensors(config)) {
    if (spec.format == TensorFormat::kHashTable) continue;
    const Parameter* parameter = parameters.Find(spec.name);
    if (parameter == nullptr) return InternalError("no parameter '" + spec.name + "'");
    RETURN_IF_ERROR(AddWeight(spec, *parameter, config, options.format, &weights));
  }
  for (const HashTable& table : parameters.hash_tables()) {
    weights.Add(table.name, EncodeHashTable(table));
  }
  std::string tokenizer;
  if (!options.tokenizer.empty()) {
    ASSIGN_OR_RETURN(tokenizer, ReadTextFile(options.tokenizer, kTokenizerBytesMax));
  }
  RETURN_IF_ERROR(WriteCheckpoint(weights, folder, {}));
  if (options.tokenizer.empty()) return OkStatus();
  return WriteFileAtomically(folder + "/tokenizer.json", tokenizer);
}

int64_t ExportBytes(const ModelConfig& config, ExportFormat format) {
  const bool native = ReleaseStyleOf(config) == ReleaseStyle::kNative;
  int64_t bytes = 0;
  for (const TensorSpec& spec : AllTensors(config)) {
    const int64_t elements = Elements(spec.shape);
    if (spec.format == TensorFormat::kHashTable) {
      bytes += elements * 8;
    } else if (format == ExportFormat::kFloat32 || spec.format == TensorFormat::kF32) {
      bytes += elements * 4;
    } else if (spec.format == TensorFormat::kNorm || spec.format == TensorFormat::kBf16) {
      bytes += elements * 2;
    } else if (spec.format == TensorFormat::kExpert && native) {
      bytes += elements / 2 + spec.shape[0] * CeilDivide(spec.shape[1], kFp4BlockSize);
    } else {
      const int64_t scales =
          CeilDivide(spec.shape[0], kFp8BlockSize) * CeilDivide(spec.shape[1], kFp8BlockSize);
      bytes += elements + scales * (native ? 1 : 4);
    }
  }
  return bytes;
}

}  // namespace baleen::training
