#include "tests/oracle/left_out.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "model/kv_cache.h"

namespace baleen::oracle {
namespace {

bool Always(const ModelConfig&, int64_t) { return true; }

bool HasCsa(const ModelConfig& config, int64_t tokens) {
  return tokens >= kCsaRatio &&
         std::count(config.layer_kinds.begin(), config.layer_kinds.end(), LayerKind::kCsa) > 0;
}

bool HasHca(const ModelConfig& config, int64_t tokens) {
  return tokens >= kHcaRatio &&
         std::count(config.layer_kinds.begin(), config.layer_kinds.end(), LayerKind::kHca) > 0;
}

// Somebody has more entries to choose from than he may choose.
bool HasChoice(const ModelConfig& config, int64_t tokens) {
  return HasCsa(config, tokens) && tokens / kCsaRatio > config.index_topk;
}

using Present = std::function<bool(const ModelConfig&, int64_t)>;

Part Configured(std::string name, Present present, std::function<void(ModelConfig&)> configure) {
  return {.name = std::move(name),
          .present = std::move(present),
          .configure = std::move(configure),
          .edit = nullptr};
}

Part Faulty(std::string name, Present present, Fault fault) {
  return {.name = std::move(name),
          .present = std::move(present),
          .configure = nullptr,
          .edit = nullptr,
          .fault = fault};
}

// Every tensor whose name ends so holds `value` everywhere.
Part Filled(std::string name, Present present, std::string end, float value) {
  return {.name = std::move(name),
          .present = std::move(present),
          .configure = nullptr,
          .edit = [end = std::move(end), value](const ModelConfig&, std::string_view tensor,
                                                TensorCopy& copy) {
            if (tensor.ends_with(end)) copy.Fill(value);
          }};
}

// The position biases of the compressors of one ratio are 0.
Part NoApe(std::string name, Present present, int64_t ratio) {
  return {.name = std::move(name),
          .present = std::move(present),
          .configure = nullptr,
          .edit = [ratio](const ModelConfig&, std::string_view tensor, TensorCopy& copy) {
            if (tensor.ends_with(".ape") && copy.shape[0] == ratio) copy.Fill(0);
          }};
}

// The wrong half of c and g goes to the neighbouring window.
void SwapOverlap(const ModelConfig& config, std::string_view tensor, TensorCopy& copy) {
  const bool ape = tensor.ends_with(".ape");
  const bool matrix =
      tensor.ends_with("compressor.wkv.weight") || tensor.ends_with("compressor.wgate.weight");
  if (!ape && !matrix) return;
  const bool indexer = tensor.find(".indexer.") != std::string_view::npos;
  const int64_t width = ape ? copy.shape[1] : copy.shape[0];
  if (!indexer && width == config.head_dim) return;  // HCA windows don't overlap.
  copy.SwapHalves(copy.bytes.size() / static_cast<size_t>(ape ? copy.shape[0] : 1));
}

// Every token gets the experts of the one before it.
void ShiftHashTable(const ModelConfig&, std::string_view tensor, TensorCopy& copy) {
  if (!tensor.ends_with(".tid2eid")) return;
  const size_t row = copy.bytes.size() / static_cast<size_t>(copy.shape[0]);
  std::rotate(copy.bytes.begin(), copy.bytes.end() - static_cast<std::ptrdiff_t>(row),
              copy.bytes.end());
}

/// Forwards to the cpu backend, but for one op.
class FaultyBackend : public kernels::Backend {
 public:
  FaultyBackend(std::unique_ptr<kernels::Backend> real, Fault fault)
      : real_(std::move(real)), fault_(fault) {}

