#include "model/training/parameters.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "kernels/dequantise.h"
#include "kernels/matrix.h"
#include "model/checkpoint/shape.h"
#include "model/checkpoint/stored_tensor.h"
#include "model/checkpoint/tensor_check.h"
#include "model/checkpoint/tensor_table.h"

namespace baleen::training {
namespace {

UpdateRule RuleOf(const TensorSpec& spec) {
  if (spec.name.ends_with("gate.bias")) return UpdateRule::kRoutingBias;
  const bool table = spec.name == "embed.weight" || spec.name == "head.weight";
  // `ape` is one independent offset per slot and channel, not a linear map.
  const bool offsets = spec.name.ends_with(".ape");
  return spec.shape.size() < 2 || table || offsets ? UpdateRule::kAdamW : UpdateRule::kMuon;
}

uint64_t Mix(uint64_t z) {  // SplitMix64's output function
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

/// Distinct experts per token id: the first draws of a shuffle seeded by layer and id.
HashTable FixedHashTable(const TensorSpec& spec, uint64_t layer, int64_t experts) {
  HashTable table = {spec.name, spec.shape, {}};
  const int64_t topk = spec.shape[1];
  table.experts.resize(static_cast<size_t>(Elements(spec.shape)));
  std::vector<int32_t> order(static_cast<size_t>(experts));
  for (int64_t token = 0; token < spec.shape[0]; ++token) {
    for (size_t e = 0; e < order.size(); ++e) order[e] = static_cast<int32_t>(e);
    uint64_t state = Mix((layer << 32) + static_cast<uint64_t>(token) + 1);
    for (int64_t i = 0; i < topk; ++i) {
      state = Mix(state + 0x9E3779B97F4A7C15ULL);
      const auto rest = static_cast<uint64_t>(experts - i);
      std::swap(order[static_cast<size_t>(i)], order[static_cast<size_t>(i) + state % rest]);
      table.experts[static_cast<size_t>(token * topk + i)] = order[static_cast<size_t>(i)];
    }
    std::sort(table.experts.begin() + token * topk, table.experts.begin() + (token + 1) * topk);
  }
  return table;
}

std::vector<TensorSpec> AllTensors(const ModelConfig& config) {
  std::vector<TensorSpec> specs = BackboneTensors(config);
  std::vector<TensorSpec> draft = MtpTensors(config);
  std::move(draft.begin(), draft.end(), std::back_inserter(specs));
  return specs;
}

/// All values of a tensor that CheckTensors has approved.
Status ReadFloats(const WeightSource& source, const TensorSpec& spec, std::vector<float>* out) {
  ASSIGN_OR_RETURN(const TensorView view, source.Find(spec.name));
  const Storage storage = *StorageOf(spec.format, view.dtype);
  kernels::MatrixSource m = {.dtype = view.dtype, .values = view.bytes.data()};
  m.rows = spec.shape.size() < 2 ? 1 : spec.shape.front();
  m.cols = spec.shape.back();
  TensorView scale;
  if (storage != Storage::kPlain) {
    ASSIGN_OR_RETURN(scale, source.Find(ScaleName(spec.name)));
    const ScaleBlock block = ScaleBlockOf(storage);
    if (storage == Storage::kFp4) m.dtype = DType::kFp4;
    m.scale_dtype = scale.dtype;
    m.scales = scale.bytes.data();
    m.scale_block_rows = block.rows;
    m.scale_block_cols = block.cols;
  }
  for (int64_t r = 0; r < m.rows; ++r) kernels::DequantiseRow(m, r, out->data() + r * m.cols);
  return OkStatus();
}

}  // namespace

Result<ParameterSet> ParameterSet::Make(const ModelConfig& config) {
  RETURN_IF_ERROR(config.Validate());
  ParameterSet set;
  set.config_ = config;
  for (TensorSpec& spec : AllTensors(config)) {
    if (spec.format == TensorFormat::kHashTable) {
      set.hash_tables_.push_back(FixedHashTable(spec, set.hash_tables_.size(), config.experts));
      continue;
    }
    const float start = spec.format == TensorFormat::kNorm ? 1.0F : 0.0F;
    const UpdateRule rule = RuleOf(spec);
    std::vector<float> value(static_cast<size_t>(Elements(spec.shape)), start);
    set.index_.emplace(spec.name, set.parameters_.size());
    set.parameters_.push_back(
        {std::move(spec.name), std::move(spec.shape), rule, std::move(value)});
  }
  return set;
}

Result<ParameterSet> ParameterSet::FromSource(const WeightSource& source) {
  if (Result<int64_t> checked = CheckTensors(source); !checked.ok()) {
    return std::move(checked).status();
  }
  ASSIGN_OR_RETURN(ParameterSet set, Make(source.config()));
  const std::vector<std::string> names = source.Names();
  for (const TensorSpec& spec : AllTensors(source.config())) {
    if (!std::binary_search(names.begin(), names.end(), spec.name)) continue;
    if (spec.format == TensorFormat::kHashTable) {
      ASSIGN_OR_RETURN(const TensorView view, source.Find(spec.name));
      const auto table = std::find_if(set.hash_tables_.begin(), set.hash_tables_.end(),
                                      [&](const HashTable& t) { return t.name == spec.name; });
      for (size_t i = 0; i < table->experts.size(); ++i) {
        table->experts[i] = static_cast<int32_t>(IdAt(view, static_cast<int64_t>(i)));
      }
      std::vector<int32_t>& ids = table->experts;
      const int64_t topk = spec.shape[1];
      for (auto row = ids.begin(); row != ids.end(); row += topk) std::sort(row, row + topk);
      continue;
    }
    RETURN_IF_ERROR(ReadFloats(source, spec, &set.Find(spec.name)->value));
  }
  return set;
}

Parameter* ParameterSet::Find(std::string_view name) {
  const int64_t at = IndexOf(name);
  return at < 0 ? nullptr : &parameters_[static_cast<size_t>(at)];
}

const Parameter* ParameterSet::Find(std::string_view name) const {
  const int64_t at = IndexOf(name);
  return at < 0 ? nullptr : &parameters_[static_cast<size_t>(at)];
}

int64_t ParameterSet::IndexOf(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? -1 : static_cast<int64_t>(found->second);
}

int64_t ParameterSet::element_count() const {
  int64_t total = 0;
  for (const Parameter& parameter : parameters_) {
    total += static_cast<int64_t>(parameter.value.size());
  }
  return total;
}

Gradients::Gradients(const ParameterSet& parameters) {
  offsets_.push_back(0);
  for (const Parameter& parameter : parameters.all()) {
    offsets_.push_back(offsets_.back() + parameter.value.size());
  }
  values_.assign(offsets_.back(), 0.0F);
}

std::span<float> Gradients::operator[](size_t parameter) {
  return std::span(values_).subspan(offsets_[parameter],
                                    offsets_[parameter + 1] - offsets_[parameter]);
}

std::span<const float> Gradients::operator[](size_t parameter) const {
  return std::span(values_).subspan(offsets_[parameter],
                                    offsets_[parameter + 1] - offsets_[parameter]);
}

void Gradients::Clear() { std::fill(values_.begin(), values_.end(), 0.0F); }

void Gradients::Add(const Gradients& other) {
  for (size_t i = 0; i < values_.size(); ++i) values_[i] += other.values_[i];
}

bool IsIndexerParameter(std::string_view name) {
  return name.find(".attn.indexer.") != std::string_view::npos;
}

}  // namespace baleen::training
