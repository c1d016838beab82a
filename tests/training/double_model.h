// A model in double for gradient checks: values, gradients, and the objective as a function.
#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "model/random_weights.h"
#include "model/training/documents.h"
#include "model/training/graph.h"
#include "model/training/parameters.h"
#include "model/training/pass.h"

namespace baleen::training {

/// Parts of the objective, each already multiplied by its weight.
struct Objective {
  double main =
      0;  ///< Cross entropies and balance: what reaches every parameter but the indexer's.
  double index = 0;
};

class DoubleModel {
 public:
  DoubleModel(const ParameterSet& set, const TrainBatch& batch, const GraphOptions& options,
              const LossScale& scale)
      : set_(set), pass_(set.config(), *DoubleOps()), options_(options), scale_(scale) {
    if (options_.window == 0) options_.window = set.config().window;
    Result<Documents> documents = Documents::From(batch, set.config());
    if (!documents.ok()) FAIL(documents.status().ToString());
    documents_ = *documents;
    for (const Parameter& p : set.all()) {
      values.emplace_back(p.value.begin(), p.value.end());
      gradients.emplace_back(p.value.size(), 0.0);
    }
  }

  Objective Run(bool training, Evaluation* evaluation = nullptr) {
    report = {};
    PassInput<double> input;
    input.documents = &documents_;
    input.set = &set_;
    input.options = options_;
    input.scale = scale_;
    input.report = &report;
    input.evaluation = evaluation;
    input.want_logits = evaluation != nullptr;
    for (auto& v : values) input.values.push_back(v.data());
    if (training) {
      for (auto& g : gradients) input.gradients.push_back(g.data());
    }
    pass_.Run(input);
    return {report.loss + options_.mtp_weight * report.mtp_loss +
                options_.balance_weight * report.balance_loss,
            options_.index_kl_weight * report.index_kl};
  }

  void set_choice_use(ChoiceUse use) { pass_.set_choice_use(use); }

  /// Moves what roundings added by a little, so that FP4 dot products aren't exactly at the kink of
  /// their relu.
  void NudgeRoundings(double size) {
    uint64_t state = 1;
    for (LayerChoices<double>& layer : pass_.choices()) {
      for (std::vector<double>& rounding : layer.rounding) {
        for (double& r : rounding) {
          state = state * 6364136223846793005ULL + 1442695040888963407ULL;
          r += size * (static_cast<double>(state >> 40) / static_cast<double>(1 << 24) - 0.5);
        }
      }
    }
  }
  void ClearGradients() {
    for (std::vector<double>& g : gradients) std::fill(g.begin(), g.end(), 0.0);
  }

  std::vector<std::vector<double>> values;
  std::vector<std::vector<double>> gradients;
  LossReport report;

 private:
  const ParameterSet& set_;
  Documents documents_;
  Pass<double> pass_;
  GraphOptions options_;
  LossScale scale_;
};

/// Rows of documents of the given lengths, padded to `length`; every target is the next token, the
/// last one of a document has none. Weights alternate between 1 and 0.1.
inline TrainBatch PackedBatch(const std::vector<std::vector<int64_t>>& rows, int64_t length,
                              int64_t vocab, uint64_t seed) {
  TrainBatch batch;
  batch.rows = static_cast<int64_t>(rows.size());
  batch.length = length;
  uint64_t state = seed;
  for (const std::vector<int64_t>& documents : rows) {
    int64_t used = 0;
    for (size_t d = 0; d < documents.size(); ++d) {
      for (int64_t i = 0; i < documents[d]; ++i) {
        state = state * 6364136223846793005ULL + 1442695040888963407ULL;
        batch.tokens.push_back(static_cast<int32_t>((state >> 33) % static_cast<uint64_t>(vocab)));
        batch.document.push_back(static_cast<int32_t>(d));
        batch.position.push_back(static_cast<int32_t>(i));
        batch.weights.push_back((state >> 20) % 3 == 0 ? 0.1F : 1.0F);
        ++used;
      }
    }
    for (; used < length; ++used) {
      batch.tokens.push_back(0);
      batch.document.push_back(-1);
      batch.position.push_back(0);
      batch.weights.push_back(0);
    }
  }
  for (size_t i = 0; i < batch.tokens.size(); ++i) {
    const bool ends = (i + 1) % static_cast<size_t>(length) == 0 || batch.document[i] == -1 ||
                      batch.document[i + 1] != batch.document[i];
    batch.targets.push_back(ends ? -1 : batch.tokens[i + 1]);
  }
  return batch;
}

inline ParameterSet RandomSet(const ModelConfig& config, uint64_t seed) {
  Result<ParameterSet> set =
      ParameterSet::FromSource(RandomWeights(config, seed, RandomStorage::kFloat32));
  if (!set.ok()) FAIL(set.status().ToString());
  return std::move(set).value();
}

/// Every kind of layer, both routings, a draft block; as small as finite differences want it.
inline ModelConfig CheckConfig() {
  ModelConfig c;
  c.vocab = 40;
  c.hidden = 20;
  c.layers = 4;
  c.heads = 2;
  c.head_dim = 12;
  c.rope_dim = 4;
  c.q_rank = 10;
  c.o_rank = 6;
  c.o_groups = 2;
  c.window = 12;
  c.index_heads = 2;
  c.index_dim = 8;
  c.index_topk = 3;
  c.expert_dim = 9;
  c.experts = 4;
  c.shared_experts = 1;
  c.experts_per_token = 2;
  c.hash_layers = 1;
  c.route_scale = 1.5F;
  c.swiglu_limit = 1;
  c.hc_mult = 3;
  c.sinkhorn_iterations = 20;
  c.hc_eps = 1e-6F;
  c.norm_eps = 1e-6F;
  c.yarn_factor = 4;
  c.yarn_original_positions = 64;
  c.positions_max = 4096;
  c.mtp_layers = 1;
  c.layer_kinds = {LayerKind::kCsa, LayerKind::kWindow, LayerKind::kHca, LayerKind::kCsa};
  return c;
}

}  // namespace baleen::training
