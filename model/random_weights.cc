#include "model/random_weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "model/checkpoint/encode_tensor.h"
#include "model/checkpoint/shape.h"
#include "model/checkpoint/tensor_table.h"

namespace baleen {
namespace {

// SplitMix64, one stream per tensor, so that a tensor's values depend on seed and name only.
class TensorRandom {
 public:
  TensorRandom(uint64_t seed, std::string_view name) : state_(seed * 0x9E3779B97F4A7C15ULL) {
    uint64_t hash = 0xCBF29CE484222325ULL;  // FNV-1a
    for (char letter : name) {
      hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001B3ULL;
    }
    state_ ^= hash;
  }

  uint64_t Next() {
    state_ += 0x9E3779B97F4A7C15ULL;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }

  // Mean 0, deviation 1, at most 3.5 in magnitude: the sum of four uniform 16-bit integers. No
  // logarithm and no cosine, whose last bits differ between C libraries.
  float Bell() {
    const uint64_t word = Next();
    const int64_t sum =
        static_cast<int64_t>(word & 0xFFFF) + static_cast<int64_t>(word >> 16 & 0xFFFF) +
        static_cast<int64_t>(word >> 32 & 0xFFFF) + static_cast<int64_t>(word >> 48);
    return static_cast<float>(sum - 2 * 65535) * (1.0F / 37837.0F);  // 37837 = sqrt(4 * 2^32 / 12)
  }

  uint64_t Below(uint64_t bound) { return Next() % bound; }

 private:
  uint64_t state_;
};

struct Magnitude {
  std::string_view suffix;
  float mean;
  float deviation;
  bool per_root_column;  // Divide the deviation by sqrt(columns).
};

// First match counts. A matrix with deviation 1/sqrt(columns) keeps the size of its input.
constexpr Magnitude kMagnitudes[] = {
    {"embed.weight", 0, 1, false},
    {"norm.weight", 1, 0.2F, false},  // Also attn_norm, kv_norm, enorm, ...
    {"attn_sink", 0, 1, false},
    {"ape", 0, 0.5F, false},
    {"_base", 0, 0.5F, false},
    {"_scale", 0.6F, 0.15F, false},
    {"gate.bias", 0, 0.1F, false},
    {"ffn.gate.weight", 0, 1.5F, true},
    // Averaging over many keys shrinks the attention output; without this the streams would carry
    // little but the current token.
    {"wo_b.weight", 0, 4, true},
    // The input is a normalised vector, so logits have a deviation of about 2.
    {"head.weight", 0, 2, true},
    {"", 0, 1, true},
};

std::vector<float> Values(const TensorSpec& spec, TensorRandom& random) {
  const Magnitude* magnitude = std::begin(kMagnitudes);
  while (!spec.name.ends_with(magnitude->suffix)) ++magnitude;
  float deviation = magnitude->deviation;
  if (magnitude->per_root_column) {
    deviation /= std::sqrt(static_cast<float>(spec.shape.back()));
  }
  std::vector<float> values(static_cast<size_t>(Elements(spec.shape)));
  for (float& value : values) value = magnitude->mean + deviation * random.Bell();
  return values;
}

template <typename T>
std::vector<std::byte> BytesOf(const std::vector<T>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(T));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

std::vector<std::byte> HashTableBytes(const TensorSpec& spec, int64_t experts,
                                      TensorRandom& random) {
  const int64_t tokens = spec.shape[0];
  const int64_t picks = spec.shape[1];
  std::vector<int64_t> ids(static_cast<size_t>(experts));
  for (int64_t e = 0; e < experts; ++e) ids[static_cast<size_t>(e)] = e;
  std::vector<int64_t> table;
  table.reserve(static_cast<size_t>(tokens * picks));
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t i = 0; i < picks; ++i) {  // The first `picks` steps of a shuffle: distinct ids.
      const int64_t j = i + static_cast<int64_t>(random.Below(static_cast<uint64_t>(experts - i)));
      std::swap(ids[static_cast<size_t>(i)], ids[static_cast<size_t>(j)]);
      table.push_back(ids[static_cast<size_t>(i)]);
    }
  }
  return BytesOf(table);
}

}  // namespace

RandomWeights::RandomWeights(const ModelConfig& config, uint64_t seed, RandomStorage storage)
    : config_(config) {
  std::vector<TensorSpec> specs = BackboneTensors(config);
  for (TensorSpec& spec : MtpTensors(config)) specs.push_back(std::move(spec));
  for (const TensorSpec& spec : specs) {
    TensorRandom random(seed, spec.name);
    if (spec.format == TensorFormat::kHashTable) {
      Add(spec.name, {DType::kI64, spec.shape, HashTableBytes(spec, config.experts, random)});
      continue;
    }
    const std::vector<float> values = Values(spec, random);
    if (storage == RandomStorage::kFloat32) {
      Add(spec.name, EncodeF32(spec, values));
      continue;
    }
    EncodedWeight weight = EncodeWeight(spec, values, ReleaseStyleOf(config));
    Add(spec.name, std::move(weight.tensor));
    if (weight.scale.has_value()) Add(ScaleName(spec.name), std::move(*weight.scale));
  }
}

void RandomWeights::Add(const std::string& name, EncodedTensor tensor) {
  tensors_[name] = std::move(tensor);
}

std::vector<std::string> RandomWeights::Names() const {
  std::vector<std::string> names;
  names.reserve(tensors_.size());
  for (const auto& [name, tensor] : tensors_) names.push_back(name);
  return names;
}

Result<TensorView> RandomWeights::Find(std::string_view name) const {
  auto it = tensors_.find(name);
  if (it == tensors_.end()) {
    return NotFoundError("seeded weights have no tensor '" + std::string(name) + "'");
  }
  return TensorView{it->second.dtype, it->second.shape, it->second.bytes};
}

ModelConfig TinyConfig(int64_t vocab) {
  ModelConfig config;
  config.vocab = vocab;
  config.hidden = 128;
  config.layers = 6;
  config.heads = 4;
  config.head_dim = 96;  // 64 channels in one FP8 block, then 32 rotary ones.
  config.rope_dim = 32;
  config.q_rank = 64;
  config.o_rank = 32;
  config.o_groups = 2;
  config.window = 128;
  config.index_heads = 4;
  config.index_dim = 64;  // Two FP4 blocks; half of it rotary, as in the released models.
  config.index_topk = 64;
  config.expert_dim = 64;
  config.experts = 8;
  config.shared_experts = 1;
  config.experts_per_token = 2;
  config.hash_layers = 2;
  config.route_scale = 1.5F;
  config.swiglu_limit = 10;
  config.hc_mult = 4;
  config.sinkhorn_iterations = 20;
  config.hc_eps = 1e-6F;
  config.norm_eps = 1e-6F;
  config.yarn_factor = 16;
  config.yarn_original_positions = 65536;
  config.positions_max = 1048576;
  config.layer_kinds = {LayerKind::kWindow, LayerKind::kWindow, LayerKind::kCsa,
                        LayerKind::kHca,    LayerKind::kCsa,    LayerKind::kHca};
  config.dialect = ChatDialect::kPreview;
  return config;
}

}  // namespace baleen
