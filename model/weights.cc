#include "model/weights.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "kernels/dtype.h"
#include "model/checkpoint/tensor_table.h"

namespace baleen {
namespace {

constexpr size_t kProblemsShown = 10;

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

float DecodeF16(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000U) << 16;
  const uint32_t exponent = bits >> 10 & 0x1FU;
  const uint32_t mantissa = bits & 0x3FFU;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1.0p-24F;
    return sign != 0 ? -magnitude : magnitude;
  }
  const uint32_t wide = exponent == 31 ? 255U : exponent + 112U;
  return std::bit_cast<float>(sign | wide << 23 | mantissa << 13);
}

bool IsPlainFloat(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kBf16 || dtype == DType::kF16;
}

/// Requires: a plain float type. `bytes` need not be aligned.
float ReadFloat(DType dtype, const std::byte* bytes, int64_t index) {
  if (dtype == DType::kF32) {
    float value = 0;
    std::memcpy(&value, bytes + index * 4, sizeof(value));
    return value;
  }
  uint16_t bits = 0;
  std::memcpy(&bits, bytes + index * 2, sizeof(bits));
  return dtype == DType::kBf16 ? DecodeBf16(bits) : DecodeF16(bits);
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  }
  return text + "]";
}

int64_t Elements(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (int64_t dim : shape) count *= dim;
  return count;
}

/// Two E2M1 codes per I8 element.
bool IsFp4(const TensorSpec& spec, const TensorView& view) {
  return spec.format == TensorFormat::kExpert &&
         (view.dtype == DType::kI8 || view.dtype == DType::kU8 || view.dtype == DType::kFp4);
}

bool IsFp8(const TensorSpec& spec, const TensorView& view) {
  return (spec.format == TensorFormat::kExpert || spec.format == TensorFormat::kFp8) &&
         view.dtype == DType::kF8E4M3;
}

bool DTypeFits(const TensorSpec& spec, const TensorView& view) {
  if (spec.format == TensorFormat::kHashTable) {
    return view.dtype == DType::kI64 || view.dtype == DType::kI32;
  }
  return IsPlainFloat(view.dtype) || IsFp8(spec, view) || IsFp4(spec, view);
}

std::vector<int64_t> StoredShape(const TensorSpec& spec, const TensorView& view) {
  std::vector<int64_t> shape = spec.shape;
  if (IsFp4(spec, view) && view.dtype != DType::kFp4) shape.back() = CeilDiv(shape.back(), 2);
  return shape;
}

struct ScaleBlock {
  int64_t rows = 0;
  int64_t cols = 0;
};
ScaleBlock ScaleBlockOf(const TensorSpec& spec, const TensorView& view) {
  return IsFp4(spec, view) ? ScaleBlock{1, kFp4BlockSize}
                           : ScaleBlock{kFp8BlockSize, kFp8BlockSize};
}

/// What is wrong with one stored tensor; empty: nothing.
std::string ViewProblem(const TensorView& view, const std::vector<int64_t>& shape) {
  if (view.shape != shape) {
    return "expected shape " + ShapeText(shape) + ", found " + ShapeText(view.shape);
  }
  const int64_t bytes = CeilDiv(Elements(shape) * TraitsOf(view.dtype).bits, 8);
  if (static_cast<int64_t>(view.bytes.size()) != bytes) {
    return "expected " + std::to_string(bytes) + " bytes, found " +
           std::to_string(view.bytes.size());
  }
  return {};
}

/// Collects what is missing or wrong over all tensors, so that one failed load tells everything.
class TensorCheck {
 public:
  explicit TensorCheck(const WeightSource& source) : source_(source) {}

  /// Absent tensors are problems only if `required`.
  void Check(const TensorSpec& spec, bool required) {
    const Result<TensorView> view = source_.Find(spec.name);
    if (!view.ok()) {
      const bool absent = view.status().code() == StatusCode::kNotFound;
      if (absent && !required) return;
      Add(absent ? "missing " + spec.name : spec.name + ": " + view.status().message(), absent);
      return;
    }
    if (!DTypeFits(spec, *view)) {
      Add(spec.name + ": type " + std::string(TraitsOf(view->dtype).name) + " does not fit", false);
      return;
    }
    const std::string problem = ViewProblem(*view, StoredShape(spec, *view));
    if (!problem.empty()) Add(spec.name + ": " + problem, false);
    bytes_ += static_cast<int64_t>(view->bytes.size());
    if (IsFp8(spec, *view) || IsFp4(spec, *view)) CheckScale(spec, *view);
  }

