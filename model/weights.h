// ModelWeights: every tensor of a DeepSeek-V4, packed for one backend.
//
// Names and shapes come from the inventory in model/checkpoint/tensor_table.h. Knows no file format
// (that is the WeightSource's) and no arithmetic. MTP tensors are checked where present and not
// kept: nothing runs them, and they cost gigabytes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "model/config.h"
#include "model/weight_source.h"
#include "tools_sdk/status.h"

namespace baleen {

using Matrix = std::unique_ptr<kernels::PackedMatrix>;

struct HcWeights {
  Matrix fn;                 ///< [(2+mult)*mult, mult*hidden]; head mix: [mult, mult*hidden].
  std::vector<float> base;   ///< [fn rows]
  std::vector<float> scale;  ///< [3]; head mix: [1].
};

struct CompressorWeights {
  Matrix value;             ///< wkv [width, hidden]
  Matrix gate;              ///< wgate [width, hidden]
  std::vector<float> ape;   ///< [ratio, width]
  std::vector<float> norm;  ///< [dim]
};

struct IndexerWeights {
  Matrix q_b;   ///< [index_heads*index_dim, q_rank]
  Matrix proj;  ///< weights_proj [index_heads, hidden]
  CompressorWeights compressor;
};

struct AttentionWeights {
  std::vector<float> sink;  ///< [heads]
  Matrix q_a;               ///< [q_rank, hidden]
  std::vector<float> q_norm;
  Matrix q_b;  ///< [heads*head_dim, q_rank]
  Matrix kv;   ///< [head_dim, hidden]
  std::vector<float> kv_norm;
  std::vector<Matrix> o_a;       ///< [o_groups] of [o_rank, heads/o_groups*head_dim]
  Matrix o_b;                    ///< [hidden, o_groups*o_rank]
  CompressorWeights compressor;  ///< CSA, HCA.
  IndexerWeights indexer;        ///< CSA.
};

struct ExpertWeights {
  Matrix gate;  ///< w1 [expert_dim, hidden]
  Matrix up;    ///< w3 [expert_dim, hidden]
  Matrix down;  ///< w2 [hidden, expert_dim]
};

struct MoeWeights {
  Matrix router;              ///< [experts, hidden]
  std::vector<float> bias;    ///< [experts]; empty in hash layers.
  std::vector<int32_t> hash;  ///< [vocab, experts_per_token]; empty in score layers.
  std::vector<ExpertWeights> experts;
  ExpertWeights shared;  ///< Width expert_dim*shared_experts.
};

struct LayerWeights {
  HcWeights attn_hc;
  std::vector<float> attn_norm;  ///< [hidden]
  AttentionWeights attn;
  HcWeights ffn_hc;
  std::vector<float> ffn_norm;  ///< [hidden]
  MoeWeights ffn;
};

/// The embedding table in its stored type: it is read by row, never multiplied.
class EmbeddingTable {
 public:
  EmbeddingTable() = default;
  EmbeddingTable(const TensorView& tensor);  // NOLINT(google-explicit-constructor)
  /// Requires: id in [0, rows). Shapes: out [hidden].
  void Row(int64_t id, float* out) const;

 private:
  DType dtype_ = DType::kF32;
  int64_t hidden_ = 0;
  std::vector<std::byte> bytes_;  ///< [vocab, hidden]
};

struct ModelWeights {
  EmbeddingTable embedding;
  std::vector<LayerWeights> layers;
  HcWeights head_hc;
  std::vector<float> norm;  ///< [hidden]
  Matrix head;              ///< [vocab, hidden]
};

/// Checks every tensor first, then packs.
/// Errors: those of CheckTensors (model/checkpoint/tensor_check.h); DATA_LOSS naming a tensor with
/// values that no model has.
Result<ModelWeights> LoadWeights(const WeightSource& source, const kernels::Backend& backend,
                                 const std::function<void(int64_t, int64_t)>& progress);

}  // namespace baleen
