#include "model/weights.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "kernels/dequantise.h"
#include "kernels/dtype.h"
#include "kernels/integer_math.h"
#include "model/checkpoint/shape.h"
#include "model/checkpoint/stored_tensor.h"
#include "model/checkpoint/tensor_check.h"
#include "model/checkpoint/tensor_table.h"

namespace baleen {
namespace {

/// All values of a tensor in a plain type.
std::vector<float> Floats(const TensorView& view) {
  const kernels::MatrixSource row = {
      .dtype = view.dtype, .values = view.bytes.data(), .rows = 1, .cols = Elements(view.shape)};
  std::vector<float> values(static_cast<size_t>(row.cols));
  kernels::DequantiseRow(row, 0, values.data());
  return values;
}

/// Requires: a plain type or E8M0.
Status CheckFinite(const std::string& name, const TensorView& view) {
  std::ptrdiff_t at = 0;
  if (view.dtype == DType::kF8E8M0) {
    const auto bad = std::find(view.bytes.begin(), view.bytes.end(), std::byte{0xFF});
    if (bad == view.bytes.end()) return OkStatus();
    at = bad - view.bytes.begin();
  } else {
    const std::vector<float> values = Floats(view);
    const auto bad = std::find_if(values.begin(), values.end(),
                                  [](float value) { return !std::isfinite(value); });
    if (bad == values.end()) return OkStatus();
    at = bad - values.begin();
  }
  return DataLossError("tensor '" + name + "': element " + std::to_string(at) +
                       " is not a finite number; the file is damaged, fetch it again");
}

/// fp32 copy of a quantised or plain matrix; code * scale is exact for power-of-two scales.
std::vector<float> Dequantise(const kernels::MatrixSource& m) {
  std::vector<float> out(static_cast<size_t>(m.rows * m.cols));
  for (int64_t r = 0; r < m.rows; ++r) kernels::DequantiseRow(m, r, out.data() + r * m.cols);
  return out;
}

/// Rows [first, first + rows) of `m`. Requires: `first` on a border of scale blocks.
kernels::MatrixSource RowSlice(const kernels::MatrixSource& m, int64_t first, int64_t rows) {
  kernels::MatrixSource slice = m;
  slice.rows = rows;
  slice.values += first * m.cols * TraitsOf(m.dtype).bits / 8;
  if (m.scales != nullptr) {
    slice.scales += first / m.scale_block_rows * CeilDivide(m.cols, m.scale_block_cols) *
                    TraitsOf(m.scale_dtype).bits / 8;
  }
  return slice;
}

/// Packs tensors that CheckTensors has approved.
class Loader {
 public:
  Loader(const WeightSource& source, const kernels::Backend& backend,
         const std::vector<TensorSpec>& specs, int64_t bytes_total,
         const std::function<void(int64_t, int64_t)>& progress)
      : source_(source), backend_(backend), bytes_total_(bytes_total), progress_(progress) {
    for (const TensorSpec& spec : specs) specs_.emplace(spec.name, &spec);
  }

  Status Vector(const std::string& name, std::vector<float>* out) {
    ASSIGN_OR_RETURN(const TensorView view, Find(name));
    RETURN_IF_ERROR(CheckFinite(name, view));
    *out = Floats(view);
    return OkStatus();
  }

  Status PackedOf(const std::string& name, Matrix* out) {
    ASSIGN_OR_RETURN(const kernels::MatrixSource m, Source(name));
    return Pack(name, m, out);
  }

  /// One matrix per group of rows, since each multiplies another slice of the input.
  Status Groups(const std::string& name, int64_t groups, std::vector<Matrix>* out) {
    ASSIGN_OR_RETURN(const kernels::MatrixSource whole, Source(name));
    const int64_t rows = whole.rows / groups;
    kernels::MatrixSource m = whole;
    std::vector<float> plain;
    if (whole.scales != nullptr && rows % whole.scale_block_rows != 0) {
      // A scale block straddles groups: only toys do that, and they can afford fp32.
      plain = Dequantise(whole);
      m = {.dtype = DType::kF32,
           .values = std::as_bytes(std::span(plain)).data(),
           .rows = whole.rows,
           .cols = whole.cols};
    }
    out->resize(static_cast<size_t>(groups));
    for (int64_t g = 0; g < groups; ++g) {
      RETURN_IF_ERROR(Pack(name, RowSlice(m, g * rows, rows), &(*out)[static_cast<size_t>(g)]));
    }
    return OkStatus();
  }