  Status Finish() const {
    if (count_ == 0) return OkStatus();
    std::string text = std::to_string(count_) + " tensors do not fit the configuration: ";
    for (size_t i = 0; i < shown_.size(); ++i) text += (i == 0 ? "" : "; ") + shown_[i];
    if (count_ > shown_.size()) text += "; ...";
    text += ". Check that config.json belongs to these weights and that no shard is missing";
    return all_absent_ ? NotFoundError(text) : InvalidArgumentError(text);
  }

  int64_t bytes() const { return bytes_; }

 private:
  void CheckScale(const TensorSpec& spec, const TensorView& weight) {
    const std::string name = ScaleName(spec.name);
    const Result<TensorView> scale = source_.Find(name);
    if (!scale.ok()) {
      const bool absent = scale.status().code() == StatusCode::kNotFound;
      Add(absent ? "missing " + name : name + ": " + scale.status().message(), absent);
      return;
    }
    if (scale->dtype != DType::kF8E8M0 && scale->dtype != DType::kF32) {
      Add(name + ": type " + std::string(TraitsOf(scale->dtype).name) +
              " does not fit; expected F8_E8M0 or F32",
          false);
      return;
    }
    const ScaleBlock block = ScaleBlockOf(spec, weight);
    const std::string problem = ViewProblem(
        *scale, {CeilDiv(spec.shape[0], block.rows), CeilDiv(spec.shape[1], block.cols)});
    if (!problem.empty()) Add(name + ": " + problem, false);
    bytes_ += static_cast<int64_t>(scale->bytes.size());
  }

  void Add(std::string problem, bool absent) {
    ++count_;
    all_absent_ = all_absent_ && absent;
    if (shown_.size() < kProblemsShown) shown_.push_back(std::move(problem));
  }

  const WeightSource& source_;
  size_t count_ = 0;
  bool all_absent_ = true;
  std::vector<std::string> shown_;
  int64_t bytes_ = 0;
};

Status CheckFinite(const std::string& name, const TensorView& view) {
  const auto count = static_cast<int64_t>(view.bytes.size()) * 8 / TraitsOf(view.dtype).bits;
  for (int64_t i = 0; i < count; ++i) {
    const bool ok = view.dtype == DType::kF8E8M0
                        ? view.bytes[static_cast<size_t>(i)] != std::byte{0xFF}
                        : std::isfinite(ReadFloat(view.dtype, view.bytes.data(), i));
    if (ok) continue;
    return DataLossError("tensor " + name + ": element " + std::to_string(i) +
                         " is not a finite number; the file is damaged, fetch it again");
  }
  return OkStatus();
}

/// fp32 copy of a quantised or plain matrix; code * scale is exact for power-of-two scales.
std::vector<float> Dequantise(const kernels::MatrixSource& m) {
  std::vector<float> out(static_cast<size_t>(m.rows * m.cols));
  const int64_t scale_cols = m.scales == nullptr ? 0 : CeilDiv(m.cols, m.scale_block_cols);
  for (int64_t r = 0; r < m.rows; ++r) {
    for (int64_t c = 0; c < m.cols; ++c) {
      const int64_t i = r * m.cols + c;
      float value = m.dtype == DType::kF8E4M3 ? DecodeE4M3(static_cast<uint8_t>(m.values[i]))
                                              : ReadFloat(m.dtype, m.values, i);
      if (m.scales != nullptr) {
        const int64_t s = r / m.scale_block_rows * scale_cols + c / m.scale_block_cols;
        value *= m.scale_dtype == DType::kF32 ? ReadFloat(DType::kF32, m.scales, s)
                                              : DecodeE8M0(static_cast<uint8_t>(m.scales[s]));
      }
      out[static_cast<size_t>(i)] = value;
    }
  }
  return out;
}