  std::string_view name() const override { return real_->name(); }
  int arithmetic_revision() const override { return real_->arithmetic_revision(); }
  std::string_view instruction_set() const override { return real_->instruction_set(); }
  int threads() const override { return real_->threads(); }
  std::unique_ptr<kernels::PackedMatrix> Pack(const kernels::MatrixSource& source) const override {
    return real_->Pack(source);
  }
  void Linear(const kernels::LinearParams& p) override { real_->Linear(p); }
  void HcGates(const kernels::HcGatesParams& p) override { real_->HcGates(p); }
  void HcCollapse(const kernels::HcCollapseParams& p) override { real_->HcCollapse(p); }
  void GatedPool(const kernels::GatedPoolParams& p) override { real_->GatedPool(p); }
  void StoreEntries(const kernels::StoreEntriesParams& p) override { real_->StoreEntries(p); }
  void LoadEntries(const kernels::LoadEntriesParams& p) override { real_->LoadEntries(p); }
  void StoreIndexKeys(const kernels::StoreIndexKeysParams& p) override { real_->StoreIndexKeys(p); }
  void IndexQuery(const kernels::IndexQueryParams& p) override { real_->IndexQuery(p); }
  void Route(const kernels::RouteParams& p) override { real_->Route(p); }

  void RmsNorm(const kernels::RmsNormParams& p) override {
    if (fault_ != Fault::kNoHeadNorm || p.weight != nullptr) return real_->RmsNorm(p);
    std::memmove(p.out, p.x, static_cast<size_t>(p.rows * p.dim) * sizeof(float));
  }

  void Rope(const kernels::RopeParams& p) override {
    if (p.heads > 1) positions_.assign(p.positions, p.positions + p.tokens);  // Those of queries.
    const bool inverse = p.direction == kernels::RopeDirection::kInverse;
    if (fault_ != Fault::kNoInverseRope || !inverse) real_->Rope(p);
  }

  void HcExpand(const kernels::HcExpandParams& p) override {
    if (fault_ != Fault::kCombTransposed) return real_->HcExpand(p);
    std::vector<float> transposed(static_cast<size_t>(p.tokens * p.mult * p.mult));
    for (int64_t t = 0; t < p.tokens; ++t) {
      const int64_t at = t * p.mult * p.mult;
      for (int64_t j = 0; j < p.mult; ++j) {
        for (int64_t k = 0; k < p.mult; ++k) {
          transposed[static_cast<size_t>(at + j * p.mult + k)] = p.comb[at + k * p.mult + j];
        }
      }
    }
    kernels::HcExpandParams changed = p;
    changed.comb = transposed.data();
    real_->HcExpand(changed);
  }

  void IndexTopK(const kernels::IndexTopKParams& p) override {
    kernels::IndexTopKParams changed = p;
    const std::vector<int64_t> visible = Visible(p.visible, p.tokens, p.keys.rows_per_block);
    changed.visible = visible.data();
    real_->IndexTopK(changed);
  }

  void SparseAttention(const kernels::SparseAttentionParams& p) override {
    kernels::SparseAttentionParams changed = p;
    const std::vector<int64_t> visible = Visible(p.visible, p.tokens, p.entries.rows_per_block);
    changed.visible = visible.data();
    real_->SparseAttention(changed);
  }

  // Only the shared expert has no routing weight.
  void SwiGlu(const kernels::SwiGluParams& p) override {
    kernels::SwiGluParams changed = p;
    if (fault_ == Fault::kSharedUnclamped && p.weight == nullptr) changed.limit = 0;
    real_->SwiGlu(changed);
  }

 private:
  // How many entries each token sees; rows_per_block gives away the layer's ratio.
  std::vector<int64_t> Visible(const int64_t* visible, int64_t tokens,
                               int64_t rows_per_block) const {
    std::vector<int64_t> result(visible, visible + tokens);
    const int64_t ratio = rows_per_block == 0 ? 0 : kBlockTokens / rows_per_block;
    for (size_t t = 0; ratio > 0 && t < result.size(); ++t) {
      if (fault_ == Fault::kLateVisibility) result[t] = positions_[t] / ratio;
      if (fault_ == Fault::kNoHcaEntries && ratio == kHcaRatio) result[t] = 0;
    }
    return result;
  }

