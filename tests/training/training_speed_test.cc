// How fast a training step is; hidden, prints. `tests_training "[.speed]"`. The same config in
// transformers: tests/oracle/train_speed.py.
#include <catch2/catch.hpp>
#include <cstdio>
#include <ctime>

#include "tests/training/double_model.h"

namespace baleen::training {
namespace {

/// A small model for tool calls: six layers, 128 wide, 8 experts.
ModelConfig SpeedConfig() {
  ModelConfig c = TinyConfig(2048);
  c.hidden = 128;
  c.layers = 6;
  c.layer_kinds = {LayerKind::kWindow, LayerKind::kCsa, LayerKind::kCsa,
                   LayerKind::kWindow, LayerKind::kCsa, LayerKind::kCsa};
  c.heads = 4;
  c.head_dim = 160;
  c.rope_dim = 32;
  c.q_rank = 96;
  c.o_rank = 96;
  c.o_groups = 2;
  c.window = 64;
  c.index_heads = 4;
  c.index_dim = 64;
  c.index_topk = 512;
  c.expert_dim = 192;
  c.experts = 8;
  c.experts_per_token = 2;
  c.shared_experts = 1;
  c.hash_layers = 2;
  c.sinkhorn_iterations = 20;
  c.mtp_layers = 0;
  return c;
}

TEST_CASE("TrainingStepSpeed", "[.speed]") {
  const ModelConfig config = SpeedConfig();
  const ParameterSet set = RandomSet(config, 1);
  const TrainBatch batch = PackedBatch({{512}, {512}, {512}, {512}}, 512, config.vocab, 3);
  Result<std::unique_ptr<Graph>> graph = Graph::Make(config);
  REQUIRE(graph.ok());
  Gradients gradients(set);
  double best = 0;
  for (int step = 0; step < 6; ++step) {
    LossReport report;
    const std::clock_t start = std::clock();  // Of the process: neighbours don't count.
    REQUIRE((*graph)->ForwardBackward(set, batch, {}, {}, &gradients, &report).ok());
    const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    best = std::max(best, 2048 / seconds);
  }
  std::printf("%lld parameters, %.1f MFLOP per token: best step %.0f tokens per CPU second\n",
              static_cast<long long>(set.element_count()), TrainingFlopsPerToken(config, 512) / 1e6,
              best);
}

}  // namespace
}  // namespace baleen::training
