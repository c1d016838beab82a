// What a training step costs, by arithmetic: memory of the activations, operations per token.
#include <algorithm>

#include "model/checkpoint/tensor_table.h"
#include "model/training/graph.h"

namespace baleen::training {
namespace {

/// Numbers kept per token by one layer.
double LayerNumbers(const ModelConfig& c, LayerKind kind) {
  const auto hidden = static_cast<double>(c.hidden);
  const auto mult = static_cast<double>(c.hc_mult);
  const auto heads_dim = static_cast<double>(c.heads * c.head_dim);
  const auto topk = static_cast<double>(c.experts_per_token);
  const auto width = static_cast<double>(c.expert_dim);
  const double site = (2 + mult) * mult + mult * (2 + mult) + 3 * hidden + mult * hidden + 2;
  double attention = 2 * static_cast<double>(c.q_rank + c.head_dim + c.heads) + 2 * heads_dim +
                     static_cast<double>(c.o_groups * c.o_rank) + 2;
  if (kind != LayerKind::kWindow) {
    const double halves = kind == LayerKind::kCsa ? 2 : 1;
    const double ratio = kind == LayerKind::kCsa ? kCsaRatio : kHcaRatio;
    attention += (2 * halves + 2 / ratio) * static_cast<double>(c.head_dim);
  }
  const double moe = 2 * static_cast<double>(c.experts) + topk * (2 + hidden + 3 * width) +
                     3 * width * static_cast<double>(c.shared_experts);
  return 2 * site + attention + moe;
}

/// Numbers that the backward pass of one layer needs at a time.
double GradientNumbers(const ModelConfig& c) {
  const auto hidden = static_cast<double>(c.hidden);
  const auto mult = static_cast<double>(c.hc_mult);
  const auto heads_dim = static_cast<double>(c.heads * c.head_dim);
  const double compressor = 4 * static_cast<double>(c.head_dim);
  const double attention = 2 * heads_dim + static_cast<double>(c.o_groups * c.o_rank + c.q_rank) +
                           static_cast<double>(c.head_dim) + compressor;
  const double moe =
      static_cast<double>(c.experts_per_token) * (hidden + 2 * static_cast<double>(c.expert_dim)) +
      2 * static_cast<double>(c.expert_dim * c.shared_experts);
  return (mult + 3) * hidden + std::max(attention, moe);
}

}  // namespace

int64_t ActivationBytes(const ModelConfig& config, int64_t tokens) {
  const auto hidden = static_cast<double>(config.hidden);
  const auto mult = static_cast<double>(config.hc_mult);
  double numbers = GradientNumbers(config) + mult * hidden;
  for (const LayerKind kind : config.layer_kinds) numbers += LayerNumbers(config, kind);
  if (config.mtp_layers > 0) {
    numbers += LayerNumbers(config, LayerKind::kWindow) + (3 + 3 * mult) * hidden;
  }
  return static_cast<int64_t>(numbers * static_cast<double>(tokens) * sizeof(float));
}

double TrainingFlopsPerToken(const ModelConfig& config, int64_t context) {
  const int64_t layers = config.layers + config.mtp_layers;
  const int64_t expert = 3 * config.expert_dim * config.hidden;
  int64_t active = ActiveParameterCount(config);
  if (config.mtp_layers > 0) {
    active += ParameterCount(MtpTensors(config)) + config.vocab * config.hidden -
              (config.experts - config.experts_per_token) * expert;
  }
  double keys = 0;  // Of all layers, for a token in the middle of its context.
  for (int64_t l = 0; l < layers; ++l) {
    const auto middle = static_cast<double>(context) / 2;
    keys += std::min(middle, static_cast<double>(config.window));
    if (l < config.layers && config.Ratio(l) > 0) {
      keys += middle / static_cast<double>(config.Ratio(l));
    }
  }
  // A weight takes part in three products; a key in two forward and five backward.
  return 6 * static_cast<double>(active) +
         14 * keys * static_cast<double>(config.heads * config.head_dim);
}

}  // namespace baleen::training
