// The mHC sites: collapse the residual streams into a sublayer's input, spread its output back.
#include "model/forward.h"

namespace baleen {

void ForwardPass::Collapse(const HcWeights& hc, int64_t tokens) {
  MixStreams(hc, a_.streams.data(), tokens, a_.hc_post.data(), a_.hc_comb.data());
}

void ForwardPass::CollapseHead(const HcWeights& hc, int64_t first, int64_t tokens) {
  const float* streams = a_.streams.data() + first * config_.hc_mult * config_.hidden;
  MixStreams(hc, streams, tokens, /*post=*/nullptr, /*comb=*/nullptr);
}

void ForwardPass::MixStreams(const HcWeights& hc, const float* streams, int64_t tokens, float* post,
                             float* comb) {
  backend_.HcGates({.streams = streams,
                    .fn = hc.fn.get(),
                    .base = hc.base.data(),
                    .scale = hc.scale.data(),
                    .tokens = tokens,
                    .mult = config_.hc_mult,
                    .dim = config_.hidden,
                    .sinkhorn_iterations = config_.sinkhorn_iterations,
                    .hc_eps = config_.hc_eps,
                    .norm_eps = config_.norm_eps,
                    .pre = a_.hc_pre.data(),
                    .post = post,
                    .comb = comb});
  backend_.HcCollapse({.streams = streams,
                       .pre = a_.hc_pre.data(),
                       .out = a_.collapsed.data(),
                       .tokens = tokens,
                       .mult = config_.hc_mult,
                       .dim = config_.hidden});
}

void ForwardPass::Expand(int64_t tokens) {
  backend_.HcExpand({.streams = a_.streams.data(),
                     .y = a_.sublayer.data(),
                     .post = a_.hc_post.data(),
                     .comb = a_.hc_comb.data(),
                     .tokens = tokens,
                     .mult = config_.hc_mult,
                     .dim = config_.hidden});
}

}  // namespace baleen