  std::unique_ptr<kernels::Backend> real_;
  Fault fault_;
  std::vector<int64_t> positions_;  ///< Of the queries of the layer that runs.
};

}  // namespace

void TensorCopy::Fill(float value) {
  size_t elements = 1;
  for (int64_t extent : shape) elements *= static_cast<size_t>(extent);
  const std::vector<float> values(elements, value);
  dtype = DType::kF32;
  bytes.resize(elements * sizeof(float));
  std::memcpy(bytes.data(), values.data(), bytes.size());
}

void TensorCopy::SwapHalves(size_t run_bytes) {
  for (size_t at = 0; at + run_bytes <= bytes.size(); at += run_bytes) {
    std::byte* run = bytes.data() + at;
    std::swap_ranges(run, run + run_bytes / 2, run + run_bytes / 2);
  }
}

std::vector<Part> Parts() {
  const auto yarn = [](const ModelConfig& c, int64_t) { return c.yarn_factor > 1; };
  const auto hash = [](const ModelConfig& c, int64_t) { return c.hash_layers > 0; };
  const auto bias = [](const ModelConfig& c, int64_t) { return c.hash_layers < c.layers; };
  return {
      Configured("indexer", HasChoice, [](ModelConfig& c) { c.index_topk = c.positions_max; }),
      Filled("index norm", HasChoice, ".indexer.compressor.norm.weight", 1.0F),
      Filled("sink", Always, ".attn_sink", -1e30F),
      Faulty("inverse rope", Always, Fault::kNoInverseRope),
      Configured("yarn", yarn, [](ModelConfig& c) { c.yarn_factor = 1; }),
      NoApe("ape of CSA", HasCsa, kCsaRatio),
      NoApe("ape of HCA", HasHca, kHcaRatio),
      Faulty("entries of HCA", HasHca, Fault::kNoHcaEntries),
      {"overlap", HasCsa, nullptr, SwapOverlap},
      Filled("compressor norm", HasCsa, ".attn.compressor.norm.weight", 1.0F),
      Faulty("visible at its last token", HasCsa, Fault::kLateVisibility),
      Configured("window's oldest token", Always, [](ModelConfig& c) { c.window -= 1; }),
      Faulty("comb's orientation", Always, Fault::kCombTransposed),
      {"hash table", hash, nullptr, ShiftHashTable},
      Filled("routing bias", bias, ".ffn.gate.bias", 0.0F),
      Configured("clamp", Always, [](ModelConfig& c) { c.swiglu_limit = 0; }),
      Faulty("clamp of the shared expert", Always, Fault::kSharedUnclamped),
      Faulty("head norm", Always, Fault::kNoHeadNorm),
      Filled("q norm", Always, ".q_norm.weight", 1.0F),
      Filled("kv norm", Always, ".kv_norm.weight", 1.0F),
      Filled("attention norm", Always, ".attn_norm.weight", 1.0F),
      Filled("expert norm", Always, ".ffn_norm.weight", 1.0F),
      {"final norm", Always, nullptr,
       [](const ModelConfig&, std::string_view tensor, TensorCopy& copy) {
         if (tensor == "norm.weight") copy.Fill(1.0F);
       }},
  };
}

EditedWeights::EditedWeights(const WeightSource& base, const Part& part)
    : base_(base), config_(base.config()) {
  if (part.configure) part.configure(config_);
  if (!part.edit) return;
  for (const std::string& name : base.Names()) {
    const Result<TensorView> tensor = base.Find(name);
    if (!tensor.ok()) continue;  // Find says so again when the weights are loaded.
    TensorCopy copy = {tensor->dtype, tensor->shape, {tensor->bytes.begin(), tensor->bytes.end()}};
    part.edit(config_, name, copy);
    const bool same = copy.dtype == tensor->dtype && std::ranges::equal(copy.bytes, tensor->bytes);
    if (!same) tensors_.emplace(name, std::move(copy));
  }
}

Result<TensorView> EditedWeights::Find(std::string_view name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) return base_.Find(name);
  return TensorView{found->second.dtype, found->second.shape, found->second.bytes};
}

std::unique_ptr<kernels::Backend> MakeFaultyBackend(Fault fault) {
  return std::make_unique<FaultyBackend>(kernels::MakeBackend("cpu", 2), fault);
}

}  // namespace baleen::oracle