/// Rows [first, first + rows) of `m`. Requires: `first` on a border of scale blocks.
kernels::MatrixSource RowSlice(const kernels::MatrixSource& m, int64_t first, int64_t rows) {
  kernels::MatrixSource slice = m;
  slice.rows = rows;
  slice.values += first * m.cols * TraitsOf(m.dtype).bits / 8;
  if (m.scales != nullptr) {
    slice.scales += first / m.scale_block_rows * CeilDiv(m.cols, m.scale_block_cols) *
                    TraitsOf(m.scale_dtype).bits / 8;
  }
  return slice;
}

/// Packs tensors that TensorCheck has approved.
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
    out->resize(static_cast<size_t>(Elements(view.shape)));
    for (size_t i = 0; i < out->size(); ++i) {
      (*out)[i] = ReadFloat(view.dtype, view.bytes.data(), static_cast<int64_t>(i));
    }
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

  Status HashTable(const std::string& name, int64_t experts, std::vector<int32_t>* out);

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
    kernels::MatrixSource m;
    m.dtype = IsFp4(spec, view) ? DType::kFp4 : view.dtype;
    m.values = view.bytes.data();
    m.rows = spec.shape[0];
    m.cols = spec.shape[1];
    if (IsPlainFloat(view.dtype)) {
      // The mHC projections are small and steer everything; large matrices aren't scanned.
      if (spec.format == TensorFormat::kF32) RETURN_IF_ERROR(CheckFinite(name, view));
      return m;
    }
    ASSIGN_OR_RETURN(const TensorView scale, Find(ScaleName(name)));
    RETURN_IF_ERROR(CheckFinite(ScaleName(name), scale));
    const ScaleBlock block = ScaleBlockOf(spec, view);
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

Status Loader::HashTable(const std::string& name, int64_t experts, std::vector<int32_t>* out) {
  ASSIGN_OR_RETURN(const TensorView view, Find(name));
  const size_t count = static_cast<size_t>(Elements(view.shape));
  const auto per_row = static_cast<size_t>(view.shape[1]);
  out->resize(count);
  for (size_t i = 0; i < count; ++i) {
    int64_t id = 0;
    if (view.dtype == DType::kI64) {
      std::memcpy(&id, view.bytes.data() + i * sizeof(int64_t), sizeof(int64_t));
    } else {
      int32_t narrow = 0;
      std::memcpy(&narrow, view.bytes.data() + i * sizeof(int32_t), sizeof(int32_t));
      id = narrow;
    }
    const size_t row = i / per_row * per_row;
    const auto begin = out->begin() + static_cast<std::ptrdiff_t>(row);
    const auto end = out->begin() + static_cast<std::ptrdiff_t>(i);
    if (id < 0 || id >= experts || std::find(begin, end, static_cast<int32_t>(id)) != end) {
      return DataLossError("tensor " + name + ": token " + std::to_string(i / per_row) +
                           " names expert " + std::to_string(id) +
                           "; expected distinct ids below " + std::to_string(experts));
    }
    (*out)[i] = static_cast<int32_t>(id);
  }
  return OkStatus();
}

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
    RETURN_IF_ERROR(loader.HashTable(prefix + "gate.tid2eid", config.experts, &out->hash));
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
  for (int64_t i = 0; i < hidden_; ++i) {
    out[i] = ReadFloat(dtype_, bytes_.data(), id * hidden_ + i);
  }
}

Result<ModelWeights> LoadWeights(const WeightSource& source, const kernels::Backend& backend,
                                 const std::function<void(int64_t, int64_t)>& progress) {
  const ModelConfig& config = source.config();
  const std::vector<TensorSpec> specs = BackboneTensors(config);
  TensorCheck check(source);
  for (const TensorSpec& spec : specs) check.Check(spec, /*required=*/true);
  const int64_t bytes_total = check.bytes();
  for (const TensorSpec& spec : MtpTensors(config)) check.Check(spec, /*required=*/false);
  RETURN_IF_ERROR(check.Finish());

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