  Status Embedding(const std::string& name, EmbeddingTable* out) {
    ASSIGN_OR_RETURN(const TensorView view, Find(name));
    *out = EmbeddingTable(view);
    return OkStatus();
  }

  Status HashTable(const std::string& name, std::vector<int32_t>* out) {
    ASSIGN_OR_RETURN(const TensorView view, Find(name));
    out->resize(static_cast<size_t>(Elements(view.shape)));
    for (size_t i = 0; i < out->size(); ++i) {
      (*out)[i] = static_cast<int32_t>(IdAt(view, static_cast<int64_t>(i)));
    }
    return OkStatus();
  }

 private:
  Result<TensorView> Find(const std::string& name) {
    ASSIGN_OR_RETURN(TensorView view, source_.Find(name));
    Count(view);
    return view;
  }

  void Count(const TensorView& view) {
    bytes_done_ += static_cast<int64_t>(view.bytes.size());
    if (progress_) progress_(bytes_done_, bytes_total_);
  }

  Result<kernels::MatrixSource> Source(const std::string& name) {
    ASSIGN_OR_RETURN(const TensorView view, Find(name));
    const TensorSpec& spec = *specs_.at(name);
    const std::optional<Storage> storage = StorageOf(spec.format, view.dtype);
    kernels::MatrixSource m;
    m.dtype = storage == Storage::kFp4 ? DType::kFp4 : view.dtype;
    m.values = view.bytes.data();
    m.rows = spec.shape[0];
    m.cols = spec.shape[1];
    if (storage == Storage::kPlain) {
      // The mHC projections are small and steer everything; large matrices aren't scanned.
      if (spec.format == TensorFormat::kF32) RETURN_IF_ERROR(CheckFinite(name, view));
      return m;
    }
    ASSIGN_OR_RETURN(const TensorView scale, Find(ScaleName(name)));
    RETURN_IF_ERROR(CheckFinite(ScaleName(name), scale));
    const ScaleBlock block = ScaleBlockOf(*storage);
    m.scale_dtype = scale.dtype;
    m.scales = scale.bytes.data();
    m.scale_block_rows = block.rows;
    m.scale_block_cols = block.cols;
    return m;
  }

  Status Pack(const std::string& name, const kernels::MatrixSource& m, Matrix* out) const {
    *out = backend_.Pack(m);
    if (*out != nullptr) return OkStatus();
    return InvalidArgumentError("tensor " + name + ": backend " + std::string(backend_.name()) +
                                " cannot hold type " + std::string(TraitsOf(m.dtype).name) +
                                "; use another backend");
  }

