// The feed-forward sublayer: routing, routed experts in ascending id, the shared expert last.
//
// Tokens are gathered per expert, so that its weights are read once per piece. Each token still
// adds its experts' outputs in ascending id, whatever its neighbours chose.
#include <algorithm>

#include "model/forward.h"

namespace baleen {

void ForwardPass::RouteTokens(const MoeWeights& w, const Piece& piece) {
  const int64_t tokens = piece.count();
  const int64_t topk = config_.experts_per_token;
  Linear(*w.router, a_.collapsed.data(), a_.router_logits.data(), tokens);
  const bool hashed = !w.hash.empty();
  if (hashed) {
    for (int64_t t = 0; t < tokens; ++t) {
      std::copy_n(w.hash.data() + piece.tokens[static_cast<size_t>(t)] * topk, topk,
                  a_.forced_ids.data() + t * topk);
    }
  }
  backend_.Route({.logits = a_.router_logits.data(),
                  .bias = hashed ? nullptr : w.bias.data(),
                  .forced = hashed ? a_.forced_ids.data() : nullptr,
                  .tokens = tokens,
                  .experts = config_.experts,
                  .topk = topk,
                  .route_scale = config_.route_scale,
                  .ids = a_.expert_ids.data(),
                  .weights = a_.expert_weights.data()});
}

void ForwardPass::RunExpert(const ExpertWeights& w, const float* x, const float* weight,
                            int64_t rows, int64_t width) {
  Linear(*w.gate, x, a_.expert_gate.data(), rows);
  Linear(*w.up, x, a_.expert_up.data(), rows);
  // The routing weight enters before the down projection, as in the reference.
  backend_.SwiGlu({.gate = a_.expert_gate.data(),
                   .up = a_.expert_up.data(),
                   .weight = weight,
                   .out = a_.expert_product.data(),
                   .rows = rows,
                   .dim = width,
                   .limit = config_.swiglu_limit});
  Linear(*w.down, a_.expert_product.data(), a_.expert_out.data(), rows);
}

void ForwardPass::Moe(const MoeWeights& w, const Piece& piece) {
  const int64_t tokens = piece.count();
  const int64_t hidden = config_.hidden;
  const int64_t topk = config_.experts_per_token;
  RouteTokens(w, piece);
  std::fill_n(a_.sublayer.begin(), tokens * hidden, 0.0F);
  for (int64_t e = 0; e < config_.experts; ++e) {
    int64_t rows = 0;
    for (int64_t i = 0; i < tokens * topk; ++i) {
      if (a_.expert_ids[static_cast<size_t>(i)] != e) continue;
      const int64_t t = i / topk;
      a_.expert_tokens[static_cast<size_t>(rows)] = static_cast<int32_t>(t);
      a_.routed_weight[static_cast<size_t>(rows)] = a_.expert_weights[static_cast<size_t>(i)];
      std::copy_n(a_.collapsed.data() + t * hidden, hidden, a_.routed_x.data() + rows * hidden);
      ++rows;
    }
    if (rows == 0) continue;
    RunExpert(w.experts[static_cast<size_t>(e)], a_.routed_x.data(), a_.routed_weight.data(), rows,
              config_.expert_dim);
    for (int64_t r = 0; r < rows; ++r) {
      float* sum = a_.sublayer.data() + a_.expert_tokens[static_cast<size_t>(r)] * hidden;
      const float* out = a_.expert_out.data() + r * hidden;
      for (int64_t i = 0; i < hidden; ++i) sum[i] += out[i];
    }
  }
  RunExpert(w.shared, a_.collapsed.data(), nullptr, tokens,
            config_.expert_dim * config_.shared_experts);
  for (int64_t i = 0; i < tokens * hidden; ++i) {
    a_.sublayer[static_cast<size_t>(i)] += a_.expert_out[static_cast<size_t>(i)];
  }
}

}  // namespace baleen
