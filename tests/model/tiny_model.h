// Small models and token streams for the tests of model/.
#pragma once

#include <catch2/catch.hpp>
#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/backend.h"
#include "model/model.h"
#include "model/random_weights.h"

namespace baleen::testing {

/// Every kind of layer, the first two hash routed; a window that is much shorter than a block and a
/// top-k that runs out after 32 tokens.
inline ModelConfig MixedConfig() {
  ModelConfig c;
  c.vocab = 96;
  c.hidden = 64;
  c.layers = 5;
  c.heads = 4;
  c.head_dim = 32;
  c.rope_dim = 8;
  c.q_rank = 32;
  c.o_rank = 16;
  c.o_groups = 2;
  c.window = 16;
  c.index_heads = 2;
  c.index_dim = 16;
  c.index_topk = 8;
  c.expert_dim = 32;
  c.experts = 8;
  c.shared_experts = 1;
  c.experts_per_token = 2;
  c.hash_layers = 2;
  c.route_scale = 1.5F;
  c.swiglu_limit = 10;
  c.hc_mult = 4;
  c.sinkhorn_iterations = 20;
  c.hc_eps = 1e-6F;
  c.norm_eps = 1e-6F;
  c.yarn_factor = 4;
  c.yarn_original_positions = 128;
  c.positions_max = 8192;
  c.layer_kinds = {LayerKind::kWindow, LayerKind::kWindow, LayerKind::kCsa, LayerKind::kHca,
                   LayerKind::kCsa};
  return c;
}

/// Starts with HCA like Pro, the full window of 128, and dimensions that divide nothing.
inline ModelConfig OddConfig() {
  ModelConfig c = MixedConfig();
  c.vocab = 61;
  c.hidden = 57;
  c.layers = 4;
  c.heads = 3;
  c.head_dim = 83;  // 73 channels without rotation: two scales, the second for 9 channels
  c.rope_dim = 10;
  c.q_rank = 33;
  c.o_rank = 13;
  c.o_groups = 3;
  c.window = 128;
  c.index_heads = 3;
  c.index_dim = 64;
  c.index_topk = 5;
  c.expert_dim = 29;
  c.experts = 5;
  c.experts_per_token = 3;
  c.hash_layers = 1;
  c.hc_mult = 3;
  c.layer_kinds = {LayerKind::kHca, LayerKind::kHca, LayerKind::kCsa, LayerKind::kWindow};
  return c;
}

inline ModelConfig OneLayerConfig(LayerKind kind) {
  ModelConfig c = MixedConfig();
  c.layers = 1;
  c.hash_layers = 0;
  c.layer_kinds = {kind};
  return c;
}

inline std::vector<int32_t> RandomTokens(const ModelConfig& config, int64_t count,
                                         uint64_t seed = 7) {
  std::mt19937_64 random(seed);
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  for (int32_t& token : tokens) {
    token = static_cast<int32_t>(random() % static_cast<uint64_t>(config.vocab));
  }
  return tokens;
}

inline std::unique_ptr<Model> MakeModel(const ModelConfig& config, ModelOptions options,
                                        uint64_t seed = 1) {
  if (options.threads == 0) options.threads = 1;
  const RandomWeights weights(config, seed, RandomStorage::kFloat32);
  Result<std::unique_ptr<Model>> model = Model::FromWeights(weights, options, "test");
  INFO(model.status().ToString());
  REQUIRE(model.ok());
  return std::move(model).value();
}

inline std::unique_ptr<Model> MakeModel(const ModelConfig& config,
                                        NumericMode mode = NumericMode::kNative,
                                        std::string_view backend = kernels::BackendNames()[0]) {
  ModelOptions options;
  options.mode = mode;
  options.backend = std::string(backend);
  return MakeModel(config, options);
}

/// Forward that must succeed; returns the logits.
inline std::vector<float> Run(Model& model, KvCache& cache, std::span<const int32_t> tokens,
                              LogitsWanted wanted = LogitsWanted::kAll) {
  std::vector<float> logits;
  const Status status = model.Forward(cache, tokens, wanted, &logits);
  if (!status.ok()) FAIL(status.ToString());
  return logits;
}

/// Tokens [begin, end) of a stream.
inline std::span<const int32_t> Slice(const std::vector<int32_t>& tokens, int64_t begin,
                                      int64_t end) {
  return std::span(tokens).subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
}

/// All sealed blocks' bytes after one another.
inline std::string BlockBytes(const KvCache& cache) {
  std::string bytes;
  for (const auto& block : cache.blocks()) {
    const KvBlock::Bytes all = block->Gather();
    bytes.append(reinterpret_cast<const char*>(all.data()), all.size());
  }
  return bytes;
}

/// Bytes of `count` rows of logits from row `first`, for comparing bits.
inline std::string LogitBits(const Model& model, const std::vector<float>& logits, int64_t first,
                             int64_t count) {
  const int64_t vocab = model.config().vocab;
  return std::string(reinterpret_cast<const char*>(logits.data() + first * vocab),
                     static_cast<size_t>(count * vocab) * sizeof(float));
}

}  // namespace baleen::testing
