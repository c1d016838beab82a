// ForwardPass: tokens in, logits out, cache extended. The whole of DeepSeek-V4 in reading order.
//
// Orchestrates backend ops; does no heavy arithmetic itself. A chunk is cut into pieces that never
// cross a block border, and a piece runs through all layers before the next one starts. Since every
// op is row independent, where the cuts fall doesn't change a bit. Called by Model.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/backend.h"
#include "model/activations.h"
#include "model/config.h"
#include "model/kv_cache_state.h"
#include "model/model.h"
#include "model/weights.h"
#include "tools_sdk/status.h"

namespace baleen {

/// Consecutive tokens of one sequence, all inside one block.
struct Piece {
  int64_t position = 0;             ///< Of the first token.
  std::span<const int32_t> tokens;  ///< At most kPieceTokens.

  int64_t count() const { return static_cast<int64_t>(tokens.size()); }
  int64_t end() const { return position + count(); }
};

/// Threads: one pass at a time; the pass owns its scratch.
/// Borrows: config, weights and backend, for its lifetime.
class ForwardPass {
 public:
  ForwardPass(const ModelConfig& config, const ModelWeights& weights, kernels::Backend& backend,
              kernels::RowFormat format);

  /// See Model::Forward. Requires: tokens and length already checked.
  /// Errors: INTERNAL if logits are not finite; the cache then holds the tokens all the same. Those
  /// of the row source: the piece is undone.
  Status Run(KvCacheState& cache, std::span<const int32_t> tokens, LogitsWanted wanted,
             std::vector<float>* logits);

 private:
  // forward.cc
  /// On an error the cache is as before.
  Status RunPiece(KvCacheState& cache, const Piece& piece);
  void Embed(const Piece& piece);
  void Head(int64_t first, int64_t count, float* logits);

  // hyper_connection.cc
  void Collapse(const HcWeights& hc, int64_t tokens);
  void Expand(int64_t tokens);
  void CollapseHead(const HcWeights& hc, int64_t first, int64_t tokens);
  /// Gates of `streams` and their weighted sum; `post` and `comb` are null for the head mix.
  void MixStreams(const HcWeights& hc, const float* streams, int64_t tokens, float* post,
                  float* comb);

  // attention.cc: reads and normalises activations.collapsed, writes activations.sublayer.
  // Fails when rows can't be had; the layer has changed by then.
  Status Attention(KvCacheState& cache, LayerKv& kv, const AttentionWeights& w, const Piece& piece);
  void ProjectQueries(const AttentionWeights& w, const std::vector<float>& frequencies,
                      const Piece& piece);
  void ExtendWindow(LayerKv& kv, const AttentionWeights& w, const std::vector<float>& frequencies,
                    const Piece& piece);
  void ProjectOutput(const AttentionWeights& w, const std::vector<float>& frequencies,
                     const Piece& piece);
  /// Notes which blocks hold the entries that the piece attends to, and gets those that are absent.
  Status ObtainEntries(KvCacheState& cache, LayerKv& kv, const int32_t* selected,
                       const Piece& piece);
  /// Fills activations.selected; false if every token may see all its visible entries anyway.
  bool SelectEntries(const BlockRows& index_keys, const IndexerWeights& w, const Piece& piece);

  // compressor.cc: consumes the piece, leaves finished entries in activations.pooled (normalised
  // and rotated) and returns their number.
  int64_t Compress(const CompressorWeights& w, CompressorState& state, const Piece& piece);
  void AppendEntries(KvCacheState& cache, LayerKv& kv, const AttentionWeights& w,
                     const Piece& piece);

  // moe.cc
  void Moe(const MoeWeights& w, const Piece& piece);
  void RouteTokens(const MoeWeights& w, const Piece& piece);
  void RunExpert(const ExpertWeights& w, const float* x, const float* weight, int64_t rows,
                 int64_t width);

  void Linear(const kernels::PackedMatrix& w, const float* x, float* out, int64_t tokens);
  void Norm(const float* weight, float* x, int64_t rows, int64_t dim);
  void Rotate(float* x, const int64_t* positions, int64_t tokens, int64_t heads, int64_t dim,
              const std::vector<float>& frequencies, kernels::RopeDirection direction);

  const ModelConfig& config_;
  const ModelWeights& weights_;
  kernels::Backend& backend_;
  kernels::RowFormat format_;
  std::vector<float> window_frequencies_;    ///< [rope_dim/2]
  std::vector<float> compress_frequencies_;  ///< [rope_dim/2]
  Activations a_;
  std::vector<LayerUndo> undo_;  ///< [layers], used over lazy caches only.
};

}  // namespace baleen
