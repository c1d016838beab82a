// A run that takes a second: every kind of layer, two stages, the second one quantised.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "model/random_weights.h"

namespace baleen::training {

inline ModelConfig SmallModel() {
  ModelConfig config = TinyConfig(96);
  config.hidden = 32;
  config.layers = 3;
  config.layer_kinds = {LayerKind::kWindow, LayerKind::kCsa, LayerKind::kHca};
  config.heads = 2;
  config.head_dim = 80;
  config.rope_dim = 16;
  config.q_rank = 16;
  config.o_rank = 16;
  config.window = 32;
  config.index_heads = 2;
  config.index_dim = 32;
  config.index_topk = 4;
  config.expert_dim = 32;
  config.experts = 4;
  config.hash_layers = 1;
  config.mtp_layers = 1;
  return config;
}

/// 6 + 6 steps of 4 micro-batches; a checkpoint every 2 steps.
inline nlohmann::json SmallRun() {
  const nlohmann::json source = {{"kind", "synthetic"}, {"token_low", 0}, {"token_high", 40}};
  return {{"model", nlohmann::json::parse(SmallModel().ToJson())},
          {"seed", 11},
          {"schedule", {{"warmup_steps", 2}, {"decay_share", 0.5}}},
          {"checkpoint", {{"every_steps", 2}, {"keep", 3}}},
          {"export", {"official", "float32"}},
          {"stages",
           {{{"name", "copy"},
             {"steps", 6},
             {"length", 48},
             {"micro_batches", 4},
             {"window", 8},
             {"sources", {source}}},
            {{"name", "quantised"},
             {"steps", 6},
             {"length", 160},
             {"micro_batches", 2},
             {"indexer", "sparse"},
             {"quantise", true},
             {"sources", {source}}}}}};
}

}  // namespace baleen::training
