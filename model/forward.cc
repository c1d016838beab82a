#include "model/forward.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "model/rope_table.h"

namespace baleen {

ForwardPass::ForwardPass(const ModelConfig& config, const ModelWeights& weights,
                         kernels::Backend& backend, kernels::RowFormat format)
    : config_(config),
      weights_(weights),
      backend_(backend),
      format_(format),
      window_frequencies_(InverseFrequencies(WindowRope(config))),
      compress_frequencies_(InverseFrequencies(CompressRope(config))),
      a_(config, format),
      undo_(static_cast<size_t>(config.layers)) {}

Status ForwardPass::Run(KvCacheState& cache, std::span<const int32_t> tokens, LogitsWanted wanted,
                        std::vector<float>* logits) {
  const auto total = static_cast<int64_t>(tokens.size());
  const int64_t rows = wanted == LogitsWanted::kAll ? total : std::min<int64_t>(total, 1);
  if (wanted != LogitsWanted::kNone) logits->resize(static_cast<size_t>(rows * config_.vocab));

  for (int64_t done = 0; done < total;) {
    const int64_t to_border = kBlockTokens - cache.position() % kBlockTokens;
    const int64_t count = std::min({total - done, kPieceTokens, to_border});
    const Piece piece = {cache.position(),
                         tokens.subspan(static_cast<size_t>(done), static_cast<size_t>(count))};
    RETURN_IF_ERROR(RunPiece(cache, piece));
    if (wanted == LogitsWanted::kAll) {
      Head(0, count, logits->data() + done * config_.vocab);
    } else if (wanted == LogitsWanted::kLast && done + count == total) {
      Head(count - 1, 1, logits->data());
    }
    cache.Advance(count);
    done += count;
  }

  if (wanted == LogitsWanted::kNone) return OkStatus();
  const auto bad = std::find_if(logits->begin(), logits->end(),
                                [](float logit) { return !std::isfinite(logit); });
  if (bad == logits->end()) return OkStatus();
  const int64_t row = (bad - logits->begin()) / config_.vocab;
  return InternalError("logits of position " + std::to_string(cache.position() - rows + row) +
                       " are not finite; the weights or the cached rows are damaged");
}

Status ForwardPass::RunPiece(KvCacheState& cache, const Piece& piece) {
  const int64_t tokens = piece.count();
  const bool lazy = cache.lazy();
  Embed(piece);
  for (size_t l = 0; l < weights_.layers.size(); ++l) {
    const LayerWeights& layer = weights_.layers[l];
    Collapse(layer.attn_hc, tokens);
    Norm(layer.attn_norm.data(), a_.collapsed.data(), tokens, config_.hidden);
    if (lazy) undo_[l].Save(cache.layers()[l]);
    const Status status = Attention(cache, cache.layers()[l], layer.attn, piece);
    if (!status.ok()) {
      for (size_t changed = 0; changed <= l; ++changed) {
        undo_[changed].Restore(cache.layers()[changed]);
      }
      return status;
    }
    Expand(tokens);

    Collapse(layer.ffn_hc, tokens);
    Norm(layer.ffn_norm.data(), a_.collapsed.data(), tokens, config_.hidden);
    Moe(layer.ffn, piece);
    Expand(tokens);
  }
  return OkStatus();
}

void ForwardPass::Embed(const Piece& piece) {
  for (int64_t t = 0; t < piece.count(); ++t) {
    a_.positions[static_cast<size_t>(t)] = piece.position + t;
    float* first = a_.streams.data() + t * config_.hc_mult * config_.hidden;
    weights_.embedding.Row(piece.tokens[static_cast<size_t>(t)], first);
    for (int64_t i = 1; i < config_.hc_mult; ++i) {
      std::copy_n(first, config_.hidden, first + i * config_.hidden);
    }
  }
}

void ForwardPass::Head(int64_t first, int64_t count, float* logits) {
  CollapseHead(weights_.head_hc, first, count);
  Norm(weights_.norm.data(), a_.collapsed.data(), count, config_.hidden);
  Linear(*weights_.head, a_.collapsed.data(), logits, count);
}

void ForwardPass::Linear(const kernels::PackedMatrix& w, const float* x, float* out,
                         int64_t tokens) {
  backend_.Linear({.x = x,
                   .x_stride = w.cols(),
                   .w = &w,
                   .out = out,
                   .out_stride = w.rows(),
                   .tokens = tokens});
}

void ForwardPass::Norm(const float* weight, float* x, int64_t rows, int64_t dim) {
  backend_.RmsNorm(
      {.x = x, .weight = weight, .out = x, .rows = rows, .dim = dim, .eps = config_.norm_eps});
}

void ForwardPass::Rotate(float* x, const int64_t* positions, int64_t tokens, int64_t heads,
                         int64_t dim, const std::vector<float>& frequencies,
                         kernels::RopeDirection direction) {
  backend_.Rope({.x = x,
                 .tokens = tokens,
                 .heads = heads,
                 .dim = dim,
                 .positions = positions,
                 .inv_freq = frequencies.data(),
                 .pairs = static_cast<int64_t>(frequencies.size()),
                 .direction = direction});
}

}  // namespace baleen