  const WeightSource& source_;
  const kernels::Backend& backend_;
  std::unordered_map<std::string_view, const TensorSpec*> specs_;
  int64_t bytes_done_ = 0;
  int64_t bytes_total_ = 0;
  const std::function<void(int64_t, int64_t)>& progress_;
};

Status LoadHc(Loader& loader, const std::string& prefix, HcWeights* out) {
  RETURN_IF_ERROR(loader.PackedOf(prefix + "_fn", &out->fn));
  RETURN_IF_ERROR(loader.Vector(prefix + "_base", &out->base));
  return loader.Vector(prefix + "_scale", &out->scale);
}

Status LoadCompressor(Loader& loader, const std::string& prefix, CompressorWeights* out) {
  RETURN_IF_ERROR(loader.PackedOf(prefix + "wkv.weight", &out->value));
  RETURN_IF_ERROR(loader.PackedOf(prefix + "wgate.weight", &out->gate));
  RETURN_IF_ERROR(loader.Vector(prefix + "ape", &out->ape));
  return loader.Vector(prefix + "norm.weight", &out->norm);
}

Status LoadAttention(Loader& loader, const ModelConfig& config, LayerKind kind,
                     const std::string& prefix, AttentionWeights* out) {
  RETURN_IF_ERROR(loader.Vector(prefix + "attn_sink", &out->sink));
  RETURN_IF_ERROR(loader.PackedOf(prefix + "wq_a.weight", &out->q_a));
  RETURN_IF_ERROR(loader.Vector(prefix + "q_norm.weight", &out->q_norm));
  RETURN_IF_ERROR(loader.PackedOf(prefix + "wq_b.weight", &out->q_b));
  RETURN_IF_ERROR(loader.PackedOf(prefix + "wkv.weight", &out->kv));
  RETURN_IF_ERROR(loader.Vector(prefix + "kv_norm.weight", &out->kv_norm));
  RETURN_IF_ERROR(loader.Groups(prefix + "wo_a.weight", config.o_groups, &out->o_a));
  RETURN_IF_ERROR(loader.PackedOf(prefix + "wo_b.weight", &out->o_b));
  if (kind == LayerKind::kWindow) return OkStatus();
  RETURN_IF_ERROR(LoadCompressor(loader, prefix + "compressor.", &out->compressor));
  if (kind == LayerKind::kHca) return OkStatus();
  RETURN_IF_ERROR(loader.PackedOf(prefix + "indexer.wq_b.weight", &out->indexer.q_b));
  RETURN_IF_ERROR(loader.PackedOf(prefix + "indexer.weights_proj.weight", &out->indexer.proj));
  return LoadCompressor(loader, prefix + "indexer.compressor.", &out->indexer.compressor);
}

Status LoadExpert(Loader& loader, const std::string& prefix, ExpertWeights* out) {
  RETURN_IF_ERROR(loader.PackedOf(prefix + "w1.weight", &out->gate));
  RETURN_IF_ERROR(loader.PackedOf(prefix + "w3.weight", &out->up));
  return loader.PackedOf(prefix + "w2.weight", &out->down);
}

Status LoadMoe(Loader& loader, const ModelConfig& config, bool hashed, const std::string& prefix,
               MoeWeights* out) {
  RETURN_IF_ERROR(loader.PackedOf(prefix + "gate.weight", &out->router));
  if (hashed) {
    RETURN_IF_ERROR(loader.HashTable(prefix + "gate.tid2eid", &out->hash));
  } else {
    RETURN_IF_ERROR(loader.Vector(prefix + "gate.bias", &out->bias));
  }
  out->experts.resize(static_cast<size_t>(config.experts));
  for (size_t e = 0; e < out->experts.size(); ++e) {
    RETURN_IF_ERROR(
        LoadExpert(loader, prefix + "experts." + std::to_string(e) + ".", &out->experts[e]));
  }
  return LoadExpert(loader, prefix + "shared_experts.", &out->shared);
}

Status LoadLayer(Loader& loader, const ModelConfig& config, int64_t l, LayerWeights* out) {
  const std::string prefix = "layers." + std::to_string(l) + ".";
  RETURN_IF_ERROR(LoadHc(loader, prefix + "hc_attn", &out->attn_hc));
  RETURN_IF_ERROR(loader.Vector(prefix + "attn_norm.weight", &out->attn_norm));
  RETURN_IF_ERROR(LoadAttention(loader, config, config.layer_kinds[static_cast<size_t>(l)],
                                prefix + "attn.", &out->attn));
  RETURN_IF_ERROR(LoadHc(loader, prefix + "hc_ffn", &out->ffn_hc));
  RETURN_IF_ERROR(loader.Vector(prefix + "ffn_norm.weight", &out->ffn_norm));
  return LoadMoe(loader, config, l < config.hash_layers, prefix + "ffn.", &out->ffn);
}

}  // namespace

EmbeddingTable::EmbeddingTable(const TensorView& tensor)
    : dtype_(tensor.dtype),
      hidden_(tensor.shape[1]),
      bytes_(tensor.bytes.begin(), tensor.bytes.end()) {}

void EmbeddingTable::Row(int64_t id, float* out) const {
  kernels::DequantiseRow(
      {.dtype = dtype_, .values = bytes_.data(), .rows = id + 1, .cols = hidden_}, id, out);
}

Result<ModelWeights> LoadWeights(const WeightSource& source, const kernels::Backend& backend,
                                 const std::function<void(int64_t, int64_t)>& progress) {
  const ModelConfig& config = source.config();
  const std::vector<TensorSpec> specs = BackboneTensors(config);
  ASSIGN_OR_RETURN(const int64_t bytes_total, CheckTensors(source));
  Loader loader(source, backend, specs, bytes_total, progress);
  ModelWeights weights;
  RETURN_IF_ERROR(loader.Embedding("embed.weight", &weights.embedding));
  weights.layers.resize(static_cast<size_t>(config.layers));
  for (int64_t l = 0; l < config.layers; ++l) {
    RETURN_IF_ERROR(LoadLayer(loader, config, l, &weights.layers[static_cast<size_t>(l)]));
  }
  RETURN_IF_ERROR(LoadHc(loader, "hc_head", &weights.head_hc));
  RETURN_IF_ERROR(loader.Vector("norm.weight", &weights.norm));
  RETURN_IF_ERROR(loader.PackedOf("head.weight", &weights.head));
  return weights;
}

}  // namespace baleen
